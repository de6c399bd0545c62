"""TFDS builder of SEED-Bench, the questions about single pictures.

python -m data.seed_bench.seed_bench_builder --questions SEED-Bench.json \
  --pictures SEED-Bench-image.zip --data_dir DIR
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
from data.seed_bench import questions as questions_lib


class SeedBench(named_pictures.NamedPicturesBuilder):
  """Questions with four choices, all in the split "test"."""

  NAME = "seed_bench"
  TITLE = "SEED-Bench"
  ARGUMENTS: ClassVar = {
    "questions": "SEED-Bench.json",
    **named_pictures.ARGUMENTS,
  }
  PATHS = ("questions", "pictures")
  BARE_NAMES = True
  DESCRIPTION = "Questions about pictures with four choices each."
  HOMEPAGE = "https://github.com/AILab-CVC/SEED-Bench"
  CITATION = (
    "Li et al., SEED-Bench: Benchmarking Multimodal LLMs with Generative"
    " Comprehension, arXiv:2307.16125"
  )

  @classmethod
  def find(
    cls, questions: files_lib.Paths, pictures: picture_folder.Paths
  ) -> list[Unit]:
    """A unit for each file.

    Raises:
      FileNotFoundError: there are no such files.
    """
    del pictures  # Looked at by `facts`.
    paths = files_lib.find_files(
      questions, (".json",), what="file of questions", name=cls.NAME
    )
    return [Unit("test", path) for path in paths]

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """Those of a question, and what there is to choose from."""
    text = tfds.features.Text()
    return features.question() | {
      "choices": tfds.features.Sequence(text),
      "answer": text,
      "question_type": text,
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
  building.main(SeedBench)
