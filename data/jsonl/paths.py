"""Which files are meant, and whether they or their pictures changed."""

import glob
import hashlib
import os
import pathlib
from collections.abc import Sequence

from data.jsonl import files as reading
from data.jsonl.files import Options

Files = str | os.PathLike | Sequence[str | os.PathLike]
# Pictures of more bytes than this together are known by the times of their
# files: reading them at every start would take too long.
HASHED_BYTES = 256 << 20


def find_files(files: Files) -> list[pathlib.Path]:
  """Paths of the files that `files` names, each once, in their order.

  Raises:
    FileNotFoundError: one of them matches no file.
    ValueError: there are none, or two of the same name, which ids begin with.
  """
  names = [files] if isinstance(files, str | os.PathLike) else list(files)
  found: dict[str, pathlib.Path] = {}
  for name in map(os.path.expanduser, names):
    matches = [name] if os.path.exists(name) else sorted(glob.glob(name))
    matches = [match for match in matches if os.path.isfile(match)]
    if not matches:
      kind = "a folder" if os.path.isdir(name) else "no such file"
      raise FileNotFoundError(
        "expected a JSONL file, or a pattern such as 'my/*.jsonl', at"
        f" {name!r}, found {kind}; data/jsonl/README.md says what one"
        " holds"
      )
    for match in matches:
      found.setdefault(os.path.realpath(match), pathlib.Path(match))
  if not names:
    raise ValueError("expected one JSONL file or more, found none")
  known: dict[str, pathlib.Path] = {}
  for path in found.values():
    other = known.setdefault(path.name, path)
    if other is not path:
      raise ValueError(
        f"expected files of different names, found {str(other)!r} and"
        f" {str(path)!r}; rename one: ids of lines begin with it"
      )
  return list(found.values())


def digest(paths: Sequence[pathlib.Path], options: Options) -> str:
  """16 hex digits that change whenever one of the files' pictures does."""
  pictures = dict.fromkeys(
    picture
    for path in paths
    for picture in reading.picture_paths(path, options)
  )
  stats = [picture.stat() for picture in pictures]
  by_content = sum(stat.st_size for stat in stats) <= HASHED_BYTES
  identity = hashlib.sha256()
  for picture, stat in zip(pictures, stats, strict=True):
    if by_content:
      state = hashlib.sha256(picture.read_bytes()).hexdigest()
    else:
      state = f"{stat.st_size} {stat.st_mtime_ns}"
    identity.update(f"{picture.name} {state}\n".encode())
  return identity.hexdigest()[:16]
