"""Reads documents with their pictures from JSONL and parquet; never gives up.

A picture that is missing or broken is left out of its document and counted as
an item; what is wrong with a document is counted as a record.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from data.building import files, lines, pictures, samples
from data.building.drops import Drop, Dropped, DropReport
from data.interleaved import layouts
from data.interleaved.picture_store import Store

JSON_LINES = (".jsonl", ".jsonl.gz", ".jsonl.zip", ".json.gz", ".ndjson")
PARQUET = (".parquet",)
SUFFIXES = (*JSON_LINES, *PARQUET)
COLUMNS = ("texts", "images", "text_list", "image_info")
# Rows that are decoded at once.
BATCH_ROWS = 64

# What is wrong with a picture, as an item of a document.
_AS_ITEM = {
  Drop.CORRUPT_PICTURE: Drop.BROKEN_PICTURE,
  Drop.PICTURE_TOO_SMALL: Drop.SMALL_PICTURE,
  Drop.PICTURE_TOO_LARGE: Drop.HUGE_PICTURE,
}


class Document(NamedTuple):
  """A page.

  Attributes:
    id: file and line.
    images: encoded 8-bit RGB, JPEG or PNG.
    parts: (text, -1), or ("", the picture's place in `images`).
  """

  id: str
  images: list[bytes]
  parts: list[tuple[str, int]]


def read_documents(
  path: pathlib.Path,
  report: DropReport,
  store: Store,
  *,
  min_side: int,
  shorter_side: int = 0,
  max_images: int = 0,
  min_similarity: float = 0.0,
  keep_text: bool = False,
) -> Iterator[Document]:
  """Yields the good documents of a file, in its order.

  Args:
    path: ends in one of `SUFFIXES`.
    report: is told of everything; complete when the iterator is exhausted.
    store: where the pictures are.
    min_side: shorter side in pixels below which a picture is left out.
    shorter_side: to which larger pictures are resized; 0 keeps them.
    max_images: of a document, at most; 0 is all.
    min_similarity: see `layouts.parse_document`.
    keep_text: keep documents without any good picture as text.
  """
  parquet = path.name.lower().endswith(PARQUET)
  rows = _read_parquet(path, report) if parquet else _read_json(path, report)
  folder = files.label(path).removesuffix(files.printable(path.name))
  for where, fields in rows:
    report.records_read += 1
    try:
      if isinstance(fields, Drop):
        raise Dropped(fields)
      parts = layouts.parse_document(
        fields, report, where, min_similarity=min_similarity
      )
      images, kept = _fetch(
        parts, report, where, store, min_side, shorter_side, max_images
      )
      if not images and not keep_text:
        raise Dropped(Drop.NO_PICTURE_LEFT)
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    if not images:
      report.add(Drop.TEXT_ALONE, where)
    yield Document(folder + where, images, kept)


def _fetch(
  parts: layouts.Parts,
  report: DropReport,
  where: str,
  store: Store,
  min_side: int,
  shorter_side: int,
  max_images: int,
) -> tuple[list[bytes], list[tuple[str, int]]]:
  """Encoded pictures, and the parts without those that are not good."""
  images: list[bytes] = []
  kept: list[tuple[str, int]] = []
  for part in parts:
    if isinstance(part, str):
      kept.append((part, -1))
      continue
    place = f"{where}:{part.name or part.url}"
    try:
      if max_images and len(images) >= max_images:
        raise Dropped(Drop.SPARE_PICTURE)
      picture = pictures.check_picture(
        store.read(part),
        min_side=min_side,
        shorter_side=shorter_side,
        upright=True,
      )
    except Dropped as dropped:
      reason = _AS_ITEM.get(dropped.reason, dropped.reason)
      report.add(reason, place)
      continue
    if picture.reencoded:
      report.add(Drop.PICTURE_REENCODED, place)
    if picture.resized:
      report.add(Drop.PICTURE_RESIZED, place)
    report.items_kept += 1
    kept.append(("", len(images)))
    images.append(picture.data)
  return images, kept


def _read_json(
  path: pathlib.Path, report: DropReport
) -> Iterator[tuple[str, Mapping[str, Any] | Drop]]:
  """The fields of each line, or what is wrong with it."""
  for where, line in lines.read_lines(path, report):
    if line is None:
      yield where, Drop.TEXT_TOO_LARGE
    elif line.strip():  # A blank line is no record.
      try:
        fields = samples.parse_object(line)
      except Dropped as dropped:
        yield where, dropped.reason
      else:
        yield where, fields


def _read_parquet(
  path: pathlib.Path, report: DropReport
) -> Iterator[tuple[str, Mapping[str, Any] | Drop]]:
  """The fields of each row, counted from 1, or what is wrong with it."""
  # Comes with the libraries that write data sets; JSONL does without.
  import pyarrow
  from pyarrow import parquet

  report.files_read += 1
  name = files.printable(path.name)
  try:
    file = parquet.ParquetFile(path)
  except (OSError, pyarrow.ArrowException):
    report.add(Drop.UNREADABLE_FILE, name)
    return
  with file:
    known = [c for c in COLUMNS if c in file.schema_arrow.names]
    batches = file.iter_batches(batch_size=BATCH_ROWS, columns=known)
    number = 0
    while True:
      try:
        batch = next(batches, None)
      except (OSError, pyarrow.ArrowException):
        report.add(Drop.TRUNCATED_FILE, name)
        return
      if batch is None:
        return
      for row in range(batch.num_rows):
        number += 1
        try:
          [fields] = batch.slice(row, 1).to_pylist()
        except UnicodeDecodeError:
          yield f"{name}:{number}", Drop.BAD_TEXT
        else:
          yield f"{name}:{number}", fields
