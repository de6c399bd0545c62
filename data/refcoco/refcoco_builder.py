"""TFDS builder of RefCOCO, RefCOCO+, RefCOCOg, from MDETR's files or REFER's.

python -m data.refcoco.refcoco_builder --dataset refcoco \
  --annotations mdetr_annotations --pictures train2014.zip --data_dir DIR
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
from data.refcoco import annotations as annotations_lib
from data.refcoco import reading

# Who split a data set; the first is the one that results are published on.
SPLIT_BY = {
  "refcoco": ("unc", "google"),
  "refcoco+": ("unc", "google"),
  "refcocog": ("umd", "google"),
}
_ALL = ("train", "val", "testA", "testB", "test")


class Refcoco(named_pictures.NamedPicturesBuilder):
  """Expressions with the box of the one thing each means."""

  NAME = "refcoco"
  TITLE = "RefCOCO"
  READER_VERSION = 2
  ARGUMENTS: ClassVar = {
    "dataset": "refcoco, refcoco+ or refcocog",
    "annotations": "folder of finetune_{dataset}_{split}.json or of refs(..).p",
    "split_by": "of REFER's folders: unc, google or umd",
    "group_by_image": "one training record a picture, not an expression",
    **named_pictures.ARGUMENTS,
  }
  PATHS = ("annotations", "pictures")
  DESCRIPTION = "Expressions that mean one thing in a COCO picture (RefCOCO)."
  HOMEPAGE = "https://github.com/lichengunc/refer"
  CITATION = (
    "Yu et al., Modeling Context in Referring Expressions, arXiv:1608.00272;"
    " Mao et al., Generation and Comprehension of Unambiguous Object"
    " Descriptions, arXiv:1511.02283"
  )

  @classmethod
  def find(
    cls,
    dataset: str,
    annotations: Any,
    pictures: picture_folder.Paths,
    split_by: str = "",
    group_by_image: bool = True,
  ) -> list[Unit]:
    """A unit for each split.

    Raises:
      FileNotFoundError: the folder has neither form of the data set.
      ValueError: unknown data set or way to split it.
    """
    del pictures, group_by_image
    if dataset not in SPLIT_BY:
      raise ValueError(
        f"expected a dataset of {', '.join(SPLIT_BY)}, found {dataset!r}"
      )
    ways = SPLIT_BY[dataset]
    if split_by and split_by not in ways:
      raise ValueError(
        f"expected split_by of {', '.join(ways)} for {dataset},"
        f" found {split_by!r}"
      )
    root = pathlib.Path(annotations).expanduser()
    name = f"refs({split_by or ways[0]}).p"
    for folder in (root, root / dataset):
      units = [
        Unit(split, folder / f"finetune_{dataset}_{split}.json")
        for split in _ALL
        if (folder / f"finetune_{dataset}_{split}.json").is_file()
      ]
      if units and split_by in ("", ways[0]):
        return units
      if (folder / name).is_file() and (folder / "instances.json").is_file():
        splits = _splits(dataset, split_by or ways[0])
        return [Unit(split, folder / name) for split in splits]
    raise FileNotFoundError(
      f"expected finetune_{dataset}_*.json, or {name} and instances.json, in"
      f" {root}, found neither; data/refcoco/README.md says how to get them"
    )

  @classmethod
  def files(
    cls, units: Sequence[Unit], arguments: Mapping[str, Any]
  ) -> list[pathlib.Path]:
    """COCO's boxes, which REFER's pickles need."""
    del arguments
    path = units[0].path
    return [path.with_name("instances.json")] if path.suffix == ".p" else []

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """Those of expressions, and what they were annotated with."""
    text = tfds.features.Text()
    family = features.expressions()
    items = dict(family["expressions"].feature.items())
    items |= {"index": np.int32, "category_id": np.int32, "category": text}
    return family | {
      "expressions": tfds.features.Sequence(items),
      "index": np.int32,
      "dataset": text,
      "split": text,
      "image_file": text,
      "width": np.int32,
      "height": np.int32,
    }

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good examples of a split."""
    if unit.path.suffix == ".p":
      found = annotations_lib.read_refer(unit.path, unit.split, report)
    else:
      found = annotations_lib.read_mdetr(unit.path, report)
    with picture_folder.PictureFolder.of_arguments(
      arguments, report
    ) as pictures:
      # What is evaluated is counted by expression.
      grouped = arguments["group_by_image"] and unit.split == "train"
      for example in reading.join(
        found, pictures, report, group_by_image=grouped
      ):
        yield Record(
          example.id, _features(example, arguments["dataset"], unit.split)
        )


def _features(
  example: reading.Example, dataset: str, split: str
) -> dict[str, Any]:
  return {
    "id": example.id,
    "image": example.picture.data,
    "expressions": [
      {
        "text": expression.text,
        "box_xyxy": np.asarray(expression.box_xyxy, np.float32),
        "index": expression.index,
        "category_id": expression.category_id,
        "category": expression.category,
      }
      for expression in example.expressions
    ],
    "index": example.expressions[0].index,
    "dataset": dataset,
    "split": split,
    "image_file": example.image_file,
    "width": example.width,
    "height": example.height,
  }


def _splits(dataset: str, split_by: str) -> tuple[str, ...]:
  """The splits of a pickle, which would take seconds to look for."""
  if split_by == "unc":
    return ("train", "val", "testA", "testB")
  if split_by == "google" and dataset == "refcocog":
    return ("train", "val")  # Its test split was never published.
  return ("train", "val", "test")


if __name__ == "__main__":
  building.main(Refcoco)
