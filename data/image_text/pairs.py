"""Reads pictures with captions from img2dataset shards; never gives up.

Whatever is wrong is counted by reason in a `DropReport` and the next sample is
read; no TensorFlow is needed.
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from data.building import pictures, samples
from data.building.drops import Drop, Dropped, DropReport

# What data sets call the similarity of a picture and its caption under CLIP.
SIMILARITY_FIELDS = (
  "similarity",  # LAION
  "clip_similarity_vitb32",  # COYO
  "clip_b32_similarity_score",  # DataComp
)


@dataclasses.dataclass(frozen=True)
class Pair:
  """One picture (encoded 8-bit RGB, JPEG or PNG) with its caption."""

  id: str
  image: bytes
  caption: str


def read_pairs(
  path: pathlib.Path,
  report: DropReport,
  *,
  min_side: int,
  shorter_side: int = 0,
  min_similarity: float = 0.0,
  similarity_field: str = "",
  id_field: str = "id",
) -> Iterator[Pair]:
  """Yields the good pairs of a shard, in its order.

  Args:
    path: a tar file.
    report: is told of everything; complete when the iterator is exhausted.
    min_side: shorter side in pixels below which a picture is dropped.
    shorter_side: to which larger pictures are resized; 0 keeps them.
    min_similarity: pairs below, and those that tell none, are dropped; 0
      keeps all.
    similarity_field: where the json has it; "" is the first there is of
      `SIMILARITY_FIELDS`.
    id_field: where the json has the id; without it, the id is the sample's
      name.
  """
  fields = (similarity_field,) if similarity_field else SIMILARITY_FIELDS
  for sample in samples.read_samples(path, report):
    try:
      json_bytes = sample.read("json")
      values = {} if json_bytes is None else samples.parse_fields(json_bytes)
      if "picture" not in sample.extents:
        raise Dropped(Drop.MISSING_PICTURE)
      caption, note = samples.caption_of(values, sample.read("txt"))
      pair_id = samples.id_of(values, sample.key, id_field)
      if min_similarity:
        _check_similarity(values, fields, min_similarity)
      picture = pictures.check_picture(
        sample.read("picture"),
        min_side=min_side,
        shorter_side=shorter_side,
        upright=True,
      )
    except Dropped as dropped:
      report.add(dropped.reason, sample.where)
      continue
    if note is not None:
      report.add(note, sample.where)
    if picture.reencoded:
      report.add(Drop.PICTURE_REENCODED, sample.where)
    if picture.resized:
      report.add(Drop.PICTURE_RESIZED, sample.where)
    yield Pair(pair_id, picture.data, caption)


def _check_similarity(
  values: Mapping[str, Any], fields: tuple[str, ...], least: float
) -> None:
  """Raises Dropped: NO_SIMILARITY, LOW_SIMILARITY."""
  for field in fields:
    value = values.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
      continue
    if math.isfinite(value):
      if value < least:
        raise Dropped(Drop.LOW_SIMILARITY)
      return
  raise Dropped(Drop.NO_SIMILARITY)
