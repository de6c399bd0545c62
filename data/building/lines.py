"""Reads the lines of text files, packed or plain, and counts what is damaged.

A ".gz" is unpacked while it is read; of a ".zip", the files in it that are no
folders are read one after the other. Nothing is unpacked to disk.
"""

import contextlib
import gzip
import io
import pathlib
import zipfile
import zlib
from collections.abc import Iterator

from data.building import archive, files
from data.building.drops import Drop, DropReport

# One line is in memory at a time; beyond this it is no document.
MAX_LINE_BYTES = 64 << 20
# What damaged archives raise while they are read.
_DAMAGE = (OSError, EOFError, zlib.error, zipfile.BadZipFile)
# What zipfile raises for encryption and for methods it does not know.
_REFUSED = (RuntimeError, NotImplementedError)


def read_lines(
  path: pathlib.Path, report: DropReport
) -> Iterator[tuple[str, bytes | None]]:
  """Yields (file:line, the line without its end) of a file, which it counts.

  Lines are numbered from 1; in a zip the name of the file in it stands before
  the number. A line beyond `MAX_LINE_BYTES` is None.
  """
  report.files_read += 1
  name = files.printable(path.name)
  try:
    with contextlib.ExitStack() as stack:
      if path.suffix.lower() == ".zip":
        packed = stack.enter_context(zipfile.ZipFile(path))
        for info in packed.infolist():
          yield from _read_member(packed, info, name, report)
        return
      file = stack.enter_context(open(path, "rb"))
      if path.suffix.lower() == ".gz":
        file = stack.enter_context(gzip.GzipFile(fileobj=file))
      yield from _read(file, name, report)
  except (*_DAMAGE, *_REFUSED):
    report.add(Drop.UNREADABLE_FILE, name)


def _read_member(
  packed: zipfile.ZipFile,
  info: zipfile.ZipInfo,
  name: str,
  report: DropReport,
) -> Iterator[tuple[str, bytes | None]]:
  if info.is_dir():
    return
  where = f"{name}:{files.printable(info.filename)}"
  if archive.is_unsafe(info.filename):
    report.add(Drop.UNSAFE_MEMBER, where)
    return
  try:
    file = packed.open(info)
  except (*_DAMAGE, *_REFUSED):
    report.add(Drop.UNREADABLE_FILE, where)
    return
  with file:
    yield from _read(file, where, report)


def _read(
  file: io.BufferedIOBase, name: str, report: DropReport
) -> Iterator[tuple[str, bytes | None]]:
  """Lines up to the first damage."""
  number = 0
  while True:
    try:
      line = file.readline(MAX_LINE_BYTES + 1)
      whole = len(line) <= MAX_LINE_BYTES
      rest = line
      while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
        rest = file.readline(MAX_LINE_BYTES + 1)
    except _DAMAGE:
      # Before the first line it may be anything, such as a page of HTML that
      # a server sent under this name.
      broken = Drop.TRUNCATED_FILE if number else Drop.UNREADABLE_FILE
      report.add(broken, name)
      return
    if not line:
      return
    number += 1
    yield f"{name}:{number}", line.rstrip(b"\r\n") if whole else None
