"""Whether a checkpoint is what was written: a list of its files.

Tensorstore keeps checksums of its indices and none of the numbers: a flipped
bit there comes back as another parameter. So `manifest.json` of a checkpoint
lists size and CRC-32 of every other file. It is written before the checkpoint
gets its name, so a checkpoint has it or is none.
"""

import json
import os
import shutil
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor

from etils import epath

MANIFEST = "manifest.json"
# Where damaged checkpoints go, beside the good ones.
ASIDE = "damaged_checkpoints"
# Written by orbax afterwards; nothing that is read depends on them.
_LATER = ("_CHECKPOINT_METADATA", "commit_success.txt", MANIFEST)
_CHUNK = 1 << 24
_THREADS = min(8, os.cpu_count() or 1)


def seal(folder: epath.Path, *, checksums: bool = True) -> None:
  """Writes the manifest of a checkpoint whose files are all written.

  Args:
    folder: of the checkpoint, with its name or still without.
    checksums: False: sizes only, which costs no reading.
  """
  paths = dict(_files(folder))
  with ThreadPoolExecutor(_THREADS) as pool:
    facts = pool.map(lambda path: _facts(path, checksums), paths.values())
    files = dict(zip(paths, facts, strict=True))
  (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=1))


def fault(
  folder: epath.Path, *, checksums: bool = True, part: str = ""
) -> str | None:
  """What is wrong with a checkpoint, in a few words, or None.

  One without a manifest, as earlier versions wrote them, is taken for good.

  Args:
    folder: of the checkpoint.
    checksums: False: looks at names and sizes only.
    part: only files below this folder of it, for example "params/".
  """
  manifest = folder / MANIFEST
  if not manifest.exists():
    return None
  try:
    listed = json.loads(manifest.read_text())["files"]
  except (ValueError, KeyError, TypeError):
    return f"{MANIFEST} cannot be read"
  wanted = {name: f for name, f in listed.items() if name.startswith(part)}

  def look(item):
    name, (size, checksum) = item
    path = folder / name
    if not path.exists():
      return f"{name} is missing"
    found_size, found = _facts(path, checksums and checksum is not None)
    if found_size != size:
      return f"{name} has {found_size:,} bytes where {size:,} were written"
    if found not in (None, checksum):
      return f"{name} has other bytes than were written"
    return None

  with ThreadPoolExecutor(_THREADS) as pool:
    return next(filter(None, pool.map(look, wanted.items())), None)


def refuse(
  folder: epath.Path, *, checksums: bool = True, part: str = ""
) -> None:
  """Raises ValueError if something is wrong with a checkpoint; see `fault`."""
  found = fault(folder, checksums=checksums, part=part)
  if found is not None:
    raise ValueError(
      f"the checkpoint {os.fspath(folder)} is damaged: {found}; take another"
      " step, or start the run again, which goes back to the newest whole one."
    )


def set_aside(folder: epath.Path) -> epath.Path:
  """Moves a checkpoint out of the way, so that its step can be saved again."""
  place = folder.parent.parent / ASIDE
  place.mkdir(parents=True, exist_ok=True)
  number = 0
  while (target := place / f"{folder.name}.{number}").exists():
    number += 1
  return folder.rename(target)


def check_writable(folder: epath.Path) -> None:
  """Raises OSError, saying what to do, unless files can be written there."""
  probe = folder / f"writable-{uuid.uuid4().hex}.tmp"
  try:
    folder.mkdir(parents=True, exist_ok=True)
    probe.write_text("")
    probe.unlink()
  except OSError as error:
    raise OSError(
      f"checkpoints cannot be written to {os.fspath(folder)!r}"
      f" ({error.strerror or error}): give a --workdir that can be written."
    ) from error


def room(folder: epath.Path, needed: int) -> str:
  """How much room there is for `needed` bytes, in words."""
  needs = f"a checkpoint needs about {_size(needed)}"
  try:
    free = shutil.disk_usage(os.fspath(folder)).free
  except OSError:  # not a disk
    return needs
  return f"{_size(free)} are free there and {needs}"


def _size(count):
  for unit in ("bytes", "kB", "MB"):
    if count < 1000:
      return f"{count:.4g} {unit}"
    count /= 1000
  return f"{count:,.1f} GB"


def _files(folder, prefix=""):
  for path in sorted(folder.iterdir(), key=lambda path: path.name):
    name = prefix + path.name
    if path.is_dir():
      yield from _files(path, f"{name}/")
    elif name not in _LATER:
      yield name, path


def _facts(path, checksum):
  """Size and CRC-32 of a file; None in place of what is not wanted."""
  if not checksum:
    return path.stat().length, None
  size, value = 0, 0
  with path.open("rb") as file:
    while chunk := file.read(_CHUNK):
      size += len(chunk)
      value = zlib.crc32(chunk, value)
  return size, value
