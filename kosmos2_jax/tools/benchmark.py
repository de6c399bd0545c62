r"""How fast this is, beside Hugging Face on the same weights.

  python -m kosmos2_jax.tools.benchmark inference \
      --checkpoint=kosmos-2-patch14-224 --output=speed.json

Prints medians and ratios (above 1: ours is faster) of loading, image encoding,
prefill, decoding and `locate`; needs torch and transformers (the `dev` extra)
for the comparison and measures ours alone without them. The answers of both
are compared, too. Use an otherwise idle machine.
"""

import functools
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import flags
from PIL import Image
from rich.console import Console
from rich.table import Table

from kosmos2_jax.convert import huggingface
from kosmos2_jax.tools import inference_speed as speed

CASES = ("load", "encode", "prefill", "decode", "locate")
WORDS = ("dog", "man in the red coat", "small white boat on the left", "tree")


def measure_inference(
  checkpoint: Path,
  *,
  cases: Sequence[str],
  repeats: int,
  new_tokens: int,
  num_pictures: int,
  batch_size: int,
  with_theirs: bool,
) -> Iterator[speed.Result]:
  """Yields one result after the other.

  Args:
    checkpoint: a Hugging Face folder.
    cases: some of `CASES`.
    repeats: measurements of every case; `locate` takes one in five of them.
    new_tokens: decode steps that are timed.
    num_pictures: of `locate`; there are four expressions for each.
    batch_size: rows of `locate` that run at once here.
    with_theirs: compare.
  """
  if "load" in cases:
    yield from speed.measure_loading(checkpoint, with_theirs)
  if set(cases) == {"load"}:
    return
  systems = {"ours": speed.Ours(checkpoint, batch_size)}
  if with_theirs:
    systems["theirs"] = speed.Theirs(checkpoint)
  rows = {
    size: speed.make_row(systems["ours"].predictor, size) for size in (1, 8)
  }

  def timed(work: Callable) -> dict[str, Callable[[], float]]:
    return {
      name: lambda system=system: speed.seconds(lambda: work(system))
      for name, system in systems.items()
    }

  if "encode" in cases:
    for size, row in rows.items():
      yield speed.measure_case(
        f"encode {_count(size, 'picture')}",
        "s",
        timed(lambda system, row=row: system.encode(row["images"])),
        repeats,
      )
  if "prefill" in cases:
    for size, row in rows.items():
      yield speed.measure_case(
        f"picture and prefill, {_count(size, 'row')} of"
        f" {row['tokens'].shape[1]} tokens",
        "s",
        timed(lambda system, row=row: system.generate(row, 1, 1)),
        repeats,
      )
  if "decode" in cases:
    for num_beams in (1, 4):
      for size, row in rows.items():
        yield _measure_decoding(
          systems, row, size, num_beams, repeats, new_tokens
        )
  if "locate" in cases:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (num_pictures, 240, 320, 3), dtype=np.uint8)
    pictures = [
      picture for picture in map(Image.fromarray, noise) for _ in WORDS
    ]
    expressions = [f"the {word}" for word in WORDS] * num_pictures
    yield speed.measure_case(
      f"locate, {len(expressions)} pairs, {_count(num_pictures, 'picture')}",
      "s",
      timed(lambda system: system.locate(pictures, expressions)),
      max(repeats // 5, 1),
      warm_up=("ours",),  # theirs compiles nothing, and takes minutes
    )


def _measure_decoding(systems, row, size, num_beams, repeats, new_tokens):
  """Tokens per second behind the prefill: two runs of different lengths.

  Of texts alone: pictures would add much to both runs and nothing to what is
  between them.
  """
  row = speed.without_picture(row)
  said = {}

  def rate(name):
    system = systems[name]
    short = speed.seconds(lambda: system.generate(row, 1, num_beams))
    start = time.perf_counter()
    said[name] = system.generate(row, 1 + new_tokens, num_beams)
    return size * new_tokens / (time.perf_counter() - start - short)

  name = f"beam {num_beams}" if num_beams > 1 else "greedy"
  result = speed.measure_case(
    f"decode, batch {size}, {name}",
    "tokens/s",
    {name: functools.partial(rate, name) for name in systems},
    repeats,
  )
  same = [np.array_equal(said["ours"], tokens) for tokens in said.values()]
  return result._replace(same_tokens=all(same) if len(same) > 1 else None)


def _count(number: int, word: str) -> str:
  return f"{number} {word}{'s' if number != 1 else ''}"


def show(results: Sequence[speed.Result]) -> Table:
  """The results as a table."""
  table = Table()
  for name in ("case", "unit"):
    table.add_column(name)
  for name in ("ours", "theirs", "ratio", "lowest … highest"):
    table.add_column(name, justify="right")
  table.add_column("same answers")
  for result in results:
    low_high = ""
    if len(result.ratios) > 1:
      low_high = f"{min(result.ratios):.2f} … {max(result.ratios):.2f}"
    table.add_row(
      result.case,
      result.unit,
      f"{result.ours:.3g}",
      "" if result.theirs is None else f"{result.theirs:.3g}",
      "" if result.ratio is None else f"{result.ratio:.2f}",
      low_high,
      {True: "yes", False: "NO", None: ""}[result.same_tokens],
    )
  return table


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  define = {"flag_values": read}
  flags.DEFINE_string(
    "checkpoint", None, "Hugging Face folder.", required=True, **define
  )
  flags.DEFINE_multi_enum("case", CASES, CASES, "What to measure.", **define)
  flags.DEFINE_integer(
    "repeats", 5, "Measurements of each case.", lower_bound=1, **define
  )
  flags.DEFINE_integer(
    "new_tokens", 16, "Decode steps that are timed.", lower_bound=1, **define
  )
  flags.DEFINE_integer(
    "num_pictures", 16, "Pictures of locate.", lower_bound=1, **define
  )
  flags.DEFINE_integer(
    "batch_size", 32, "Rows of locate at once.", lower_bound=1, **define
  )
  flags.DEFINE_bool("compare", True, "Measure Hugging Face, too.", **define)
  flags.DEFINE_string("output", None, "JSON file to write.", **define)
  flags.DEFINE_bool("traceback", False, "Show where mistakes are.", **define)
  try:
    if {"--help", "-h"} & set(argv):
      print(f"{__doc__}\n{read.get_help()}")
      return 0
    if read(list(argv))[1:] != ["inference"]:
      raise ValueError('say what to measure; there is "inference"')
    results = _run(read)
  except (flags.Error, ImportError, OSError, ValueError) as error:
    if "--traceback" in argv:
      raise
    print(f"benchmark: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
  return int(any(result.same_tokens is False for result in results))


def _run(read: flags.FlagValues) -> list[speed.Result]:
  checkpoint = Path(read.checkpoint)
  if not huggingface.is_folder(checkpoint):
    raise FileNotFoundError(
      f"{str(checkpoint)!r} is no Hugging Face folder of Kosmos-2;"
      " tools.convert --format=huggingface makes one of any checkpoint"
    )
  missing = [
    name
    for name in ("torch", "transformers")
    if importlib.util.find_spec(name) is None
  ]
  if read.compare and missing:
    print(f"{' and '.join(missing)} not installed: ours alone is measured")
  console = Console()
  results = []
  for result in measure_inference(
    checkpoint,
    cases=read.case,
    repeats=read.repeats,
    new_tokens=read.new_tokens,
    num_pictures=read.num_pictures,
    batch_size=read.batch_size,
    with_theirs=read.compare and not missing,
  ):
    results.append(result)
    ratio = "" if result.ratio is None else f", ratio {result.ratio:.2f}"
    print(f"{result.case}: {result.ours:.3g} {result.unit}{ratio}", flush=True)
  console.print(show(results))
  if read.output:
    machine = {
      "machine": platform.processor() or platform.machine(),
      "devices": [str(device) for device in jax.devices()],
      "jax": jax.__version__,
    }
    content = machine | {"results": [result._asdict() for result in results]}
    Path(read.output).write_text(json.dumps(content, indent=2) + "\n")
  return results


if __name__ == "__main__":
  sys.exit(main(sys.argv))
