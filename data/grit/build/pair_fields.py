"""What is in the fields of a pair: caption, id, picture and the rest."""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from data.building import archive, samples
from data.building.drops import Drop, Dropped

# What the columns are called where none is given: the first that has a value.
# Of pictures, those in the table come before names of files.
NAMES: dict[str, tuple[str, ...]] = {
  "caption": ("caption", "text", "TEXT"),
  "image": (
    *("image_path", "path", "file_name", "image"),
    *("jpg", "jpeg", "png", "webp", "key"),
  ),
  "url": ("url", "URL"),
  "id": ("id",),
  "clip_similarity_vitb32": ("clip_similarity_vitb32",),
  "clip_similarity_vitl14": ("clip_similarity_vitl14",),
}
SIMILARITIES = ("clip_similarity_vitb32", "clip_similarity_vitl14")
# Names a row that has no id.
KEY = "key"
# What became of a picture, in img2dataset's tables.
STATUS = "status"
_PICTURE_SUFFIXES = tuple(
  suffix for suffix, kind in archive.KINDS.items() if kind == "picture"
)
_MAX_PICTURE_BYTES = archive.MAX_BYTES["picture"]


def first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
  """The first of these fields that has a value, or None."""
  for name in names:
    if (value := fields.get(name)) is not None:
      return value
  return None


def check_status(fields: Mapping[str, Any]) -> None:
  """Raises Dropped: FAILED_DOWNLOAD, as img2dataset tells in a table."""
  status = fields.get(STATUS)
  # The tables of others may mean something else by it.
  if isinstance(status, str) and status.startswith("failed_to_"):
    raise Dropped(Drop.FAILED_DOWNLOAD)


def caption_of(
  fields: Mapping[str, Any],
  names: Mapping[str, Sequence[str]],
  txt: bytes | None,
) -> tuple[str, Drop | None]:
  """The caption, else that of the txt, and a note: see `samples.caption_of`.

  Raises Dropped: EMPTY_CAPTION, BAD_CAPTION.
  """
  given = {"caption": first(fields, names["caption"])}
  return samples.caption_of(given, txt)


def id_of(
  fields: Mapping[str, Any],
  names: Mapping[str, Sequence[str]],
  key: str,
  seen: set[str],
) -> str:
  """The id, or `key` without one. Raises Dropped: BAD_ID, DUPLICATE_ID."""
  pair_id = samples.id_of(fields, key, names["id"][0])
  if pair_id in seen:
    raise Dropped(Drop.DUPLICATE_ID)
  return pair_id


def picture_of(
  fields: Mapping[str, Any], names: Sequence[str], folder: str, stem: str
) -> bytes:
  """The picture of a row, in the table or in a file.

  Raises Dropped: MISSING_PICTURE, BAD_VALUE, UNSAFE_NAME, PICTURE_NOT_FOUND,
    PICTURE_TOO_LARGE, UNREADABLE_SAMPLE.
  """
  values = [v for n in names if (v := fields.get(n)) is not None]
  # As Hugging Face's data sets hold pictures: {"bytes": …, "path": …}.
  inside = [v.get("bytes") if isinstance(v, dict) else v for v in values]
  for value in inside:
    if isinstance(value, bytes) and value:
      if len(value) > _MAX_PICTURE_BYTES:
        raise Dropped(Drop.PICTURE_TOO_LARGE)
      return value
  outside = [v.get("path") if isinstance(v, dict) else v for v in values]
  name = next((value for value in outside if value), None)
  if name is None:
    raise Dropped(Drop.MISSING_PICTURE)
  if not isinstance(name, str):
    raise Dropped(Drop.BAD_VALUE)
  return _read_picture(name, folder, stem)


def _read_picture(name: str, folder: str, stem: str) -> bytes:
  """The bytes of a picture file. Raises Dropped: see `picture_of`."""
  if archive.is_unsafe(name):
    raise Dropped(Drop.UNSAFE_NAME)
  places = [os.path.join(folder, name)]
  if not os.path.splitext(name)[1]:
    bases = [places[0], os.path.join(folder, stem, name)]
    places += [base + suffix for base in bases for suffix in _PICTURE_SUFFIXES]
  for place in places:
    if os.path.isfile(place):
      break
  else:
    raise Dropped(Drop.PICTURE_NOT_FOUND)
  try:
    if os.path.getsize(place) > _MAX_PICTURE_BYTES:
      raise Dropped(Drop.PICTURE_TOO_LARGE)
    return pathlib.Path(place).read_bytes()
  except OSError:
    raise Dropped(Drop.UNREADABLE_SAMPLE) from None


def number(value: Any) -> float | None:
  """A number that JSON can hold, None if it is none."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return None
  try:
    value = float(value)
  except OverflowError:  # An integer of more than 308 digits.
    return None
  return value if math.isfinite(value) else None


def text(value: Any) -> str:
  """A text that UTF-8 can hold, "" if it is none."""
  try:
    return value if isinstance(value, str) and value.encode() else ""
  except UnicodeEncodeError:  # Half of a surrogate pair.
    return ""
