"""The pictures of documents: files in a folder, or members of tar shards.

They were fetched apart from the documents and go by

  name    the document's name of the picture: MMC4's image_name
  url     the `url` in the json beside the picture: img2dataset's shards
  sha256  the SHA-256 of the picture's URL, 64 hex digits
  md5     the MD5 of the picture's URL, 32 hex digits

before an extension. Nothing is extracted to disk.
"""

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data.building import archive, samples
from data.building.drops import Drop, Dropped, DropReport
from data.interleaved.layouts import Wanted

NAMINGS = ("name", "url", "sha256", "md5")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class FolderStore:
  """Pictures that lie in folders under the names of `NAMINGS`."""

  def __init__(self, folders: Sequence[pathlib.Path], naming: str):
    """Reads nothing yet; a file in the first folder that has it counts."""
    self._folders, self._naming = list(folders), naming

  def read(self, wanted: Wanted) -> bytes:
    """The picture's bytes. Raises Dropped: LOST_PICTURE, HUGE_PICTURE."""
    key = key_of(wanted, self._naming)
    if self._naming == "name":
      names = [key]
    else:
      names = [key + suffix for suffix in SUFFIXES]
    for folder in self._folders:
      for name in names:
        path = folder / name
        try:
          size = path.stat().st_size
          if path.is_file() and size <= archive.MAX_BYTES["picture"]:
            return path.read_bytes()
        except OSError:
          continue
        if path.is_file():
          raise Dropped(Drop.HUGE_PICTURE)
    raise Dropped(Drop.LOST_PICTURE)


class ShardStore:
  """Pictures in tar shards, of which an index is in memory: 24 bytes each.

  Two pictures of 100 million share a hash with a chance of 3e-4.
  """

  def __init__(
    self, paths: Sequence[pathlib.Path], naming: str, report: DropReport
  ):
    """Reads the headers of all shards, and with "url" every json.

    `report` is told of what is wrong with the shards. Of pictures with the
    same key the first counts.
    """
    self._paths, self._naming = list(paths), naming
    rows: list[np.ndarray] = []
    for number, path in enumerate(self._paths):
      rows.append(_index_shard(path, number, naming, report))
    table = np.concatenate(rows) if rows else np.empty((0, 4), np.uint64)
    table = table[np.argsort(table[:, 0], kind="stable")]
    self._hashes = np.ascontiguousarray(table[:, 0])
    self._numbers = table[:, 1].astype(np.uint32)
    self._offsets = np.ascontiguousarray(table[:, 2])
    self._sizes = table[:, 3].astype(np.uint32)

  def read(self, wanted: Wanted) -> bytes:
    """The picture's bytes. Raises Dropped: LOST_PICTURE."""
    key = key_of(wanted, self._naming)
    if self._naming == "name":
      key = pathlib.PurePosixPath(key).stem
    value = np.uint64(_hash(key))
    at = int(np.searchsorted(self._hashes, value))
    if at == len(self._hashes) or self._hashes[at] != value:
      raise Dropped(Drop.LOST_PICTURE)
    try:
      with open(self._paths[int(self._numbers[at])], "rb") as file:
        file.seek(int(self._offsets[at]))
        return file.read(int(self._sizes[at]))
    except OSError:
      raise Dropped(Drop.LOST_PICTURE) from None


Store = FolderStore | ShardStore


def key_of(wanted: Wanted, naming: str) -> str:
  """What the picture goes by. Raises Dropped: LOST_PICTURE, if it is not told.

  >>> key_of(Wanted("", "https://a.b/c.jpg"), "md5")
  'fb684d90b103bfe009d69de6c3a9b2f9'
  """
  value = wanted.name if naming == "name" else wanted.url
  if not value:
    raise Dropped(Drop.LOST_PICTURE)
  if naming in ("sha256", "md5"):
    return hashlib.new(
      naming, value.encode(), usedforsecurity=False
    ).hexdigest()
  return value


def _index_shard(
  path: pathlib.Path, number: int, naming: str, report: DropReport
) -> np.ndarray:
  """uint64 [pictures, 4]: hash of the key, shard, offset, size."""
  rows: list[tuple[int, int, int, int]] = []
  for sample in samples.read_samples(path, report):
    if "picture" not in sample.extents:
      continue
    key = pathlib.PurePosixPath(sample.key).name
    if naming == "url":
      key = _url_of(sample)
    if key:
      rows.append((_hash(key), number, *sample.extents["picture"]))
  return np.asarray(rows, np.uint64).reshape(-1, 4)


def _url_of(sample: samples.Sample) -> str | None:
  """What the json says; None of a sample without."""
  try:
    data = sample.read("json")
    fields: dict[str, Any] = {} if data is None else samples.parse_object(data)
  except Dropped:
    return None
  url = fields.get("url")
  return url if isinstance(url, str) else None


def _hash(key: str) -> int:
  data = key.encode("utf-8", "surrogatepass")
  return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
