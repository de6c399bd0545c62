"""Reads img2dataset tar shards, one sample at a time, and never gives up.

A sample is the members of one shard with the same name before the extension:

  000000012.jpg (or jpeg, png, webp)   000000012.json   000000012.txt

Nothing is extracted to disk. Whatever is wrong is counted by reason in a
`DropReport` and the next sample is read; no TensorFlow is needed.
"""

import glob
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from data.building import archive, pictures
from data.building.archive import Sample
from data.building.drops import Drop, Dropped, DropReport
from data.grit import records
from data.grit.records import Record

MIN_SIDE = 32

Shards = str | os.PathLike | Iterable[str | os.PathLike]


def find_shards(shards: Shards) -> list[pathlib.Path]:
  """Paths of the shards that `shards` names, sorted, each file once.

  Args:
    shards: a tar file, a folder (its `*.tar`), a glob pattern, or several;
      a leading "~" is the home folder.

  Raises:
    FileNotFoundError: one of them matches no file.
    ValueError: there are none.
  """
  if isinstance(shards, str | os.PathLike):
    shards = [shards]
  found: dict[str, pathlib.Path] = {}
  names = [os.path.expanduser(name) for name in shards]
  for name in names:
    if os.path.isdir(name):
      matches = glob.glob(os.path.join(glob.escape(name), "*.tar"))
    elif os.path.exists(name):
      matches = [name]
    else:
      matches = glob.glob(name, recursive=True)
    if not matches:
      raise FileNotFoundError(
        f"no GrIT shard at {name!r}: expected a tar file, a folder of them or"
        " a pattern such as 'grit/*.tar'; data/grit/README.md says how to get"
        " them"
      )
    for match in matches:
      found.setdefault(os.path.realpath(match), pathlib.Path(match))
  if not names:
    raise ValueError(
      "no GrIT shards given: expected a tar file, a folder or a pattern such"
      " as 'grit/*.tar'"
    )
  return sorted(found.values())


def read_shards(
  paths: Iterable[pathlib.Path],
  report: DropReport,
  *,
  min_side: int = MIN_SIDE,
  shorter_side: int = 0,
) -> Iterator[Record]:
  """Yields the good records of all shards, in the order of the shards.

  Ids may come again; the builder keeps the first of each.

  Args:
    paths: tar files, as `find_shards` returns them.
    report: is told of everything; complete when the iterator is exhausted.
    min_side: shorter side in pixels below which a picture is dropped.
    shorter_side: to which larger pictures are resized; 0: none are.
  """
  for path in paths:
    report.files_read += 1
    _read_stats(path, report)
    try:
      file = open(path, "rb")  # noqa: SIM115 (only opening may fail here)
    except OSError:
      report.add(Drop.UNREADABLE_FILE, path.name)
      continue
    with file:
      for key, sample in archive.index(file, path.name, report).items():
        report.records_read += 1
        where = f"{path.name}:{key}"
        try:
          record = _read_sample(
            file, key, sample, report, min_side, shorter_side
          )
        except Dropped as dropped:
          report.add(dropped.reason, where)
          continue
        except OSError:
          report.add(Drop.UNREADABLE_SAMPLE, where)
          continue
        report.records_kept += 1
        yield record


def _read_sample(
  file: BinaryIO,
  key: str,
  sample: Sample,
  report: DropReport,
  min_side: int,
  shorter_side: int,
) -> Record:
  """One record, cheap checks first. Raises Dropped."""

  def read(kind: str) -> bytes | None:
    if kind not in sample:
      return None
    offset, size = sample[kind]
    file.seek(offset)
    return file.read(size)

  where = f"{os.path.basename(file.name)}:{key}"
  if "json" not in sample:
    raise Dropped(Drop.MISSING_JSON)
  fields = records.parse_fields(read("json"))
  if "picture" not in sample:
    raise Dropped(Drop.MISSING_PICTURE)
  caption, note = records.caption_of(fields, read("txt"))
  record_id = records.id_of(fields, key)
  picture = pictures.check_picture(
    read("picture"), min_side=min_side, shorter_side=shorter_side
  )
  records.check_aspect(fields, picture.width, picture.height)
  noun_chunks, ref_exps = records.items_of(fields, caption, report, where)
  if note is not None:
    report.add(note, where)
  if picture.reencoded:
    report.add(Drop.PICTURE_REENCODED, where)
  if picture.resized:
    report.add(Drop.PICTURE_RESIZED, where)
  return Record(
    id=record_id,
    image=picture.data,
    width=picture.width,
    height=picture.height,
    caption=caption,
    noun_chunks=noun_chunks,
    ref_exps=ref_exps,
  )


def _read_stats(path: pathlib.Path, report: DropReport) -> None:
  """Counts what img2dataset left out of the shard, which it tells beside it."""
  stats_path = path.with_name(f"{path.stem}_stats.json")
  if not stats_path.exists():
    return
  try:
    stats = json.loads(stats_path.read_bytes())
    lost = int(stats["failed_to_download"]) + int(stats["failed_to_resize"])
  except (OSError, ValueError, TypeError, KeyError, RecursionError):
    report.add(Drop.BAD_STATS, stats_path.name)
    return
  if lost > 0:
    report.records_read += lost
    report.add(Drop.NEVER_FETCHED, path.name, lost)
