r"""Compiles a config's training step for TPUs that are not here.

  python -m kosmos2_jax.tools.compile --config=configs/pretrain.py:text_only \
    --topology=v5e:4x4 --batch_per_chip=2

Says whether the step fits, what memory it needs, what devices send each other,
what is not sharded, and what bounds its time: compute, memory, the links of a
slice or the network between slices. It proves fit and sharding, not speed.

Topologies are v4, v5e, v5p, v6e or v7x and a shape in chips: v5e:16x16,
v5p:4x4x4. The batch is the config's, or --batch_per_chip rows for each chip;
--search looks for the most of those that fit. Needs libtpu, and no TPU.

The last line is one JSON object. The status is 0 if the step fits, 1 if it
does not, 2 for a mistake in the command.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

# Before jax starts: nothing is asked of a TPU or of the machine's metadata, and
# several programs may have libtpu open.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import flags
from ml_collections import config_flags
from rich.console import Console

from kosmos2_jax.compiling import programs, report, search, topologies
from kosmos2_jax.compiling.jobs import job_of

# Rows per chip at which a search stops.
MOST_ROWS = 4096


def run(read: flags.FlagValues) -> int:
  """Compiles, prints, writes; returns the status."""
  topology = topologies.describe(read.topology, read.num_slices)
  console = Console()

  def compile_rows(per_chip: int | None) -> programs.Report:
    rows = None if per_chip is None else per_chip * topology.num_chips
    found = programs.compile_step(job_of(read.config, rows), topology)
    if read.search:
      print(f"{per_chip} row(s) a chip: {report.verdict(found)}", flush=True)
    return found

  if read.search:
    tried = search.largest_batch(compile_rows, MOST_ROWS)
    fitting = [one for one in tried if one.fits]
    found = max(fitting, key=lambda one: one.job.num_rows, default=tried[-1])
  else:
    found = compile_rows(read.batch_per_chip)
  report.show(found, console)
  content = report.as_json(found)
  if read.search:
    rows = found.job.num_rows // topology.num_chips if found.fits else 0
    content["largest_batch_per_chip"] = rows
    console.print(f"the most rows a chip that fit: {rows}")
  if not found.fits:
    print(f"compile: {report.verdict(found)}", file=sys.stderr)
  _write(read.output, json.dumps(content, indent=2) + "\n")
  _write(read.hlo, found.text)
  print(json.dumps(content))
  return 0 if found.fits else 1


def _write(file: str | None, text: str) -> None:
  if file:
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  define = {"flag_values": read}
  flags.DEFINE_string("topology", None, "For example v5e:4x4.", **define)
  flags.DEFINE_integer(
    "num_slices", 1, "Slices of that topology.", lower_bound=1, **define
  )
  flags.DEFINE_integer(
    "batch_per_chip", None, "Rows for each chip.", lower_bound=1, **define
  )
  flags.DEFINE_bool("search", False, "Find the most rows that fit.", **define)
  flags.DEFINE_string("output", None, "JSON file to write.", **define)
  flags.DEFINE_string("hlo", None, "File for the program's text.", **define)
  flags.DEFINE_bool("traceback", False, "Show where mistakes are.", **define)
  try:
    config_flags.DEFINE_config_file(
      "config", None, "File of the run.", read, sys_argv=list(argv)
    )
    if {"--help", "-h"} & set(argv):
      print(f"{__doc__}\n{read.get_help()}")
      return 0
    if read(list(argv))[1:] or not (read["config"].value and read.topology):
      raise flags.Error("expected --config, --topology and nothing but flags")
    if read.search and read.batch_per_chip:
      raise flags.Error("expected --search or --batch_per_chip, found both")
  except (AttributeError, KeyError) as error:
    return _refuse(f"there is no config field {error}", argv)
  except (flags.Error, ValueError, OSError) as error:
    return _refuse(str(error), argv)
  try:
    return run(read)
  except (ImportError, OSError, ValueError) as error:
    return _refuse(str(error), argv)


def _refuse(message: str, argv: Sequence[str]) -> int:
  """Prints one sentence; returns the status of a mistake."""
  if "--traceback" in argv:
    traceback.print_exc()
  # The config library puts a whole traceback into one message.
  text = " ".join(message.rpartition("Error: ")[2].split())
  print(f"compile: {text}", file=sys.stderr)
  return 2


if __name__ == "__main__":
  sys.exit(main(sys.argv))
