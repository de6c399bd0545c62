r"""How fast GrIT is built, but for the grounder, and in how much memory.

  python -m kosmos2_jax.tools.benchmark_grit [--captions=4000] [--repeats=3] \
      [--memory_captions=200000] [--workers=2] [--output=grit.json]

Prints captions a second of one process and how its time is shared, with
photographs of 256 pixels and a grounder that has an answer at once; with
--memory_captions the memory of a process as it goes on; with --workers how
much faster so many processes are than one. Use an otherwise idle machine.
"""

import collections
import io
import json
import os
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import flags
from PIL import Image

from data import in_words
from data.building.drops import DropReport
from data.grit import shards
from data.grit.build import pairs, parsing, shard, supervision
from data.grit.build.grounding import Found, Request, ScoredBox
from data.grit.build.options import BuildOptions

UNIT = 1000  # pairs
SHORTER_SIDE = 256
THINGS = ("dog", "man", "wooden boat", "girl", "red car", "cat", "old house")
STATES = ("in a field of", "standing next to", "with", "looking at", "behind")
OTHERS = ("yellow flowers", "two tall trees", "a blue bicycle", "the sea")
ENDS = ("on a sunny day", "in the snow", ", stock photo", "at the beach", "")


class QuickGrounder:
  """Answers at once: a box for each phrase, without a look at the picture."""

  batch_size = 32
  identity: dict[str, str | int | float | bool] = {"kind": "quick"}  # noqa: RUF012

  def ground(self, requests: Sequence[Request]) -> Found:
    """One box each, beside each other."""
    return [
      [
        [ScoredBox((i / 64, 0.125, (i + 1) / 64, 0.875), 0.875)]
        for i in range(len(request.spans))
      ]
      for request in requests
    ]


def caption(number: int) -> str:
  """One of some ten words, with one that no other has."""
  index = number * 7919
  words = []
  for choices in (THINGS, STATES, OTHERS, ENDS):
    index, at = divmod(index, len(choices))
    words.append(choices[at])
  thing, state, other, end = words
  return f"a {thing} {state} {other} {end} by x{number:x}".replace(" ,", ",")


def photographs() -> list[bytes]:
  """JPEGs of `SHORTER_SIDE` pixels."""
  report = DropReport()
  photos = shards.find_shards(str(Path(shards.__file__).parent / "photos"))
  jpegs = []
  for record in shards.read_shards(photos, report, shorter_side=SHORTER_SIDE):
    image = Image.open(io.BytesIO(record.image))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    jpegs.append(buffer.getvalue())
  return jpegs


def write_unit(path: Path, number: int, jpegs: Sequence[bytes]) -> None:
  """A tar file of `UNIT` pairs, whose captions no other number has."""
  with tarfile.open(path, "w") as tar:
    for pair in range(number * UNIT, (number + 1) * UNIT):
      text = caption(pair)
      fields = {"id": pair, "caption": text, "status": "success"}
      for suffix, data in (
        ("jpg", jpegs[pair % len(jpegs)]),
        ("json", json.dumps(fields).encode()),
        ("txt", text.encode()),
      ):
        member = tarfile.TarInfo(f"{pair:09}.{suffix}")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def measure_speed(folder: Path, num_units: int) -> dict[str, Any]:
  """Builds units in this process: captions a second, and shares of the time."""
  seconds: collections.Counter[str] = collections.Counter()
  for told in _build(folder, num_units):
    seconds.update(told["seconds"])
  total = seconds.total()
  processor = seconds.pop("processor")
  total -= processor
  return {
    "captions_per_second": round(num_units * UNIT / total, 1),
    # On a machine that does other things, too, this is the better number.
    "captions_per_second_of_processor": round(num_units * UNIT / processor, 1),
    "share": {name: round(s / total, 3) for name, s in seconds.items()},
  }


