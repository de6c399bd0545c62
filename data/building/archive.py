"""Finds the samples in a tar shard by its headers; extracts nothing to disk."""

import os
import pathlib
import re
import tarfile
from typing import BinaryIO

from data.building import files
from data.building.drops import Drop, DropReport

KINDS = {
  ".jpg": "picture",
  ".jpeg": "picture",
  ".png": "picture",
  ".webp": "picture",
  ".json": "json",
  ".txt": "txt",
}
# One sample is in memory at a time; a member beyond this is no picture or text.
MAX_BYTES = {"picture": 64 << 20, "json": 4 << 20, "txt": 1 << 20}

# Where the bytes of a member lie in the shard: (offset, size).
Extent = tuple[int, int]
# "picture", "json", "txt" -> where.
Sample = dict[str, Extent]


def index(
  file: BinaryIO, name: str, report: DropReport, bare: bool = False
) -> dict[str, Sample]:
  """Reads the headers of a shard: key -> kind -> (offset, size).

  All headers are read before any sample, so members of a sample need not be
  neighbours. Of a shard that breaks off, the samples before the break are
  returned; an incomplete one at the break is part of what is lost.

  Args:
    file: the shard; stays open.
    name: of the shard, for the report.
    report: is told of members that cannot be used.
    bare: members without an extension are pictures.
  """
  samples: dict[str, Sample] = {}
  size = os.fstat(file.fileno()).st_size
  try:
    # Not to be closed: the file is the caller's.
    tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
  except Exception:  # tarfile raises many kinds on damaged headers.
    report.add(Drop.UNREADABLE_FILE, name)
    return samples
  last_key = None
  while True:
    try:
      member = tar.next()
    except Exception:
      broken = True
      break
    if member is None:
      broken = not _ends_well(file, tar.offset, name, report)
      break
    # A negative size leads back to headers that were read, for ever.
    broken = member.size < 0
    if broken:
      break
    if not (member.isreg() and not member.issparse()):
      if not member.isdir():
        report.add(Drop.UNSAFE_MEMBER, files.printable(f"{name}:{member.name}"))
      continue
    last_key, kind = _key_and_kind(member.name, bare)
    broken = member.offset_data + member.size > size
    if broken:
      break
    _add_member(member, last_key, kind, samples, name, report)
  if broken:
    report.add(Drop.TRUNCATED_FILE, name)
    if not {"json", "picture"} <= samples.get(last_key, {}).keys():
      samples.pop(last_key, None)
  return samples


def _add_member(
  member: tarfile.TarInfo,
  key: str,
  kind: str | None,
  samples: dict[str, Sample],
  name: str,
  report: DropReport,
) -> None:
  """Adds one plain file to `samples`, or counts why not."""
  where = f"{name}:{files.printable(member.name)}"
  if is_unsafe(member.name):
    report.add(Drop.UNSAFE_MEMBER, where)
    return
  if kind is None:
    report.add(Drop.UNKNOWN_MEMBER, where)
    return
  sample = samples.setdefault(key, {})
  if kind in sample:
    report.add(Drop.REPEATED_MEMBER, where)
  elif member.size > MAX_BYTES[kind]:
    report.add(Drop.MEMBER_TOO_LARGE, where)
  else:
    sample[kind] = (member.offset_data, member.size)


def _key_and_kind(member_name: str, bare: bool) -> tuple[str, str | None]:
  """Name without extension, and "picture", "json", "txt" or None."""
  path = pathlib.PurePosixPath(member_name)
  # Hidden files are companions that some systems add, such as ._0.jpg.
  kind = None
  if not path.name.startswith("."):
    kind = KINDS.get(path.suffix.lower())
    if bare and not path.suffix:
      kind = "picture"
  return files.printable(str(path.with_suffix("") if path.name else path)), kind


def is_unsafe(member_name: str) -> bool:
  """Whether a name leads out of the folder it would be unpacked in."""
  return (
    member_name.startswith("/")
    or "\\" in member_name
    or re.match("[A-Za-z]:", member_name) is not None
    or ".." in member_name.split("/")
  )


def _ends_well(
  file: BinaryIO, offset: int, name: str, report: DropReport
) -> bool:
  """Whether the end mark, a block of zeros, is at `offset`.

  tarfile takes the end of the file, or a header that makes no sense, for the
  end of the archive without a word.
  """
  file.seek(offset)
  if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
    return False
  while rest := file.read(1 << 20):
    if rest.strip(b"\0"):
      report.add(Drop.DATA_AFTER_END, name)
      break
  return True
