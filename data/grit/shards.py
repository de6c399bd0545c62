"""Reads GrIT's img2dataset shards, one sample at a time, and never gives up.

Whatever is wrong is counted by reason in a
`DropReport` and the next sample is read; no TensorFlow is needed.
"""

import hashlib
import pathlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from data.building import files, pictures, samples
from data.building.drops import Drop, Dropped, DropReport
from data.grit import records
from data.grit.records import Record

MIN_SIDE = 32
# Ids newer than this many are merged into the sorted ones.
RECENT_IDS = 1 << 20

Shards = files.Paths


def find_shards(shards: Shards) -> list[pathlib.Path]:
  """Paths of the shards that `shards` names, sorted, each file once.

  Args:
    shards: a tar file, a folder (its `*.tar`), a glob pattern, or several;
      a leading "~" is the home folder.

  Raises:
    FileNotFoundError: one of them matches no file.
    ValueError: there are none.
  """
  return files.find_files(shards, (".tar",), what="GrIT shard", name="grit")


def read_shards(
  paths: Iterable[pathlib.Path],
  report: DropReport,
  *,
  min_side: int = MIN_SIDE,
  decodes: Callable[[bytes], bool] | None = None,
) -> Iterator[Record]:
  """Yields the good records of all shards, in the order of the shards.

  Args:
    paths: tar files, as `find_shards` returns them.
    report: is told of everything; complete when the iterator is exhausted.
    min_side: shorter side in pixels below which a picture is dropped.
    decodes: a second opinion on an encoded picture that Pillow could decode,
      for what will decode it later; False drops it as corrupt.
  """
  seen = _SeenIds()
  for path in paths:
    for sample in samples.read_samples(path, report):
      try:
        record = _read_sample(sample, report, seen, min_side, decodes)
      except Dropped as dropped:
        report.add(dropped.reason, sample.where)
        continue
      seen.add(record.id)
      report.records_kept += 1
      yield record


def _read_sample(
  sample: samples.Sample,
  report: DropReport,
  seen: "_SeenIds",
  min_side: int,
  decodes: Callable[[bytes], bool] | None,
) -> Record:
  """One record, cheap checks first. Raises Dropped."""
  where, json_bytes = sample.where, sample.read("json")
  if json_bytes is None:
    raise Dropped(Drop.MISSING_JSON)
  fields = samples.parse_fields(json_bytes)
  if "picture" not in sample.extents:
    raise Dropped(Drop.MISSING_PICTURE)
  caption, note = samples.caption_of(fields, sample.read("txt"))
  record_id = samples.id_of(fields, sample.key)
  if record_id in seen:
    raise Dropped(Drop.DUPLICATE_ID)
  picture = pictures.check_picture(sample.read("picture"), min_side=min_side)
  if decodes is not None and not decodes(picture.data):
    raise Dropped(Drop.CORRUPT_PICTURE)
  records.check_aspect(fields, picture.width, picture.height)
  noun_chunks, ref_exps = records.items_of(fields, caption, report, where)
  if note is not None:
    report.add(note, where)
  if picture.reencoded:
    report.add(Drop.PICTURE_REENCODED, where)
  return Record(
    id=record_id,
    image=picture.data,
    width=picture.width,
    height=picture.height,
    caption=caption,
    noun_chunks=noun_chunks,
    ref_exps=ref_exps,
  )


class _SeenIds:
  """A set of ids in 8 bytes each: GrIT's 20 million take 160 MB.

  Two different ids share a hash with a chance of 1e-5 in all of GrIT.
  """

  def __init__(self):
    self._recent: set[int] = set()
    self._sorted = np.empty(0, np.uint64)

  def __contains__(self, record_id: str) -> bool:
    value = self._hash(record_id)
    if value in self._recent:
      return True
    at = np.searchsorted(self._sorted, np.uint64(value))
    return bool(at < len(self._sorted) and self._sorted[at] == value)

  def add(self, record_id: str) -> None:
    self._recent.add(self._hash(record_id))
    if len(self._recent) >= RECENT_IDS:
      recent = np.fromiter(self._recent, np.uint64, len(self._recent))
      self._sorted = np.union1d(self._sorted, recent)
      self._recent.clear()

  @staticmethod
  def _hash(record_id: str) -> int:
    digest = hashlib.blake2b(record_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
