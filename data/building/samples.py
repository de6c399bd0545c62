"""Reads the samples of img2dataset tar shards, one at a time.

A sample is the members of one shard with the same name before the extension:

  000000012.jpg (or jpeg, png, webp)   000000012.json   000000012.txt

Nothing is extracted to disk.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

from data.building import archive
from data.building.drops import Drop, Dropped, DropReport


class Sample(NamedTuple):
  """One sample, of which nothing was read but where its members lie.

  Attributes:
    key: the members' name without the extension.
    where: shard and key, for the report.
    extents: "picture", "json", "txt" -> (offset, size).
    file: the shard; open until the next sample is asked for.
  """

  key: str
  where: str
  extents: archive.Sample
  file: BinaryIO

  def read(self, kind: str) -> bytes | None:
    """The bytes of a member, None without it. Raises Dropped."""
    if kind not in self.extents:
      return None
    offset, size = self.extents[kind]
    try:
      self.file.seek(offset)
      return self.file.read(size)
    except OSError:
      raise Dropped(Drop.UNREADABLE_SAMPLE) from None


def read_samples(path: pathlib.Path, report: DropReport) -> Iterator[Sample]:
  """Yields the samples of a shard, and counts the file and its records."""
  report.files_read += 1
  _read_stats(path, report)
  try:
    file = open(path, "rb")  # noqa: SIM115 (only opening may fail here)
  except OSError:
    report.add(Drop.UNREADABLE_FILE, path.name)
    return
  with file:
    for key, extents in archive.index(file, path.name, report).items():
      report.records_read += 1
      yield Sample(key, f"{path.name}:{key}", extents, file)


def parse_fields(data: bytes) -> dict[str, Any]:
  """The sample's json. Raises Dropped: BAD_JSON, FAILED_DOWNLOAD."""
  fields = parse_object(data)
  # Other tools may write no status; img2dataset always does.
  if fields.get("status", "success") != "success":
    raise Dropped(Drop.FAILED_DOWNLOAD)
  return fields


def parse_object(data: bytes) -> dict[str, Any]:
  """A JSON object. Raises Dropped: BAD_JSON."""
  try:
    fields = json.loads(data)
  except (ValueError, RecursionError):
    raise Dropped(Drop.BAD_JSON) from None
  if not isinstance(fields, dict):
    raise Dropped(Drop.BAD_JSON)
  return fields


def id_of(fields: Mapping[str, Any], key: str, field: str = "id") -> str:
  """The record's id as text; the sample's key where the json has none.

  Raises Dropped: BAD_ID.
  """
  value = fields.get(field)
  if value is None:
    return key
  if isinstance(value, float) and value.is_integer():
    value = int(value)  # A column of numbers with gaps turns into floats.
  if isinstance(value, bool) or not isinstance(value, int | str):
    raise Dropped(Drop.BAD_ID)
  try:
    text = str(value)
    text.encode()
  except ValueError:  # Thousands of digits, or half of a surrogate pair.
    raise Dropped(Drop.BAD_ID) from None
  return text or key


def caption_of(
  fields: Mapping[str, Any], txt: bytes | None
) -> tuple[str, Drop | None]:
  """The json's caption, in which spans count, or else the txt's.

  The second value is a note, CAPTION_FROM_TXT or TXT_DIFFERS, or None.

  Raises Dropped: EMPTY_CAPTION, BAD_CAPTION.
  """
  caption = fields.get("caption")
  if caption is None or caption == "":
    caption, note = _decode(txt or b""), Drop.CAPTION_FROM_TXT
    if caption is not None:
      caption = caption.rstrip("\r\n")
  else:
    differs = txt is not None and _decode(txt) != caption
    note = Drop.TXT_DIFFERS if differs else None
  if not isinstance(caption, str):
    raise Dropped(Drop.BAD_CAPTION)
  try:
    caption.encode()
  except UnicodeEncodeError:  # Half of a surrogate pair.
    raise Dropped(Drop.BAD_CAPTION) from None
  if not caption.strip():
    raise Dropped(Drop.EMPTY_CAPTION)
  return caption, note


def _read_stats(path: pathlib.Path, report: DropReport) -> None:
  """Counts what img2dataset left out of the shard, which it tells beside it."""
  stats_path = path.with_name(f"{path.stem}_stats.json")
  if not stats_path.exists():
    return
  try:
    stats = json.loads(stats_path.read_bytes())
    lost = int(stats["failed_to_download"]) + int(stats["failed_to_resize"])
  except (OSError, ValueError, TypeError, KeyError, RecursionError):
    report.add(Drop.BAD_STATS, stats_path.name)
    return
  if lost > 0:
    report.records_read += lost
    report.add(Drop.NEVER_FETCHED, path.name, lost)


def _decode(data: bytes) -> str | None:
  try:
    return data.decode()
  except UnicodeDecodeError:
    return None
