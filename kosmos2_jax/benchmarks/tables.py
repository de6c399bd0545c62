"""What was measured, as tables and as files."""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.table import Table

from kosmos2_jax.benchmarks.inference import Result


def show(results: Sequence[Result]) -> Table:
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


def write(
  path: Path, results: Sequence[Result], more: Mapping[str, Any]
) -> None:
  """Writes the results, where they come from, and what else is known."""
  content = {
    "machine": platform.processor() or platform.machine(),
    "devices": [str(device) for device in jax.devices()],
    "jax": jax.__version__,
    "results": [result._asdict() for result in results],
  }
  path.write_text(json.dumps(content | dict(more), indent=2) + "\n")