def measure_memory(folder: Path, num_units: int) -> list[tuple[int, float]]:
  """Resident memory, MiB, after each tenth of the captions."""
  import psutil

  process = psutil.Process()
  found = []
  for number, _ in enumerate(_build(folder, num_units), 1):
    if number * 10 // num_units > (number - 1) * 10 // num_units:
      memory = process.memory_info().rss / (1 << 20)
      found.append((number * UNIT, round(memory, 1)))
      print(f"{number * UNIT} captions: {memory:.0f} MiB", flush=True)
  return found


def measure_workers(folder: Path, num_units: int, workers: int) -> float:
  """Captions a second of all processes, from the first shard to the last."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Beam's dependencies
    from data.grit.build import pipeline

  source, output = folder / "source", folder / "built"
  source.mkdir()
  jpegs = photographs()
  for number in range(num_units):
    write_unit(source / f"{number:05}.tar", number, jpegs)
  pipeline.build(
    pairs.find_units(source),
    output,
    BuildOptions(),
    parsing.Parser,
    QuickGrounder,
    workers=workers,
  )
  ends = sorted(path.stat().st_mtime for path in output.glob("*_stats.json"))
  # Each process has a first shard, which waits for what it loads.
  ends = ends[workers - 1 :]
  return (len(ends) - 1) * UNIT / (ends[-1] - ends[0])


def _build(folder: Path, num_units: int) -> Iterator[dict[str, Any]]:
  """Accounts of shards; neither pairs nor shards stay on the disk."""
  source, output = folder / "00000.tar", folder / "built"
  output.mkdir()
  jpegs = photographs()
  parser, grounder = parsing.Parser(), QuickGrounder()
  for number in range(num_units + 1):
    write_unit(source, number, jpegs)
    [unit] = pairs.find_units(source)
    start = time.process_time()
    told = shard.build_shard(unit, output, BuildOptions(), parser, grounder)
    told["seconds"]["processor"] = time.process_time() - start
    for path in output.iterdir():
      path.unlink()
    # The first one waits for what is loaded when it is needed.
    if number:
      yield told


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  for name, default, text in (
    ("captions", 4000, "Captions of one measurement of the speed."),
    ("repeats", 3, "Measurements."),
    ("memory_captions", 0, "Captions while the memory is watched; 0: none."),
    ("workers", 0, "Processes that are held against one; 0: none."),
  ):
    flags.DEFINE_integer(name, default, text, 0, flag_values=read)
  flags.DEFINE_string("output", None, "JSON to write.", flag_values=read)
  try:
    if {"--help", "-h"} & set(argv):
      print(f"{__doc__}\n{read.get_help()}")
      return 0
    if unread := read(list(argv))[1:]:
      raise ValueError(f"{unread[0]!r} is no flag; see --help")
    found = _measure(read)
  except (flags.Error, ImportError, OSError, ValueError) as error:
    print(f"benchmark_grit: {in_words(error)}", file=sys.stderr)
    return 2
  if read.output:
    Path(read.output).write_text(json.dumps(found, indent=2) + "\n")
  return 0


def _measure(read: flags.FlagValues) -> dict[str, Any]:
  os.environ.update(supervision.thread_variables(1))
  units = max(1, read.captions // UNIT)
  found: dict[str, Any] = {"speed": [], "workers": []}
  for _ in range(read.repeats):
    with tempfile.TemporaryDirectory() as name:
      found["speed"].append(measure_speed(Path(name), units))
    print(json.dumps(found["speed"][-1]), flush=True)
  if read.memory_captions:
    with tempfile.TemporaryDirectory() as name:
      number = max(1, read.memory_captions // UNIT)
      found["memory"] = measure_memory(Path(name), number)
  # By turns, so that what else the machine does falls on both.
  for _ in range(read.repeats if read.workers else 0):
    speeds = {}
    for workers in (1, read.workers):
      with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        speeds[workers] = measure_workers(folder, units * workers, workers)
    ratio = speeds[read.workers] / speeds[1]
    found["workers"].append({"captions_per_second": speeds, "ratio": ratio})
    print(
      f"{speeds[1]:.0f} captions/s with 1 process, {speeds[read.workers]:.0f}"
      f" with {read.workers}: x {ratio:.2f}",
      flush=True,
    )
  return found


if __name__ == "__main__":
  sys.exit(main(sys.argv))
