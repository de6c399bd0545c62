"""Reads pictures with captions: tar shards, parquet and JSONL.

  for unit in find_units("coyo/*.tar"):
    for pair in read_unit(unit, report):

Whatever is wrong is counted by reason in a `DropReport`, and the next pair is
read. Pictures are not decoded here.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data.building import files, samples
from data.building.drops import Drop, Dropped, DropReport
from data.grit.build import pair_fields, pair_tables
from data.grit.build.pair_fields import NAMES, SIMILARITIES
from data.grit.build.pair_tables import Range, Row

SUFFIXES = (".tar", ".parquet", ".jsonl")


@dataclasses.dataclass(frozen=True)
class Pair:
  """A picture with its caption, neither of them checked yet.

  id       unique in its unit
  image    encoded, as it is stored
  caption  as it is stored: text that UTF-8 can hold, with more than blanks
  url      where the picture was, "" if that is not told
  extra    clip_similarity_vitb32 and _vitl14: a number, None if not told
  where    file and place, for the report
  """

  id: str
  image: bytes
  caption: str
  url: str
  extra: dict[str, Any]
  where: str


@dataclasses.dataclass(frozen=True)
class Unit:
  """What is read in one go: a tar file, or a range of rows or lines.

  number   of the unit, from 0, in the order of the files
  name     folder and file, and the rows: "pairs/00.parquet:1-1000"
  path     of the file
  start    the first row, from 0; a tar is read whole
  stop     behind the last row
  offset   of the first row in bytes (JSONL)
  images   folder that names of pictures start from; not of tars
  columns  field of `NAMES` and its column, where it was given
  """

  number: int
  name: str
  path: str
  start: int = 0
  stop: int = 0
  offset: int = 0
  images: str = ""
  columns: tuple[tuple[str, str], ...] = ()

  @property
  def kind(self) -> str:
    """One of `SUFFIXES`."""
    return pathlib.Path(self.path).suffix.lower()

  def as_dict(self) -> dict[str, Any]:
    """The unit as JSON can hold it."""
    return dataclasses.asdict(self) | {"columns": dict(self.columns)}

  @classmethod
  def from_dict(cls, told: Mapping[str, Any]) -> "Unit":
    """The unit that `as_dict` told."""
    return cls(**{**told, "columns": tuple(told["columns"].items())})


def find_units(
  source: files.Paths,
  *,
  images: str | os.PathLike | None = None,
  unit_size: int = 1000,
  columns: Mapping[str, str] | None = None,
) -> list[Unit]:
  """The units of the files that `source` names, in the order of the files.

  A tar file (img2dataset's) is a unit. In others each `unit_size` rows are
  one: parquet, and JSONL with an object a line, which have the columns of
  `NAMES`. A parquet file beside a tar of the same name that is read, too, is
  img2dataset's list of what is in the tar, and is left out.

  Args:
    source: a file, a folder, a pattern such as "coyo/*.parquet", or several.
    images: folder that names of pictures in tables start from; by default that
      of the table. A name without an ending, such as img2dataset's key, is
      also looked for in the folder called as the table.
    unit_size: rows of a unit. Parquet that has row groups of as many is read
      fastest: in a larger one, the rows before a unit's are read, too.
    columns: which column has a field of `NAMES`, such as {"caption": "alt"}.
      Of tars, which field of the json.

  Raises:
    FileNotFoundError: nothing is there, or no folder `images`.
    ValueError: a file of another kind; no such column, or none with captions
      or pictures; no good `unit_size`.
  """
  if unit_size < 1:
    raise ValueError(
      f"expected a unit_size of 1 row or more, found {unit_size}"
    )
  columns = dict(columns or {})
  if unknown := sorted(columns.keys() - NAMES.keys()):
    raise ValueError(
      f"expected columns for {', '.join(NAMES)}; found one for"
      f" {', '.join(unknown)}: correct the name"
    )
  paths = files.find_files(source, SUFFIXES, what="pair file", name="grit")
  for path in paths:
    if path.suffix.lower() not in SUFFIXES:
      raise ValueError(
        f"expected pairs in files that end in {', '.join(SUFFIXES)}; found"
        f" {path}: unpack or convert it first"
      )
  tars = {path.with_suffix("") for path in paths if _kind(path) == ".tar"}
  paths = [
    path
    for path in paths
    if _kind(path) != ".parquet" or path.with_suffix("") not in tars
  ]
  if images is not None:
    _check_images(os.fspath(images), paths)
  units: list[Unit] = []
  for path in paths:
    if _kind(path) == ".parquet":
      _check_columns(path, columns)
      parts = pair_tables.parquet_ranges(path, unit_size)
    elif _kind(path) == ".jsonl":
      parts = pair_tables.line_ranges(path, unit_size)
    else:
      parts = [Range(0, 0)]
    in_tar = _kind(path) == ".tar"
    for part in parts:
      rows = "" if in_tar else f":{part.start + 1}-{part.stop}"
      units.append(
        Unit(
          len(units),
          files.label(path) + rows,
          str(path),
          *part,
          images="" if in_tar else os.fspath(images or path.parent),
          columns=tuple(columns.items()),
        )
      )
  return units


def read_unit(unit: Unit, report: DropReport) -> Iterator[Pair]:
  """Yields the pairs of a unit whose caption and picture are there.

  Every record is counted as read, and those that are not yielded are counted
  by reason. Whoever takes the others counts them as kept or dropped: nothing
  is added to `records_kept` here.

  A record without an id is called by its key (in a tar, the members' name), or
  else by the table's name and the row, from 1: "pairs-17".
  """
  names = NAMES | {field: (name,) for field, name in unit.columns}
  if unit.kind == ".tar":
    found = _read_tar(unit, names, report)
  else:
    found = _read_table(unit, names, report)
  yield from found


def _read_tar(
  unit: Unit, names: Mapping[str, Sequence[str]], report: DropReport
) -> Iterator[Pair]:
  seen: set[str] = set()
  for sample in samples.read_samples(pathlib.Path(unit.path), report):
    try:
      json_bytes = sample.read("json")
      # Tars of others may have a txt alone.
      fields = {} if json_bytes is None else samples.parse_fields(json_bytes)
      if "picture" not in sample.extents:
        raise Dropped(Drop.MISSING_PICTURE)
      caption, note = pair_fields.caption_of(fields, names, sample.read("txt"))
      pair_id = pair_fields.id_of(fields, names, sample.key, seen)
      image = sample.read("picture")
    except Dropped as dropped:
      report.add(dropped.reason, sample.where)
      continue
    if note is not None:
      report.add(note, sample.where)
    seen.add(pair_id)
    yield _pair(pair_id, image, caption, fields, names, sample.where)


def _read_table(
  unit: Unit, names: Mapping[str, Sequence[str]], report: DropReport
) -> Iterator[Pair]:
  path, seen = pathlib.Path(unit.path), set()
  stem = files.printable(path.stem)
  for row in _rows(unit, path, names, report):
    key = pair_fields.text(row.fields.get(pair_fields.KEY))
    key = key or f"{stem}-{row.number}"
    try:
      pair_fields.check_status(row.fields)
      caption, _ = pair_fields.caption_of(row.fields, names, None)
      pair_id = pair_fields.id_of(row.fields, names, key, seen)
      image = pair_fields.picture_of(
        row.fields, names["image"], unit.images, path.stem
      )
    except Dropped as dropped:
      report.add(dropped.reason, row.where)
      continue
    seen.add(pair_id)
    yield _pair(pair_id, image, caption, row.fields, names, row.where)


def _rows(
  unit: Unit,
  path: pathlib.Path,
  names: Mapping[str, Sequence[str]],
  report: DropReport,
) -> Iterator[Row]:
  part = Range(unit.start, unit.stop, unit.offset)
  if unit.kind == ".parquet":
    wanted = [
      *(name for group in names.values() for name in group),
      pair_fields.KEY,
      pair_fields.STATUS,
    ]
    return pair_tables.read_parquet(path, part, wanted, report)
  return pair_tables.read_lines(path, part, report)


def _pair(
  pair_id: str,
  image: bytes,
  caption: str,
  fields: Mapping[str, Any],
  names: Mapping[str, Sequence[str]],
  where: str,
) -> Pair:
  url = pair_fields.first(fields, names["url"])
  extra = {
    name: pair_fields.number(pair_fields.first(fields, names[name]))
    for name in SIMILARITIES
  }
  return Pair(pair_id, image, caption, pair_fields.text(url), extra, where)


def _kind(path: pathlib.Path) -> str:
  return path.suffix.lower()


def _check_images(images: str, paths: Sequence[pathlib.Path]) -> None:
  if not os.path.isdir(images):
    raise FileNotFoundError(
      f"expected a folder of pictures at {images!r}, found none; give the"
      " folder that the names in the table start from"
    )
  if all(_kind(path) == ".tar" for path in paths):
    raise ValueError(
      f"expected a parquet or JSONL file with pictures in {images!r}, found"
      " tar files alone, which hold their pictures: leave out the folder"
    )


def _check_columns(path: pathlib.Path, columns: Mapping[str, str]) -> None:
  """Raises ValueError: what a parquet file needs is in no column."""
  known = pair_tables.parquet_columns(path)
  if known is None:
    return  # Counted when it is read.
  for field, names in NAMES.items():
    names = (columns[field],) if field in columns else names
    needed = field in ("caption", "image") or field in columns
    if needed and not set(names) & set(known):
      raise ValueError(
        f"{path}: expected the {field} in a column {' or '.join(names)}; found"
        f" {', '.join(map(str, known)) or 'no column'}: give its name"
      )
