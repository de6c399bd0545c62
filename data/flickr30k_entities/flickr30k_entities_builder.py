"""TFDS builder of Flickr30k Entities, as published or from MDETR's files.

python -m data.flickr30k_entities.flickr30k_entities_builder \
  --annotations flickr30k_entities --pictures flickr30k-images --data_dir DIR
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
from data.flickr30k_entities import records

SPLITS = ("train", "val", "test")
# Of the data as it was published.
FOLDERS = ("Annotations", "Sentences")


class Flickr30kEntities(named_pictures.NamedPicturesBuilder):
  """Captions whose phrases have boxes, one record a caption."""

  NAME = "flickr30k_entities"
  TITLE = "Flickr30k Entities"
  READER_VERSION = 3
  ARGUMENTS: ClassVar = {
    "annotations": "folder of Annotations, Sentences and train.txt, val.txt,"
    " test.txt, or of final_flickr_separateGT_{split}.json",
    **named_pictures.ARGUMENTS,
  }
  PATHS = ("annotations", "pictures")
  DESCRIPTION = "Captions whose phrases have boxes (Flickr30k Entities)."
  HOMEPAGE = "https://github.com/BryanPlummer/flickr30k_entities"
  CITATION = "Plummer et al., Flickr30k Entities, arXiv:1505.04870"

  @classmethod
  def find(cls, annotations: Any, pictures: picture_folder.Paths) -> list[Unit]:
    """A unit for each split: the list of its pictures, or MDETR's file.

    Raises:
      FileNotFoundError: the folder has neither form of the data set.
    """
    del pictures
    root = pathlib.Path(annotations).expanduser()
    if all((root / folder).is_dir() for folder in FOLDERS):
      name = "{}.txt"
    else:
      name = "final_flickr_separateGT_{}.json"
    units = [Unit(split, root / name.format(split)) for split in SPLITS]
    units = [unit for unit in units if unit.path.is_file()]
    if not units:
      raise FileNotFoundError(
        "expected the folders Annotations and Sentences with train.txt, val.txt"
        f" or test.txt, or final_flickr_separateGT_*.json, in {root}, found"
        " neither; data/flickr30k_entities/README.md says how to get them"
      )
    return units

  @classmethod
  def files(
    cls, units: Sequence[Unit], arguments: Mapping[str, Any]
  ) -> list[pathlib.Path]:
    """The folders of boxes and sentences, which the lists point into."""
    del arguments
    if units[0].path.suffix != ".txt":
      return []
    return [units[0].path.with_name(name) for name in FOLDERS]

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """Those of grounded captions, and all phrases, with boxes or without."""
    text = tfds.features.Text()
    mentions = {
      "start": np.int32,
      "end": np.int32,
      "entity_id": text,
      "types": text,
      "num_boxes": np.int32,
      "without_box": text,
    }
    pixels = tfds.features.Tensor(shape=(4,), dtype=np.float32)
    boxes = {"mention": np.int32, "box_pixels": pixels}
    return features.grounded() | {
      # Not "phrases", which recipes make of those with boxes.
      "mentions": tfds.features.Sequence(mentions),
      "mention_boxes": tfds.features.Sequence(boxes),
      "index": np.int32,
      "sentence": np.int32,
      "image_file": text,
      "width": np.int32,
      "height": np.int32,
    }

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good captions of a split."""
    with picture_folder.PictureFolder.of_arguments(
      arguments, report
    ) as pictures:
      if unit.path.suffix == ".txt":
        found = records.read_official(
          unit.path, unit.path.parent, pictures, report
        )
      else:
        found = records.read_mdetr(unit.path, pictures, report)
      for example in found:
        yield Record(example.id, _features(example))


def _features(example: records.Example) -> dict[str, Any]:
  return {
    "id": example.id,
    "image": example.picture.data,
    "caption": example.caption,
    "noun_chunks": [
      {
        "start": phrase.start,
        "end": phrase.end,
        "box_xyxy": np.asarray(box, np.float32),
        "score": 1.0,  # Drawn by people.
      }
      for phrase in example.phrases
      for box in phrase.boxes_xyxy
    ],
    "ref_exps": [],
    "mentions": [
      {
        "start": phrase.start,
        "end": phrase.end,
        "entity_id": phrase.entity_id,
        "types": "/".join(phrase.types),
        "num_boxes": len(phrase.boxes_xyxy),
        "without_box": phrase.without_box,
      }
      for phrase in example.phrases
    ],
    "mention_boxes": [
      {"mention": number, "box_pixels": np.asarray(box, np.float32)}
      for number, phrase in enumerate(example.phrases)
      for box in phrase.boxes_pixels
    ],
    "index": example.index,
    "sentence": example.sentence,
    "image_file": example.image_file,
    "width": example.width,
    "height": example.height,
  }


if __name__ == "__main__":
  building.main(Flickr30kEntities)
