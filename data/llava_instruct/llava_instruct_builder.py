"""TFDS builder of LLaVA's instruction data.

python -m data.llava_instruct.llava_instruct_builder \
  --conversations llava_instruct_150k.json --pictures train2017.zip \
  --data_dir DIR
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from data.building import builder as building
from data.building import (
  features,
  files,
  named_pictures,
  picture_folder,
)
from data.building.builder import Record, Unit
from data.building.drops import DropReport
from data.llava_instruct import conversations as conversations_lib


class LlavaInstruct(named_pictures.NamedPicturesBuilder):
  """Conversations about pictures, all in the split "train"."""

  NAME = "llava_instruct"
  TITLE = "LLaVA-Instruct"
  ARGUMENTS: ClassVar = {
    "conversations": "JSON or JSON Lines files, one or several",
    **named_pictures.ARGUMENTS,
  }
  PATHS = ("conversations", "pictures")
  DESCRIPTION = "Conversations about pictures, written by GPT-4."
  HOMEPAGE = "https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K"
  CITATION = "Liu et al., Visual Instruction Tuning, arXiv:2304.08485"

  @classmethod
  def find(
    cls,
    conversations: files.Paths,
    pictures: picture_folder.Paths,
  ) -> list[Unit]:
    """A unit for each file."""
    del pictures  # Looked at by `facts`.
    paths = files.find_files(
      conversations,
      (".json", ".jsonl"),
      what="file of conversations",
      name=cls.NAME,
    )
    return [Unit("train", path) for path in paths]

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """Those of a conversation."""
    return features.conversation()

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good conversations of a file."""
    with cls.open_pictures(unit, report, arguments) as pictures:
      for example in conversations_lib.read_conversations(
        unit.path, report, pictures.load
      ):
        yield Record(*example)


if __name__ == "__main__":
  building.main(LlavaInstruct)
