r"""Compares built shards with true ones: which spans and boxes are right.

  python -m data.grit.build.agreement \
      --built 'built/*.tar' --truth 'truth/*.tar'

Records are matched by id and spans by their characters. A built box is right
where a true box of the same span overlaps it with an IoU of one half or more;
each true box makes one built box right.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data.building.drops import DropReport
from data.grit import shards
from data.grit.build.selection import iou
from data.grit.records import Item, Record

LISTS = ("noun_chunks", "ref_exps")
THRESHOLDS = (0.3, 0.5, 0.65, 0.8, 0.9)
IOU = 0.5


@dataclasses.dataclass
class Counts:
  """Boxes and spans of one list, of records that both sides have.

  boxes, spans            built with a score of the threshold or more
  right_boxes             that have their true box
  right_spans             that are spans of the truth, wherever their boxes are
  true_boxes, true_spans  of the truth
  """

  boxes: int = 0
  spans: int = 0
  right_boxes: int = 0
  right_spans: int = 0
  true_boxes: int = 0
  true_spans: int = 0

  def as_dict(self) -> dict[str, float | int | None]:
    """Counts, and precision and recall of boxes and of spans, None of none."""
    told: dict[str, float | int | None] = dict(dataclasses.asdict(self))
    for what in ("boxes", "spans"):
      right = getattr(self, f"right_{what}")
      of = getattr(self, what), getattr(self, f"true_{what}")
      precision, recall = (right / n if n else None for n in of)
      told |= {f"precision_{what}": precision, f"recall_{what}": recall}
    return told


def add_record(
  counts: Counts, built: Iterable[Item], true: Iterable[Item], threshold: float
) -> None:
  """Adds one list of one record.

  Args:
    counts: is added to.
    built: items of the built record; best first of a span where they compete.
    true: items of the true one, all of which count.
    threshold: built items with a lower score are passed over.
  """
  truth: dict[tuple[int, int], list[Item]] = {}
  for item in true:
    truth.setdefault((item.start, item.end), []).append(item)
  counts.true_spans += len(truth)
  counts.true_boxes += sum(map(len, truth.values()))
  spans = set()
  for item in sorted(built, key=lambda item: -item.score):
    if item.score < threshold:
      continue
    span = (item.start, item.end)
    spans.add(span)
    counts.boxes += 1
    left = truth.get(span, [])
    best = max(left, key=lambda t: iou(t.box_xyxy, item.box_xyxy), default=None)
    if best is not None and iou(best.box_xyxy, item.box_xyxy) >= IOU:
      counts.right_boxes += 1
      left.remove(best)
  counts.spans += len(spans)
  counts.right_spans += len(spans & set(truth))


def compare(
  built: Iterable[Record], true: Mapping[str, Record]
) -> dict[str, Any]:
  """Precision and recall at several thresholds of the score.

  Args:
    built: records that were built.
    true: the true record of each id.

  Returns:
    How many records there are on each side, and by list and threshold what
    `Counts.as_dict` tells. Recall counts the true records that were built.

  Raises:
    ValueError: a built record is none of the true ones, or has another caption.
  """
  found = {
    name: {threshold: Counts() for threshold in THRESHOLDS} for name in LISTS
  }
  number = 0
  for record in built:
    number += 1
    truth = true.get(record.id)
    if truth is None:
      raise ValueError(
        f"expected the built record {record.id!r} among the true ones, found"
        " none with this id; compare shards that were made of the same pairs"
      )
    if truth.caption != record.caption:
      raise ValueError(
        f"expected the caption {truth.caption!r} of record {record.id!r},"
        f" found {record.caption!r}; spans of two captions do not compare"
      )
    for name, by_threshold in found.items():
      for threshold, counts in by_threshold.items():
        add_record(
          counts, getattr(record, name), getattr(truth, name), threshold
        )
  return {
    "records": number,
    "true_records": len(true),
    **{
      name: {str(t): counts.as_dict() for t, counts in by_threshold.items()}
      for name, by_threshold in found.items()
    },
  }


def table(told: Mapping[str, Any]) -> str:
  """The numbers of `compare` for the console."""
  lines = [f"{told['records']} of {told['true_records']} records were built"]
  lines.append(
    f"{'':12}{'score >=':>9}{'boxes':>9}{'precision':>11}{'recall':>8}"
    f"{'spans':>9}{'precision':>11}{'recall':>8}"
  )
  for name in LISTS:
    for threshold, row in told[name].items():
      line = f"{name:12}{threshold:>9}"
      for what in ("boxes", "spans"):
        line += f"{row[what]:>9}"
        for measure, width in (("precision", 11), ("recall", 8)):
          value = row[f"{measure}_{what}"]
          line += f"{'-' if value is None else f'{value:.3f}':>{width}}"
      lines.append(line)
  return "\n".join(lines)


def read(pattern: Sequence[str], report: DropReport) -> Iterable[Record]:
  """All good records of shards; see `shards.read_shards`."""
  return shards.read_shards(shards.find_shards(pattern), report, min_side=1)


def main(arguments: Sequence[str] | None = None) -> None:
  """Prints a table, or with `--json` the numbers."""
  parser = argparse.ArgumentParser(
    prog="python -m data.grit.build.agreement", description=__doc__
  )
  parser.add_argument("--built", nargs="+", required=True, help="tar shards")
  parser.add_argument("--truth", nargs="+", required=True, help="tar shards")
  parser.add_argument("--json", action="store_true", help="print JSON")
  flags = parser.parse_args(arguments)
  report = DropReport("GrIT")
  try:
    true = {record.id: record for record in read(flags.truth, report)}
    told = compare(read(flags.built, report), true)
  except (OSError, ValueError) as error:
    parser.exit(2, f"error: {error}\n")
  if report.total("record") or report.total("item") or report.total("file"):
    print(report.table(), file=sys.stderr)
  print(json.dumps(told, indent=2) if flags.json else table(told))


if __name__ == "__main__":
  main()
