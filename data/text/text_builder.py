"""TFDS builder of text: JSONL, plain text, any text data set of TFDS.

from data.building.builder import prepare
from data.text.text_builder import Text
builder = prepare(Text, "~/datasets", files="pile/*.jsonl.gz")
builder = prepare(Text, "~/datasets", tfds_name="lm1b")
source = builder.as_data_source("train")
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from data.building import builder, features
from data.building import files as files_lib
from data.building.builder import Record, Unit
from data.building.drops import DropReport
from data.text import documents as documents_lib
from data.text import tfds_texts

DOCUMENTS = ("file", "paragraph")


class Text(builder.FilesBuilder):
  """Documents of the given files, all in the split "train"."""

  NAME = "text"
  TITLE = "text"
  DESCRIPTION = "Text without pictures."
  PATHS = ("files", "tfds_data_dir")
  ARGUMENTS: ClassVar[Mapping[str, str]] = {
    "files": "JSONL (.gz, .zip) or .txt files, a folder or a pattern",
    "field": "of a line's JSON object, where the text is",
    "documents": "what a document of a .txt file is: the file, or a paragraph"
    " that ends with a blank line",
    "max_chars": "longer documents are cut where lines end",
    "tfds_name": "a data set of TFDS instead of files, such as lm1b",
    "tfds_split": "its split",
    "tfds_field": "its feature with the text",
    "tfds_data_dir": "where TFDS keeps it (default: TFDS's own folder)",
    "tfds_download": "let TFDS download it where it is not there",
  }

  @classmethod
  def find(
    cls,
    files: files_lib.Paths = (),
    field: str = "text",
    documents: str = "file",
    max_chars: int = 100_000,
    tfds_name: str = "",
    tfds_split: str = "train",
    tfds_field: str = "text",
    tfds_data_dir: files_lib.Paths = "",
    tfds_download: bool = False,
  ) -> list[Unit]:
    """One unit for each file, those of TFDS's data set included."""
    del field  # Told by no file's name.
    if max_chars < 1:
      raise ValueError(f"max_chars is at least 1; found {max_chars}")
    if bool(files) == bool(tfds_name):
      raise ValueError(
        "expected either files or tfds_name to say where the text is, found"
        f" {'both' if files else 'none'}"
      )
    if tfds_name:
      if not isinstance(tfds_data_dir, str | os.PathLike):
        # Several on a command line are a list.
        if len(tfds_data_dir) != 1:
          raise ValueError(
            "expected one folder as tfds_data_dir, found"
            f" {', '.join(map(os.fspath, tfds_data_dir)) or 'none'}"
          )
        [tfds_data_dir] = tfds_data_dir
      paths = tfds_texts.find_shards(
        tfds_name,
        tfds_split,
        tfds_field,
        data_dir=os.fspath(tfds_data_dir),
        download=tfds_download,
      )
      return [Unit("train", path) for path in paths]
    if documents not in DOCUMENTS:
      raise ValueError(
        f"documents is one of {', '.join(DOCUMENTS)}; found {documents!r}"
      )
    suffixes = documents_lib.SUFFIXES
    paths = files_lib.find_files(files, suffixes, what="text file", name="text")
    for path in paths:
      if not path.name.lower().endswith(suffixes):
        raise ValueError(
          f"expected text in files that end in {', '.join(suffixes)}; found"
          f" {path}"
        )
    files_lib.check_labels(paths)
    return [Unit("train", path) for path in paths]

  @classmethod
  def make_features(cls) -> features.Features:
    """A text alone."""
    return features.text()

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good texts of one file."""
    if arguments["tfds_name"]:
      texts = tfds_texts.read_texts(
        unit.path,
        report,
        split=arguments["tfds_split"],
        field=arguments["tfds_field"],
        max_chars=arguments["max_chars"],
      )
    else:
      texts = documents_lib.read_texts(
        unit.path,
        report,
        field=arguments["field"],
        documents=arguments["documents"],
        max_chars=arguments["max_chars"],
      )
    for text in texts:
      yield Record(text.id, {"id": text.id, "text": text.text})


if __name__ == "__main__":
  builder.main(Text)
