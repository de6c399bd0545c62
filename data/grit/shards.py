"""Reads GrIT's img2dataset shards, one sample at a time, and never gives up.

Whatever is wrong is counted by reason in a
`DropReport` and the next sample is read; no TensorFlow is needed.
"""

import pathlib
from collections.abc import Iterable, Iterator

from data.building import files, pictures, samples
from data.building.drops import Drop, Dropped, DropReport
from data.grit import records
from data.grit.records import Record

MIN_SIDE = 32

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
  shorter_side: int = 0,
) -> Iterator[Record]:
  """Yields the good records of all shards, in the order of the shards.

  Ids may come again; the builder keeps the first of each.

  Args:
    paths: tar files, as `find_shards` returns them.
    report: is told of everything; complete when the iterator is exhausted.
    min_side: shorter side in pixels below which a picture is dropped.
    shorter_side: to which larger pictures are resized; 0: none are.
  """
  for path in paths:
    for sample in samples.read_samples(path, report):
      try:
        record = _read_sample(sample, report, min_side, shorter_side)
      except Dropped as dropped:
        report.add(dropped.reason, sample.where)
        continue
      report.records_kept += 1
      yield record


def _read_sample(
  sample: samples.Sample,
  report: DropReport,
  min_side: int,
  shorter_side: int,
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
  picture = pictures.check_picture(
    sample.read("picture"), min_side=min_side, shorter_side=shorter_side
  )
  records.check_aspect(fields, picture.width, picture.height)
  noun_chunks, ref_exps = records.items_of(fields, caption, report, where)
  if note is not None:
    report.add(note, where)
  if picture.reencoded:
    report.add(Drop.PICTURE_REENCODED, where)
  if picture.resized:
    report.add(Drop.PICTURE_RESIZED, where)
  return Record(
    id=record_id,
    image=picture.data,
    width=picture.width,
    height=picture.height,
    caption=caption,
    noun_chunks=noun_chunks,
    ref_exps=ref_exps,
  )
