"""TFDS builder of POPE: is there a thing of this kind in the picture?

python -m data.pope.pope_builder --questions 'coco_pope_*.json' \
  --pictures val2014.zip --data_dir DIR
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data.building import builder as building
from data.building import (
  features,
  named_pictures,
  picture_folder,
)
from data.building import files as files_lib
from data.building.builder import Record, Unit
from data.building.drops import DropReport
from data.pope import questions as questions_lib


class Pope(named_pictures.NamedPicturesBuilder):
  """Questions with "yes" or "no", a split for each way of choosing things."""

  NAME = "pope"
  TITLE = "POPE"
  ARGUMENTS: ClassVar = {
    "questions": "coco_pope_*.json: random, popular, adversarial",
    **named_pictures.ARGUMENTS,
  }
  PATHS = ("questions", "pictures")
  DESCRIPTION = "Whether things are in pictures of COCO, or only likely to be."
  HOMEPAGE = "https://github.com/RUCAIBox/POPE"
  CITATION = (
    "Li et al., Evaluating Object Hallucination in Large Vision-Language"
    " Models, arXiv:2305.10355"
  )

  @classmethod
  def find(
    cls, questions: files_lib.Paths, pictures: picture_folder.Paths
  ) -> list[Unit]:
    """A unit for each file.

    Raises:
      FileNotFoundError: there are no such files.
      ValueError: a file's name does not tell its split, or two tell the same.
    """
    del pictures  # Looked at by `facts`.
    units: dict[str, Unit] = {}
    for path in files_lib.find_files(
      questions,
      (".json", ".jsonl"),
      what="file of questions",
      name=cls.NAME,
    ):
      split = questions_lib.split_of(path)
      if split in units:
        raise ValueError(
          f"expected one file of questions for {split}, found"
          f" {units[split].path} and {path}; prepare those of another data set"
          " apart, in another folder"
        )
      units[split] = Unit(split, path)
    return list(units.values())

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """Those of a question, and the label apart."""
    return features.question() | {
      "label": tfds.features.Text(),
      "position": np.int32,
    }

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good questions of a file."""
    with cls.open_pictures(unit, report, arguments) as pictures:
      for example in questions_lib.read_questions(
        unit.path, report, pictures.load
      ):
        yield Record(*example)


if __name__ == "__main__":
  building.main(Pope)
