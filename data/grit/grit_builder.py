"""TFDS builder of GrIT: img2dataset tar shards to random-access ArrayRecord.

from data.grit import grit_builder
builder = grit_builder.prepare("grit/*.tar", "~/datasets")
source = builder.as_data_source("train")
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from data.building import builder as building
from data.building import features
from data.building.builder import FilesBuilder, Record, Unit
from data.building.drops import DropReport
from data.grit import shards as shards_lib
from data.grit.records import Item


class Grit(FilesBuilder):
  """GrIT records of the given shards, all in the split "train"."""

  NAME = "grit"
  TITLE = "GrIT"
  READER_VERSION = 2
  ARGUMENTS: ClassVar = {
    "shards": "a tar file, a folder of them, a pattern such as 'grit/*.tar',"
    " or several",
    "min_side": "shorter side in pixels below which a picture is dropped",
    "shorter_side": "to which larger pictures are resized; 0: none are",
  }
  PATHS = ("shards",)
  DESCRIPTION = "Web pictures, captions, phrases with boxes (GrIT)."
  HOMEPAGE = "https://huggingface.co/datasets/zzliang/GRIT"
  CITATION = (
    "Peng et al., Kosmos-2: Grounding Multimodal Large Language Models to the"
    " World, arXiv:2306.14824"
  )

  @classmethod
  def find(cls, shards: shards_lib.Shards) -> list[Unit]:
    """A unit for each shard."""
    return [Unit("train", path) for path in shards_lib.find_shards(shards)]

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """Those of a picture with phrases and boxes."""
    return features.grounded()

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good records of a shard."""
    for record in shards_lib.read_shards(
      [unit.path],
      report,
      min_side=arguments["min_side"],
      shorter_side=arguments["shorter_side"],
    ):
      yield Record(
        record.id,
        {
          "id": record.id,
          "image": record.image,
          "caption": record.caption,
          "noun_chunks": [_to_feature(item) for item in record.noun_chunks],
          "ref_exps": [_to_feature(item) for item in record.ref_exps],
        },
      )


def prepare(
  shards: shards_lib.Shards, data_dir: str | os.PathLike, **options: Any
) -> Grit:
  """The builder of these shards, prepared: see `building.prepare`.

  Args:
    shards: a tar file, a folder of them, a glob pattern, or several.
    data_dir: the folder of all data sets.
    **options: `min_side`, `shorter_side`, and those of `building.prepare`.
  """
  return building.prepare(Grit, data_dir, shards=shards, **options)


def main(arguments: Sequence[str] | None = None) -> None:
  """Prepares GrIT shards, prints what was dropped and where the data is."""
  building.main(Grit, arguments)


def _to_feature(item: Item) -> dict[str, Any]:
  return {
    "start": item.start,
    "end": item.end,
    "box_xyxy": np.asarray(item.box_xyxy, np.float32),
    "score": item.score,
  }


if __name__ == "__main__":
  main()
