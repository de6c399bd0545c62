"""What the builders of Karpathy's splits share."""

from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data.building import (
  features,
  files,
  karpathy,
  named_pictures,
  picture_folder,
)
from data.building.builder import Record, Unit
from data.building.drops import DropReport

# What a split is called in the files, by what it is called here.
SPLITS = {"train": "train", "validation": "val", "test": "test"}


class KarpathyBuilder(named_pictures.NamedPicturesBuilder):
  """Pictures with all their captions; or one record for each caption."""

  ARGUMENTS: ClassVar = {
    "captions": "the JSON file with Karpathy's splits",
    "splits": "those to prepare, with commas between them",
    "restval": "whether restval is part of train, else it is not read",
    "one_per_caption": "a record for each caption, not for each picture",
    **named_pictures.ARGUMENTS,
  }
  PATHS = ("captions", "pictures")
  DEFAULTS: ClassVar = {"restval": True, "one_per_caption": False}
  HOMEPAGE = "https://cs.stanford.edu/people/karpathy/deepimagesent/"

  @classmethod
  def find(
    cls,
    captions: files.Paths,
    pictures: picture_folder.Paths,
    splits: str = ",".join(SPLITS),
  ) -> list[Unit]:
    """A unit for each split of a file."""
    del pictures  # Looked at by `facts`.
    wanted = [split.strip() for split in splits.split(",")]
    unknown = [split for split in wanted if split not in SPLITS]
    if unknown or len(set(wanted)) < len(wanted):
      raise ValueError(
        f"expected splits of {cls.TITLE}, some of {', '.join(SPLITS)}, each"
        f" once and with commas between them, found {splits!r}"
      )
    paths = files.find_files(
      captions, (".json",), what="file of captions", name=cls.NAME
    )
    return [Unit(split, path) for path in paths for split in wanted]

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """Those of a picture with a caption, and `captions`: all it has."""
    captions = tfds.features.Sequence(tfds.features.Text())
    return features.captioned() | {"captions": captions}

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good records of a split."""
    splits = {SPLITS[unit.split]}
    if unit.split == "train" and arguments["restval"]:
      splits.add("restval")
    first = arguments["splits"].split(",")[0].strip()
    with cls.open_pictures(unit, report, arguments) as pictures:
      for example in karpathy.read_captions(
        unit.path,
        report,
        pictures.load,
        splits=splits,
        one_per_caption=arguments["one_per_caption"],
        first=unit.split == first,
      ):
        yield Record(*example)
