"""Finds the annotation files that an argument names."""

import glob
import os
import pathlib
from collections.abc import Iterable

SUFFIXES = (".json", ".jsonl")
Paths = str | os.PathLike | Iterable[str | os.PathLike]


def find(paths: Paths, title: str) -> list[pathlib.Path]:
  """Paths of the files that `paths` names, sorted, each file once.

  Args:
    paths: a JSON or JSON Lines file, a folder of them, a glob pattern, several
      with commas between them, or a list of such; a leading "~" is the home
      folder.
    title: what they hold, for errors.

  Raises:
    FileNotFoundError: one of them matches no file.
    ValueError: there are none.
  """
  if isinstance(paths, str):
    paths = [paths] if os.path.exists(paths) else paths.split(",")
  elif isinstance(paths, os.PathLike):
    paths = [paths]
  found: dict[str, pathlib.Path] = {}
  names = [os.path.expanduser(name) for name in paths]
  for name in filter(None, names):
    if os.path.isdir(name):
      matches = sorted(os.path.join(name, entry) for entry in os.listdir(name))
      matches = [m for m in matches if m.endswith(SUFFIXES)]
    elif os.path.exists(name):
      matches = [name]
    else:
      matches = glob.glob(name, recursive=True)
    if not matches:
      raise FileNotFoundError(
        f"no {title} at {str(name)!r}: expected a JSON or JSON Lines file, a"
        " folder of them or a pattern such as 'folder/*.json'"
      )
    for match in matches:
      found.setdefault(os.path.realpath(match), pathlib.Path(match))
  if not found:
    raise ValueError(
      f"no {title} given: expected a JSON or JSON Lines file, a folder of them"
      " or a pattern such as 'folder/*.json'"
    )
  return sorted(found.values())
