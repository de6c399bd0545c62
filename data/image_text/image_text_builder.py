"""TFDS builder of pictures with captions: img2dataset shards to ArrayRecord.

from data.building.builder import prepare
from data.image_text.image_text_builder import ImageText
builder = prepare(ImageText, "~/datasets", shards="laion/*.tar", min_side=200)
source = builder.as_data_source("train")
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from data.building import builder, features, files
from data.building.builder import Record, Unit
from data.building.drops import DropReport
from data.image_text import pairs


class ImageText(builder.FilesBuilder):
  """Captioned pictures of the given shards, all in the split "train"."""

  NAME = "image_text"
  TITLE = "image-text pairs"
  DESCRIPTION = "Pictures with captions from the web (img2dataset shards)."
  HOMEPAGE = "https://github.com/rom1504/img2dataset"
  PATHS = ("shards",)
  ARGUMENTS: ClassVar[Mapping[str, str]] = {
    "shards": "tar files, a folder of them or a pattern",
    "min_side": "shorter side in pixels below which a picture is dropped",
    "shorter_side": "to which larger pictures are resized; 0: none are",
    "min_similarity": "pairs below are dropped; 0: none are",
    "similarity_field": "of the json (default: the first that is there of"
    f" {', '.join(pairs.SIMILARITY_FIELDS)})",
    "id_field": "of the json; without it the id is the sample's name",
  }
  DEFAULTS: ClassVar[Mapping[str, Any]] = {
    "min_similarity": 0.0,
    "similarity_field": "",
    "id_field": "id",
  }

  @classmethod
  def find(cls, shards: files.Paths) -> list[Unit]:
    """One unit for each shard."""
    paths = files.find_files(
      shards, (".tar",), what="image-text shard", name="image_text"
    )
    return [Unit("train", path) for path in paths]

  @classmethod
  def make_features(cls) -> features.Features:
    """A picture and its caption."""
    return features.captioned()

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good pairs of one shard."""
    options = {k: v for k, v in arguments.items() if k != "shards"}
    for pair in pairs.read_pairs(unit.path, report, **options):
      yield Record(
        pair.id,
        {"id": pair.id, "image": pair.image, "caption": pair.caption},
      )


if __name__ == "__main__":
  builder.main(ImageText)
