"""Reads units one by one and keeps the account: what was kept, what dropped.

The same functions run in one process and in Beam's workers, so that both store
the same.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds

from data.building.drops import Drop, DropReport
from data.building.seen_ids import SeenIds


class Unit(NamedTuple):
  """What is read by one worker: a tar shard, an annotation file."""

  split: str
  path: pathlib.Path


class Record(NamedTuple):
  """One example: its id, unique within a split, and its features."""

  id: str
  features: dict[str, Any]


class Counted(NamedTuple):
  """A record with the number of its items that `DropReport` counted."""

  record: Record
  num_items: int


def read_unit(
  builder: Any,
  unit: Unit,
  arguments: Mapping[str, Any],
  report: DropReport,
) -> Iterator[Counted]:
  """Yields the good records of one unit, whatever other units hold.

  Args:
    builder: a class of `FilesBuilder`.
    unit: what to read.
    arguments: the builder's.
    report: of this unit alone; complete when the iterator is exhausted or
      closed, but for records that turn out to be in another unit, too.

  Raises:
    RuntimeError: the builder's reader lost a record without saying why.
  """
  pictures = _picture_features(builder.make_features())
  kept = 0
  items_before = 0
  exhausted = False
  try:
    for record in builder.read(unit, report, dict(arguments)):
      num_items = report.items_kept - items_before
      if not all(
        _tensorflow_decodes(data)
        for name in pictures
        for data in _as_list(record.features[name])
      ):
        drop(report, Drop.CORRUPT_PICTURE, unit, record.id, num_items)
        items_before = report.items_kept
        continue
      items_before = report.items_kept
      kept += 1
      yield Counted(record, num_items)
    exhausted = True
  finally:
    read = kept + report.total("record")
    counted = report.records_read
    report.files_read = max(report.files_read, 1)
    report.records_read, report.records_kept = read, kept
  # Readers need not count; one that does shows whether it lost a record.
  if exhausted and counted not in (0, read):
    raise RuntimeError(
      f"expected every record of {unit.path} to be kept or dropped for one"
      f" reason, found {counted} read, {kept} kept and"
      f" {read - kept} dropped; {builder.__name__}.read has to count the rest"
    )


def read_split(
  builder: Any,
  units: Sequence[Unit],
  arguments: Mapping[str, Any],
  report: DropReport,
  max_examples: int | None = None,
) -> Iterator[Record]:
  """Yields the records of a split in order; of an id the first that is good.

  Args:
    builder: a class of `FilesBuilder`.
    units: of the split, in their order.
    arguments: the builder's.
    report: is told of everything; complete when the iterator is exhausted.
    max_examples: reading ends after this many records.
  """
  seen = SeenIds()
  kept = 0
  for unit in units:
    part = DropReport()
    repeated = DropReport()
    reading = read_unit(builder, unit, arguments, part)
    for record, num_items in reading:
      if record.id in seen:
        take_back(repeated, unit, record.id, num_items)
        continue
      seen.add(record.id)
      kept += 1
      yield record
      if kept == max_examples:
        break
    reading.close()
    report.merge(part)
    report.merge(repeated)
    if kept == max_examples:
      return


def take_back(
  report: DropReport, unit: Unit, record_id: str, num_items: int
) -> None:
  """Counts a record that another report counts as kept as a duplicate."""
  report.records_kept -= 1
  drop(report, Drop.DUPLICATE_ID, unit, record_id, num_items)


def drop(
  report: DropReport, reason: Drop, unit: Unit, record_id: str, num_items: int
) -> None:
  """Counts a record as dropped whose items were counted as kept."""
  report.items_read -= num_items
  report.items_kept -= num_items
  report.add(reason, f"{unit.path.name}:{record_id}")


def _picture_features(features: Mapping[str, Any]) -> list[str]:
  """Names of the features that are pictures or lists of them."""
  return [
    name
    for name, feature in features.items()
    if isinstance(getattr(feature, "feature", feature), tfds.features.Image)
  ]


def _as_list(value: Any) -> Sequence[bytes]:
  return [value] if isinstance(value, bytes) else value or []


def _tensorflow_decodes(data: bytes) -> bool:
  """Whether the input pipeline's decoder takes what Pillow took."""
  try:
    tf.io.decode_image(data, channels=3, expand_animations=False)
  except tf.errors.OpError:
    return False
  return True
