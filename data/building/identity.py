"""What files and arguments are known by, and what they should be.

A prepared data set is found again by what it was read from: the names, sizes
and contents of the files, and whatever else decides what is stored.
"""

import hashlib
import inspect
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# Smaller files are identified by content: a copy or a checkout changes the
# time of a file. Larger ones would take minutes to read.
HASHED_BYTES = 16 << 20


def defaults_of(find: Callable[..., Any]) -> dict[str, Any]:
  """The defaults that a builder's `find` gives its arguments."""
  parameters = inspect.signature(find).parameters.values()
  return {
    p.name: p.default for p in parameters if p.default is not inspect._empty
  }


def required_by(find: Callable[..., Any]) -> list[str]:
  """The arguments without which a builder's `find` finds nothing."""
  named = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
  )
  return [
    p.name
    for p in inspect.signature(find).parameters.values()
    if p.kind in named and p.default is inspect._empty
  ]


def call_with_known(find: Callable[..., Any], arguments: Mapping[str, Any]):
  """`find` with those of the arguments that it takes."""
  parameters = inspect.signature(find).parameters
  takes_all = any(
    p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
  )
  known = {k: v for k, v in arguments.items() if takes_all or k in parameters}
  return find(**known)


def plain(value: Any) -> Any:
  """An argument as JSON holds it: paths are text, sequences are lists."""
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  if isinstance(value, Mapping):
    return {str(k): plain(v) for k, v in value.items()}
  if isinstance(value, Sequence) and not isinstance(value, str):
    return [plain(v) for v in value]
  return value


def fingerprint(
  facts: Mapping[str, Any], files: Iterable[tuple[str, pathlib.Path]]
) -> str:
  """16 hex digits that change whenever what is read would.

  Args:
    facts: whatever decides what is stored, as JSON can hold it.
    files: the split, and the file or folder that is read for it. A file is
      known by its name, its size and its content, or, beyond `HASHED_BYTES`,
      the time of its last change; a folder by its files.
  """
  identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
  states: dict[pathlib.Path, str] = {}
  for split, path in files:
    if path not in states:
      states[path] = _state(path)
    identity.update(f"\n{split} {states[path]}".encode())
  return identity.hexdigest()[:16]


def describe(path: pathlib.Path) -> dict[str, Any]:
  """A file, or the files of a folder, for the manifest."""
  if path.is_dir():
    files = [p for p in path.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files)
    return {"name": path.name, "bytes": size, "files": len(files)}
  return {"name": path.name, "bytes": path.stat().st_size}


def _state(path: pathlib.Path) -> str:
  if path.is_dir():
    inside = sorted(p for p in path.rglob("*") if p.is_file())
    states = [f"{p.relative_to(path)} {_state(p)}" for p in inside]
    digest = hashlib.sha256("\n".join(states).encode()).hexdigest()
    return f"{path.name} {digest}"
  stat = path.stat()
  if stat.st_size <= HASHED_BYTES and path.is_file():
    state = hashlib.sha256(path.read_bytes()).hexdigest()
  else:
    state = f"{stat.st_mtime_ns}"
  return f"{path.name} {stat.st_size} {state}"
