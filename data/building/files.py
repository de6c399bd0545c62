"""Finds the files that a builder's argument names."""

import glob
import os
import pathlib
from collections.abc import Iterable, Sequence

Paths = str | os.PathLike | Iterable[str | os.PathLike]


def find_files(
  given: Paths, suffixes: Sequence[str], *, what: str, name: str
) -> list[pathlib.Path]:
  """Paths of the files that `given` names, sorted, each file once.

  Args:
    given: a file, a folder (its files that end in one of `suffixes`), a glob
      pattern, or several of these; a leading "~" is the home folder.
    suffixes: such as ".tar"; only what is found in folders is held to them.
    what: for errors, such as "GrIT shard".
    name: folder in data/ whose README says how to get the files.

  Raises:
    FileNotFoundError: one of them matches no file.
    ValueError: there are none.
  """
  if isinstance(given, str | os.PathLike):
    given = [given]
  found: dict[str, pathlib.Path] = {}
  names = [os.path.expanduser(path) for path in given]
  for path in names:
    if os.path.isdir(path):
      matches = [
        match
        for match in glob.glob(os.path.join(glob.escape(path), "*"))
        if match.lower().endswith(tuple(suffixes)) and not os.path.isdir(match)
      ]
    elif os.path.exists(path):
      matches = [path]
    else:
      matches = [
        match
        for match in glob.glob(path, recursive=True)
        if not os.path.isdir(match)
      ]
    if not matches:
      raise FileNotFoundError(
        f"no {what} at {path!r}: expected a file, a folder of files ending in"
        f" {_or(suffixes)}, or a pattern such as"
        f" {name + '/*' + suffixes[0]!r}; data/{name}/README.md says how to"
        " get them"
      )
    for match in matches:
      found.setdefault(os.path.realpath(match), pathlib.Path(match))
  if not names:
    raise ValueError(
      f"no {what}s given: expected a file, a folder or a pattern such as"
      f" {name + '/*' + suffixes[0]!r}"
    )
  return sorted(found.values())


def check_labels(paths: Iterable[pathlib.Path]) -> None:
  """Checks that `label`, which ids begin with, tells files apart.

  Raises:
    ValueError: two files have the same name in folders of the same name.
  """
  known: dict[str, pathlib.Path] = {}
  for path in paths:
    other = known.setdefault(label(path), path)
    if other is not path:
      raise ValueError(
        f"expected files that differ in their names or in those of their"
        f" folders, because ids are made of them; found {other} and {path}:"
        " rename one of the folders"
      )


def label(path: pathlib.Path) -> str:
  """Folder and name: the same wherever the folder lies."""
  folder = pathlib.Path(os.path.abspath(path)).parent.name
  name = f"{folder}/{path.name}" if folder else path.name
  return printable(name)


def printable(name: str) -> str:
  """Names of files are any bytes; those that are no UTF-8 are escaped."""
  return name.encode("utf-8", "backslashreplace").decode()


def _or(names: Sequence[str]) -> str:
  *most, last = names
  return f"{', '.join(most)} or {last}" if most else last
