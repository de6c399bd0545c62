"""TFDS builder of documents with pictures: MMC4, OBELICS to ArrayRecord.

from data.building.builder import prepare
from data.interleaved.interleaved_builder import Interleaved
builder = prepare(
  Interleaved, "~/datasets", documents="mmc4/*.zip", pictures="mmc4/pictures"
)
source = builder.as_data_source("train")
"""

import functools
import importlib.util
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from data.building import builder, features
from data.building import files as files_lib
from data.building.builder import Record, Unit
from data.building.drops import DropReport
from data.interleaved import documents as documents_lib
from data.interleaved import picture_store

# In `pictures`, stands for the name of the documents' file up to its first dot.
PLACE = "{name}"


class Interleaved(builder.FilesBuilder):
  """Documents of the given files, all in the split "train"."""

  NAME = "interleaved"
  TITLE = "interleaved documents"
  DESCRIPTION = "Web pages of text with pictures in it (MMC4, OBELICS)."
  CITATION = (
    "Zhu et al., Multimodal C4, arXiv:2304.06939; Laurençon et al., OBELICS,"
    " arXiv:2306.16527"
  )
  PATHS = ("documents", "pictures")
  ARGUMENTS: ClassVar[Mapping[str, str]] = {
    "documents": "JSONL (.gz, .zip) or parquet files, a folder or a pattern",
    "pictures": "a folder of pictures, or tar files, a folder of them or a"
    f" pattern; {PLACE} is the documents' name up to the first dot",
    "pictures_by": f"what they go by, one of {', '.join(picture_store.NAMINGS)}"
    " (see the README)",
    "min_side": "shorter side in pixels below which a picture is left out",
    "shorter_side": "to which larger pictures are resized; 0: none are",
    "max_images": "of a document, at most; 0: all",
    "min_similarity": "MMC4's pictures with a lower matched_sim are left out;"
    " 0: none are",
    "keep_text": "keep documents without any good picture as text",
  }
  DEFAULTS: ClassVar[Mapping[str, Any]] = {
    # The published rule.
    "min_side": 64,
    "max_images": 0,
    "min_similarity": 0.0,
    "keep_text": False,
  }

  @classmethod
  def find(
    cls,
    documents: files_lib.Paths,
    pictures: files_lib.Paths,
    pictures_by: str = "name",
  ) -> list[Unit]:
    """One unit for each file of documents."""
    if pictures_by not in picture_store.NAMINGS:
      raise ValueError(
        f"pictures_by is one of {', '.join(picture_store.NAMINGS)}; found"
        f" {pictures_by!r}"
      )
    paths = files_lib.find_files(
      documents,
      documents_lib.SUFFIXES,
      what="documents' file",
      name="interleaved",
    )
    for path in paths:
      if not path.name.lower().endswith(documents_lib.SUFFIXES):
        raise ValueError(
          "expected documents in files that end in"
          f" {', '.join(documents_lib.SUFFIXES)}; found {path}"
        )
    if any(path.name.lower().endswith(".parquet") for path in paths):
      _check_pyarrow()
    files_lib.check_labels(paths)
    units = [Unit("train", path) for path in paths]
    for given in dict.fromkeys(_places(pictures, path) for path in paths):
      _find_pictures(given, pictures_by)
    return units

  @classmethod
  def make_features(cls) -> features.Features:
    """Texts and pictures in the order of the page."""
    return features.document()

  @classmethod
  def files(
    cls, units: Sequence[Unit], arguments: Mapping[str, Any]
  ) -> list[pathlib.Path]:
    """The folders or shards of the pictures."""
    given = [_places(arguments["pictures"], unit.path) for unit in units]
    found = [
      path
      for places in dict.fromkeys(given)
      for path in _find_pictures(places, arguments["pictures_by"])
    ]
    return list(dict.fromkeys(found))

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good documents of one file."""
    options = dict(arguments)
    documents, pictures = options.pop("documents"), options.pop("pictures")
    naming = options.pop("pictures_by")
    paths = _find_pictures(_places(pictures, unit.path), naming)
    store, damage = _open_store(tuple(paths), naming)
    # Shards that all files share are in the account once.
    own = _places(pictures, unit.path) != _places(pictures, pathlib.Path())
    if damage.counts and (
      own or cls.find(documents, pictures, naming)[0] == unit
    ):
      _add_damage(damage, report)
    found = documents_lib.read_documents(unit.path, report, store, **options)
    for document in found:
      parts = [{"text": text, "image": at} for text, at in document.parts]
      yield Record(
        document.id,
        {"id": document.id, "images": document.images, "parts": parts},
      )


def _check_pyarrow() -> None:
  if importlib.util.find_spec("pyarrow") is None:
    raise ValueError(
      "reading parquet needs pyarrow, which is not installed: install it"
      " (pip install pyarrow), or give JSONL with the same fields"
    )


def _places(pictures: files_lib.Paths, path: pathlib.Path) -> tuple[str, ...]:
  """Where the pictures of the documents in `path` are."""
  if isinstance(pictures, str | os.PathLike):
    pictures = [pictures]
  name = path.name.split(".")[0]
  return tuple(os.fspath(place).replace(PLACE, name) for place in pictures)


def _find_pictures(places: Sequence[str], naming: str) -> list[pathlib.Path]:
  """Folders that hold pictures, or tar files.

  Raises:
    FileNotFoundError: one of the places is not there.
    ValueError: both kinds, or folders where shards are needed.
  """
  folders, shards = [], []
  for place in places:
    folder = pathlib.Path(place).expanduser()
    if folder.is_dir() and not any(folder.glob("*.tar")):
      folders.append(folder)
    else:
      shards.append(place)
  if folders and shards:
    raise ValueError(
      "expected pictures in folders or in tar files, found the folder"
      f" {folders[0]} and the tar files {shards[0]}: prepare them apart"
    )
  if folders and naming == "url":
    raise ValueError(
      "pictures_by=url needs img2dataset's tar files, whose json has the URL;"
      f" found the folder {folders[0]} without any"
    )
  if folders:
    return folders
  return files_lib.find_files(
    shards, (".tar",), what="shard of pictures", name="interleaved"
  )


@functools.lru_cache(maxsize=1)
def _open_store(
  paths: tuple[pathlib.Path, ...], naming: str
) -> tuple[picture_store.Store, DropReport]:
  """The pictures, and what is wrong with their shards; kept for other files."""
  damage = DropReport()
  if paths[0].is_dir():
    return picture_store.FolderStore(paths, naming), damage
  return picture_store.ShardStore(paths, naming, damage), damage


def _add_damage(damage: DropReport, report: DropReport) -> None:
  """Tells what is wrong with shards; their samples are no records here."""
  for reason, count in damage.counts.items():
    if reason.level in ("file", "member"):
      for place in damage.examples[reason]:
        report.add(reason, place, 0)
      report.add(reason, damage.examples[reason][0], count)


if __name__ == "__main__":
  builder.main(Interleaved)
