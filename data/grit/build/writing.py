"""Writes records as GrIT is released: tar shards of jpg, json and txt."""

import io
import json
import os
import pathlib
import re
import tarfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from data.grit.build.grounding import ScoredBox

EXTENSIONS = ("jpg", "png")
# Members of a sample are told by the first dot, and tar has 100 bytes for them.
_KEY = re.compile(r"[0-9A-Za-z_-]{1,90}")

# start, end, x1, y1, x2, y2, score
Item = list[int | float]


def items(
  found: Iterable[tuple[tuple[int, int], Sequence[ScoredBox]]],
) -> list[Item]:
  """`[start, end, x1, y1, x2, y2, score]` of every box, best first.

  Of equal scores, the earlier span comes first, then the box given first.
  Corners are written with as few digits as tell their float32 values.

  Args:
    found: spans in the caption (characters, end exclusive) with their boxes.
  """
  result: list[Item] = [
    [*span, *map(_shortest, box.box_xyxy), float(box.score)]
    for span, span_boxes in found
    for box in span_boxes
  ]
  return sorted(result, key=lambda item: (-item[-1], item[0], item[1]))


class ShardWriter:
  """Writes one tar shard, which is there when it is complete, or not at all.

  Use it as a context manager. Until the end the file has another name in the
  same folder, hidden, ending in ".partial"; an error deletes it. The bytes
  depend on what is added and on nothing else.

  Attributes:
    path: of the shard.
    count: samples that were added.
  """

  def __init__(self, path: str | os.PathLike):
    """Takes the path; its folder has to be there."""
    self.path = pathlib.Path(path)
    self.count = 0
    self._keys: set[str] = set()
    # Two that write the same shard do not write into one file.
    name = f".{self.path.name}.{uuid.uuid4().hex}.partial"
    self._partial = self.path.with_name(name)

  def __enter__(self) -> "ShardWriter":
    """Opens the file. Raises OSError."""
    self._file = open(self._partial, "xb")
    self._tar = tarfile.open(
      fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT
    )
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
  ) -> None:
    """Gives the file its name, or deletes it after an error."""
    try:
      with self._file:
        if error is None:
          self._tar.close()
          self._file.flush()
          os.fsync(self._file.fileno())
      if error is None:
        os.replace(self._partial, self.path)
    finally:
      self._partial.unlink(missing_ok=True)

  def add(
    self,
    key: str,
    picture: bytes,
    extension: str,
    fields: Mapping[str, Any],
    caption: str,
  ) -> None:
    """Adds the members of a sample.

    Args:
      key: name of the members, such as "000000012".
      picture: encoded, as the extension says.
      extension: "jpg" or "png".
      fields: of the json; its caption is `caption`, which the spans count in.
      caption: of the txt.

    Raises:
      ValueError: a key that is no name or was there before, another
        extension, another caption in the json, or a text or number that JSON
        in UTF-8 cannot hold.
    """
    if not _KEY.fullmatch(key) or key in self._keys:
      raise ValueError(
        f"{self.path}: expected a new key of letters, digits, _ and -, found"
        f" {key!r}"
      )
    if extension not in EXTENSIONS:
      raise ValueError(
        f"{self.path}: expected the extension {' or '.join(EXTENSIONS)} for"
        f" {key}, found {extension!r}"
      )
    if fields.get("caption") != caption:
      raise ValueError(
        f"{self.path}: expected the caption of {key} in its fields, in which"
        f" spans count, found {fields.get('caption')!r} beside {caption!r}"
      )
    try:
      # Not escaped, as people read it; the reader takes both.
      text = json.dumps(fields, ensure_ascii=False, allow_nan=False)
      members = {
        extension: picture,
        "json": text.encode(),
        "txt": caption.encode(),
      }
    except ValueError as error:  # NaN, or half of a surrogate pair.
      raise ValueError(
        f"{self.path}: expected fields of {key} that JSON in UTF-8 can hold,"
        f" found one that it cannot: {error}"
      ) from None
    for suffix, data in members.items():
      # Without time and owner, so that nothing but content counts.
      member = tarfile.TarInfo(f"{key}.{suffix}")
      member.size = len(data)
      self._tar.addfile(member, io.BytesIO(data))
    self._keys.add(key)
    self.count += 1


def _shortest(corner: float) -> float:
  """The number with the fewest digits that has the same float32 value."""
  return float(str(np.float32(corner)))
