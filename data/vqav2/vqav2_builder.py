"""TFDS builder of VQAv2: questions about COCO pictures, with ten answers each.

python -m data.vqav2.vqav2_builder --questions v2_OpenEnded_*_questions.json \
  --annotations v2_mscoco_*_annotations.json \
  --pictures train2014.zip val2014.zip --data_dir DIR
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
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
from data.vqav2 import questions as questions_lib

# What a split is called here, by what it is called in names of files.
SPLITS = {
  "train": "train",
  "val": "validation",
  "test": "test",
  "test-dev": "test_dev",
}
# Those whose answers are public.
ANSWERED = ("train", "validation")


class Vqav2(named_pictures.NamedPicturesBuilder):
  """Questions with answers; those of the test splits have none."""

  NAME = "vqav2"
  READER_VERSION = 2
  TITLE = "VQAv2"
  ARGUMENTS: ClassVar = {
    "questions": "v2_OpenEnded_mscoco_*_questions.json, one or several",
    "annotations": "v2_mscoco_*_annotations.json for train and val",
    **named_pictures.ARGUMENTS,
  }
  PATHS = ("questions", "annotations", "pictures")
  DESCRIPTION = "Questions about COCO pictures, ten answers each (VQAv2)."
  HOMEPAGE = "https://visualqa.org"
  CITATION = "Goyal et al., Making the V in VQA Matter, arXiv:1612.00837"

  @classmethod
  def find(
    cls,
    questions: files_lib.Paths,
    pictures: picture_folder.Paths,
    annotations: files_lib.Paths = (),
  ) -> list[Unit]:
    """A unit for each file of questions.

    Raises:
      FileNotFoundError: there are no such files, or no answers to one.
      ValueError: a file's name does not tell its split.
    """
    del pictures  # Looked at by `facts`.
    units = []
    answers = _annotations(annotations)
    for path in _find(questions, "questions"):
      release = questions_lib.release_of(path)
      split = SPLITS[release[0]]
      if split in ANSWERED and release not in answers:
        raise FileNotFoundError(
          "expected annotations, the file"
          f" v2_mscoco_{''.join(release)}_annotations.json, for {path.name},"
          f" found those of {_names(answers)}; give them as well"
        )
      units.append(Unit(split, path))
    return units

  @classmethod
  def files(
    cls, units: Sequence[Unit], arguments: Mapping[str, Any]
  ) -> list[pathlib.Path]:
    """The annotations of the questions that are read."""
    answers = _annotations(arguments["annotations"])
    found = (answers.get(questions_lib.release_of(u.path)) for u in units)
    return [path for path in found if path is not None]

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """Those of a question, and what VQAv2 tells besides."""
    text = tfds.features.Text()
    return features.question() | {
      "answer_confidences": tfds.features.Sequence(text),
      "multiple_choices": tfds.features.Sequence(text),
      "question_type": text,
      "answer_type": text,
      "multiple_choice_answer": text,
      "position": np.int32,
    }

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good questions of a file."""
    answers = _annotations(arguments["annotations"])
    with cls.open_pictures(unit, report, arguments) as pictures:
      for example in questions_lib.read_questions(
        unit.path,
        answers.get(questions_lib.release_of(unit.path)),
        report,
        pictures.load,
      ):
        yield Record(*example)


def _annotations(
  paths: files_lib.Paths,
) -> dict[tuple[str, str], pathlib.Path]:
  """Annotation files by split and year. Raises ValueError: two of one."""
  found: dict[tuple[str, str], pathlib.Path] = {}
  if not paths:
    return found
  for path in _find(paths, "annotations"):
    release = questions_lib.release_of(path)
    if release in found:
      raise ValueError(
        f"expected one file of annotations for {''.join(release)}, found"
        f" {found[release]} and {path}; leave one of them out"
      )
    found[release] = path
  return found


def _find(given: files_lib.Paths, what: str) -> list[pathlib.Path]:
  return files_lib.find_files(
    given, (".json",), what=f"file of {what}", name="vqav2"
  )


def _names(answers: Mapping[tuple[str, str], pathlib.Path]) -> str:
  return ", ".join("".join(release) for release in answers) or "none"


if __name__ == "__main__":
  building.main(Vqav2)
