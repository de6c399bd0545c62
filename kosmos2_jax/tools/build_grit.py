r"""Builds GrIT: pictures with captions to shards of grounded phrases.

  python -m kosmos2_jax.tools.build_grit --pairs='coyo/*.tar' \
      --output=grit --grounder=transformers \
      --model=IDEA-Research/grounding-dino-tiny --workers=2
  python -m kosmos2_jax.tools.build_grit --pairs=pairs.jsonl \
      --images=pictures --output=grit --grounder=precomputed \
      --boxes=boxes.jsonl

Each unit of pairs becomes a shard of --output. A run that was ended, in
whichever way, goes on where it was when it is started again; shards of other
options are refused. What was kept and dropped is printed and written to
summary.json. Status 1: some units failed; 2: a mistake, told in one sentence.
"""

import contextlib
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import flags

from data import in_words
from data.grit.build import account
from data.grit.build.summary import Summary
from kosmos2_jax.grit import flags as grit_flags

# Beam and the grounders are loaded when they are asked for: the processes that
# build load this module, too.

EXAMPLE = (
  "python -m kosmos2_jax.tools.build_grit --pairs='coyo/*.tar' --output=grit"
  " --grounder=kosmos2 --checkpoint=kosmos-2-patch14-224"
)
INTERRUPTED = 130


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps Beam from saying what it misses, and what is told at the end."""
  logger = logging.getLogger()
  level = logger.level
  logger.setLevel(logging.CRITICAL)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      yield
  finally:
    logger.setLevel(level)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
  """A bar on a terminal's stderr, with the time that is left."""
  from rich import console, progress

  screen = console.Console(stderr=True)
  with progress.Progress(
    progress.TextColumn("shards"),
    progress.BarColumn(),
    progress.MofNCompleteColumn(),
    progress.TimeElapsedColumn(),
    progress.TextColumn("left:"),
    progress.TimeRemainingColumn(elapsed_when_finished=False),
    console=screen,
    disable=not screen.is_terminal,
  ) as bar:
    task = bar.add_task("", total=None)

    def watch(finished: int, total: int) -> None:
      bar.update(task, completed=finished, total=total)

    yield watch


def build(read: flags.FlagValues) -> int:
  """Does what the flags say; returns the status.

  Raises:
    ImportError, OSError, ValueError: mistakes.
  """
  options = grit_flags.build_options(read)
  make_grounder = grit_flags.make_grounder(read)
  units = grit_flags.units(read)
  output = Path(read.output).absolute()
  start = time.monotonic()
  try:
    with _quiet(), _progress() as watch:
      from data.grit.build import pipeline

      summary = pipeline.build(
        units,
        output,
        options,
        grit_flags.make_parser(read),
        make_grounder,
        workers=read.workers,
        threads_per_worker=read.threads_per_worker,
        beam_options=read.beam_options,
        watch=watch,
      )
  except KeyboardInterrupt:
    print(
      f"build_grit: interrupted; the same command goes on with {output}",
      file=sys.stderr,
    )
    return INTERRUPTED
  _tell(summary, output, time.monotonic() - start)
  if read.contact_sheet and summary.statistics.images:
    from kosmos2_jax.grit import contact_sheet

    shards = [account.shard_path(output, unit.number) for unit in units]
    sheet = output / "contact_sheet.png"
    present = [path for path in shards if path.exists()]
    contact_sheet.draw(present, sheet, count=read.contact_sheet, seed=0)
    print(f"wrote {sheet}")
  return _tell_failures(summary.failed)


def _tell(summary: Summary, output: Path, seconds: float) -> None:
  """Prints the summary, and writes it."""
  print(summary.statistics.table(summary.report))
  built = summary.num_units - summary.num_before - len(summary.failed)
  print(
    f"{summary.num_units} shards: {summary.num_before} were there,"
    f" {built} built in {seconds:.1f} s; {summary.pairs_per_second:.1f}"
    f" captions/s of each process, {summary.grounder_share:.0%} of the time in"
    f" the grounder; at most {summary.peak_mebibytes:.0f} MiB"
  )
  if summary.not_asked:
    print(
      f"{summary.not_asked} phrases could not be asked for: they are too long,"
      " or empty, for this grounder"
    )
  for error in summary.grounder_errors:
    print(f"the grounder failed: {error}")
  told = summary.as_dict() | {"wall_seconds": round(seconds, 2)}
  text = json.dumps(told, indent=2) + "\n"
  account.write_whole(output / "summary.json", text)
  print(f"wrote {output / 'summary.json'}")


def _tell_failures(failed: Sequence[Mapping[str, Any]]) -> int:
  """Says which units failed; returns the status."""
  if not failed:
    return 0
  first = failed[0]
  print(
    f"build_grit: {len(failed)} unit(s) failed, the first of them"
    f" {first['name']}: {first['error']}; summary.json has them all, and the"
    " same command tries them again",
    file=sys.stderr,
  )
  return 1


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = grit_flags.define()
  try:
    if {"--help", "-h"} & set(argv):
      print(f"{__doc__}\n{read.get_help()}")
      return 0
    if unread := read(list(argv))[1:]:
      raise ValueError(f"{unread[0]!r} is no flag; see --help")
    for name in ("pairs", "output", "grounder"):
      if not read[name].value:
        raise ValueError(f"--{name} is missing; for example: {EXAMPLE}")
    return build(read)
  except (flags.Error, ImportError, OSError, ValueError) as error:
    if "--traceback" in argv:
      raise
    print(f"build_grit: {in_words(error)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
  sys.exit(main(sys.argv))
