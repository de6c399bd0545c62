"""Reads rows of parquet and lines of JSONL by range, in little memory.

A row is a dictionary of its fields. Rows and lines count from 1, and a line
that is blank is no row.
"""

import importlib.util
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.building import archive, files, samples
from data.building.drops import Drop, Dropped, DropReport

if TYPE_CHECKING:  # Who reads no parquet does without it.
  import pyarrow
  from pyarrow import parquet

# Pictures may be in the rows: so many rows are in memory at a time.
BATCH_ROWS = 32
# Read of a column at a time; otherwise all that a row group has of it is.
BUFFER_BYTES = 1 << 20
# Read at a time where only the ends of lines are looked for.
CHUNK = 4 << 20
MAX_LINE_BYTES = archive.MAX_BYTES["json"]


class Row(NamedTuple):
  """One row.

  number  from 1, in the whole file
  where   file and number, for the report
  fields  its values by the names of the columns
  """

  number: int
  where: str
  fields: dict[str, Any]


class Range(NamedTuple):
  """A part of a file.

  start   the first row (from 0)
  stop    behind the last
  offset  in bytes, of the first row; 0 in parquet
  """

  start: int
  stop: int
  offset: int = 0


def _check_pyarrow() -> None:
  if importlib.util.find_spec("pyarrow") is None:
    raise ValueError(
      "reading parquet needs pyarrow, which is not installed: install it"
      " (pip install pyarrow), or give JSONL with the same fields"
    )


def parquet_columns(path: pathlib.Path) -> list[str] | None:
  """Names of a parquet file's columns, None if it cannot be read.

  Raises:
    ValueError: pyarrow is not installed.
  """
  _check_pyarrow()
  file = _open(path)
  if file is None:
    return None
  with file:
    return list(file.schema_arrow.names)


def parquet_ranges(path: pathlib.Path, size: int) -> list[Range]:
  """Ranges of at most `size` rows; one empty range if there are none."""
  file = _open(path)
  if file is None:
    return [Range(0, 0)]
  with file:
    rows = file.metadata.num_rows
  starts = range(0, max(rows, 1), size)
  return [Range(start, min(start + size, rows)) for start in starts]


def read_parquet(
  path: pathlib.Path, part: Range, columns: Sequence[str], report: DropReport
) -> Iterator[Row]:
  """The rows of a part, with those of `columns` that there are.

  Counts the file with its first part, and each row as a record read. A file
  that cannot be read is UNREADABLE_FILE; of a row group that is damaged, the
  rows from there on are UNREADABLE_SAMPLE.
  """
  _check_pyarrow()
  name = files.printable(path.name)
  report.files_read += part.start == 0
  file = _open(path)
  if file is None:
    report.add(Drop.UNREADABLE_FILE, name)
    return
  with file:
    known = [n for n in dict.fromkeys(columns) if n in file.schema_arrow.names]
    end = 0
    for group in range(file.metadata.num_row_groups):
      begin, end = end, end + file.metadata.row_group(group).num_rows
      at, stop = max(part.start, begin), min(part.stop, end)
      if at >= stop:
        continue
      batches = _read_group(file, group, known, at - begin, stop - begin)
      while at < stop:
        try:
          batch = next(batches)
        except (*_errors(), StopIteration):
          report.records_read += stop - at
          report.add(Drop.UNREADABLE_SAMPLE, f"{name}:{at + 1}", stop - at)
          break
        for fields in _to_dicts(batch):
          at += 1
          report.records_read += 1
          yield Row(at, f"{name}:{at}", fields)


def _errors() -> tuple[type[Exception], ...]:
  """What reading parquet raises where the file is damaged."""
  import pyarrow

  return OSError, pyarrow.ArrowException


def _open(path: pathlib.Path) -> "parquet.ParquetFile | None":
  from pyarrow import parquet

  try:
    return parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)
  except _errors():
    return None


def _read_group(
  file: "parquet.ParquetFile",
  group: int,
  columns: list[str],
  start: int,
  stop: int,
) -> Iterator["pyarrow.RecordBatch"]:
  """Rows `start` to `stop` (from 0) of a row group."""
  end = 0
  for batch in file.iter_batches(
    batch_size=BATCH_ROWS, row_groups=[group], columns=columns
  ):
    begin, end = end, end + batch.num_rows
    if end > start:
      first = max(start - begin, 0)
      yield batch.slice(first, min(stop, end) - begin - first)
    if end >= stop:
      return


def _to_dicts(batch: "pyarrow.RecordBatch") -> list[dict[str, Any]]:
  """The rows; text that is no UTF-8 gets halves of surrogate pairs."""
  try:
    return batch.to_pylist()
  except UnicodeDecodeError:
    pass
  rows: list[dict[str, Any]] = [{} for _ in range(batch.num_rows)]
  for name, column in zip(batch.schema.names, batch.columns, strict=True):
    for row, value in zip(rows, column, strict=True):
      try:
        row[name] = value.as_py()
      except UnicodeDecodeError:
        # What takes texts apart refuses them, and says which row.
        row[name] = "\udcff"
  return rows


# ---- JSONL


def line_ranges(path: pathlib.Path, size: int) -> list[Range]:
  """Ranges of at most `size` lines; one empty range if there are none."""
  ranges: list[Range] = []
  start = offset = 0  # Of the range that is not ended yet.
  lines = position = 0
  ended = True
  try:
    with open(path, "rb") as file:
      while chunk := file.read(CHUNK):
        ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n"))
        while lines + len(ends) >= start + size:
          stop = start + size
          behind = position + int(ends[stop - lines - 1]) + 1
          ranges.append(Range(start, stop, offset))
          start, offset = stop, behind
        lines += len(ends)
        position += len(chunk)
        ended = chunk.endswith(b"\n")
  except OSError:
    return [Range(0, 0)]
  lines += not ended
  if lines > start or not ranges:
    ranges.append(Range(start, lines, offset))
  return ranges


def read_lines(
  path: pathlib.Path, part: Range, report: DropReport
) -> Iterator[Row]:
  """The lines of a part that are JSON objects.

  Counts the file with its first part, and each line as a record read; those
  that are none are BAD_JSON, and TEXT_TOO_LARGE above 4 MiB. A file that
  cannot be read is UNREADABLE_FILE.
  """
  name = files.printable(path.name)
  report.files_read += part.start == 0
  number = part.start
  try:
    with open(path, "rb") as file:
      file.seek(part.offset)
      while number < part.stop:
        line = file.readline(MAX_LINE_BYTES + 1)
        if not line:  # It was longer when its lines were counted.
          report.add(Drop.TRUNCATED_FILE, name)
          return
        number += 1
        whole = len(line) <= MAX_LINE_BYTES
        while not whole and line and not line.endswith(b"\n"):
          line = file.readline(MAX_LINE_BYTES)
        if whole and not line.strip():
          continue
        report.records_read += 1
        where = f"{name}:{number}"
        try:
          if not whole:
            raise Dropped(Drop.TEXT_TOO_LARGE)
          fields = samples.parse_object(line)
        except Dropped as dropped:
          report.add(dropped.reason, where)
          continue
        yield Row(number, where, fields)
  except OSError:
    report.add(Drop.UNREADABLE_FILE, name)
