"""TFDS builder of instructions in words: Unnatural Instructions, FLAN, Alpaca.

python -m data.instructions.instructions_builder --files core_data.jsonl \
  --data_dir DIR
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from data.building import annotation_files, features
from data.building import builder as building
from data.building.builder import FilesBuilder, Record, Unit
from data.building.drops import DropReport
from data.instructions import pairs


class Instructions(FilesBuilder):
  """Conversations of one question and one answer, without pictures."""

  NAME = "instructions"
  TITLE = "instructions"
  ARGUMENTS: ClassVar = {"files": "JSON or JSON Lines files, one or several"}
  PATHS = ("files",)
  DESCRIPTION = "Instructions in words and their answers."
  HOMEPAGE = "https://github.com/orhonovich/unnatural-instructions"
  CITATION = (
    "Honovich et al., Unnatural Instructions, arXiv:2212.09689; Longpre et al.,"
    " The Flan Collection, arXiv:2301.13688"
  )

  @classmethod
  def find(cls, files: annotation_files.Paths) -> list[Unit]:
    """A unit for each file."""
    paths = annotation_files.find(files, cls.TITLE)
    return [Unit("train", path) for path in paths]

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """Those of a conversation."""
    return features.conversation()

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good pairs of a file."""
    del arguments
    for example in pairs.read_pairs(unit.path, report):
      yield Record(*example)


if __name__ == "__main__":
  building.main(Instructions)
