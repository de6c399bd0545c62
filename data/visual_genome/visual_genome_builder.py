"""TFDS builder of Visual Genome's region descriptions.

python -m data.visual_genome.visual_genome_builder --annotations visual_genome \
  --pictures images.zip images2.zip --val_fraction 0.05 --data_dir DIR
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data.building import builder as building
from data.building import features, named_pictures, picture_folder
from data.building.builder import Record, Unit
from data.building.drops import DropReport
from data.visual_genome import regions

REGIONS, IMAGES = "region_descriptions.json", "image_data.json"


class VisualGenome(named_pictures.NamedPicturesBuilder):
  """Pictures, each with its described regions."""

  NAME = "visual_genome"
  TITLE = "Visual Genome"
  ARGUMENTS: ClassVar = {
    "annotations": f"folder of {REGIONS} and {IMAGES}",
    "val_fraction": "part of the pictures, 0 to 1, that are in val",
    **named_pictures.ARGUMENTS,
  }
  PATHS = ("annotations", "pictures")
  DESCRIPTION = "Pictures with dozens of described regions (Visual Genome)."
  HOMEPAGE = "https://homes.cs.washington.edu/~ranjay/visualgenome"
  CITATION = "Krishna et al., Visual Genome, arXiv:1602.07332"

  @classmethod
  def find(
    cls,
    annotations: Any,
    pictures: picture_folder.Paths,
    val_fraction: float = 0.0,
  ) -> list[Unit]:
    """The file of regions, once for each split.

    Raises:
      FileNotFoundError: one of the two files is not there.
      ValueError: `val_fraction` is no part.
    """
    del pictures
    if not 0 <= val_fraction < 1:
      raise ValueError(
        f"expected a val_fraction from 0 to below 1, found {val_fraction}"
      )
    root = pathlib.Path(annotations).expanduser()
    for name in (REGIONS, IMAGES):
      if not (root / name).is_file():
        raise FileNotFoundError(
          f"expected {name} in {root}, found no such file;"
          " data/visual_genome/README.md says how to get it"
        )
    splits = regions.SPLITS if val_fraction else regions.SPLITS[:1]
    return [Unit(split, root / REGIONS) for split in splits]

  @classmethod
  def files(
    cls, units: Sequence[Unit], arguments: Mapping[str, Any]
  ) -> list[pathlib.Path]:
    """The file of pictures' names and sizes."""
    del arguments
    return [units[0].path.with_name(IMAGES)]

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """Those of expressions, and the picture's name and size."""
    return features.expressions() | {
      "image_file": tfds.features.Text(),
      "width": np.int32,
      "height": np.int32,
    }

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good pictures of a split."""
    with picture_folder.PictureFolder.of_arguments(
      arguments, report
    ) as pictures:
      for example in regions.read(
        unit.path,
        unit.path.with_name(IMAGES),
        unit.split,
        pictures,
        report,
        val_fraction=arguments["val_fraction"],
      ):
        yield Record(
          example.id,
          {
            "id": example.id,
            "image": example.picture.data,
            "expressions": [
              {
                "text": region.text,
                "box_xyxy": np.asarray(region.box_xyxy, np.float32),
              }
              for region in example.regions
            ],
            "image_file": example.image_file,
            "width": example.width,
            "height": example.height,
          },
        )


if __name__ == "__main__":
  building.main(VisualGenome)
