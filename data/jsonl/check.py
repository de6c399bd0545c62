"""Checks JSONL files without preparing anything.

  python -m data.jsonl.check my/boxes.jsonl [--box_format=pixels] ...

Prints how many lines of each form there are, and every fault with its line.
The status is 0 if there is none, 1 if there is, and 2 for a wrong command.
"""

import argparse
import collections
import dataclasses
import sys
from collections.abc import Sequence

from data.building.drops import DropReport
from data.jsonl import files as reading
from data.jsonl.files import FaultyFile, Options
from data.jsonl.grounding import BOX_FORMATS, BOX_ORDERS
from data.jsonl.lines import FORMS
from data.jsonl.paths import find_files


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command; returns its status."""
  parser = argparse.ArgumentParser(
    prog="python -m data.jsonl.check", description=__doc__.split("\n")[0]
  )
  parser.add_argument("files", nargs="+", help="JSONL files or patterns")
  parser.add_argument("--box_format", choices=BOX_FORMATS)
  parser.add_argument("--box_order", choices=BOX_ORDERS)
  parser.add_argument("--min_side", type=int)
  for name in ("allow_absolute", "skip_bad_lines"):
    parser.add_argument(f"--{name}", action="store_true")
  parser.add_argument("--stored_orientation", action="store_true")
  given = vars(parser.parse_args(arguments))
  names = given.pop("files")
  options = Options(upright=not given.pop("stored_orientation"))
  given = {name: value for name, value in given.items() if value is not None}
  options = dataclasses.replace(options, **given)
  try:
    paths = find_files(names)
  except (FileNotFoundError, ValueError) as error:
    print(f"check: {error}", file=sys.stderr)
    return 2
  status = 0
  for path in paths:
    report = DropReport(title=str(path))
    counts: dict[tuple[str, str], collections.Counter[str]] = {}
    try:
      for example in reading.read_file(path, None, report, options):
        line = example.line
        count = counts.setdefault(
          (line.split, line.form), collections.Counter()
        )
        boxes = sum(len(b.xyxy) for b in line.boxes())
        count.update(lines=1, pictures=len(line.images), boxes=boxes)
      good = f"{report.records_kept} of {report.records_read}"
      print(f"{path}: {good} lines are good")
    except FaultyFile as faulty:
      print(faulty)
      status = 1
      continue
    if report.counts:
      print(report.table())
    print(_table(counts))
  return status


def _table(counts: dict[tuple[str, str], collections.Counter[str]]) -> str:
  columns = ("lines", "pictures", "boxes")
  rows = [("split", "form", *columns)]
  order = list(FORMS)
  for split, form in sorted(counts, key=lambda k: (k[0], order.index(k[1]))):
    count = counts[split, form]
    rows.append((split, form, *(str(count[column]) for column in columns)))
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  "
    + "  ".join(
      cell.ljust(width) if i < 2 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    for row in rows
  )


if __name__ == "__main__":
  sys.exit(main())
