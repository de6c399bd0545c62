r"""How fast this is, beside Hugging Face on the same weights.

  python -m kosmos2_jax.tools.benchmark inference \
      --checkpoint=kosmos-2-patch14-224 --output=speed.json

Prints medians and ratios (above 1: ours is faster) of loading, image encoding,
prefill, decoding and `locate`; needs torch and transformers (the `dev` extra)
for the comparison and measures ours alone without them. The answers of both
are compared, too. Use an otherwise idle machine.
"""

import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags
from rich.console import Console
from rich.table import Table

from kosmos2_jax.benchmarks import inference
from kosmos2_jax.convert import huggingface, peer


def show(results: Sequence[inference.Result]) -> Table:
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
  flags.DEFINE_multi_enum(
    "case", inference.CASES, inference.CASES, "What to measure.", **define
  )
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


def _run(read: flags.FlagValues) -> list[inference.Result]:
  checkpoint = Path(read.checkpoint)
  if not huggingface.is_folder(checkpoint):
    raise FileNotFoundError(
      f"{str(checkpoint)!r} is no Hugging Face folder of Kosmos-2;"
      " tools.convert --format=huggingface makes one of any checkpoint"
    )
  missing = peer.missing()
  if read.compare and missing:
    print(f"ours alone is measured; to compare, pip install {missing}")
  console = Console()
  results = []
  for result in inference.measure_inference(
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
