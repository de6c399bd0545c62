"""What a built shard is known by, in the file that makes it a finished one.

Beside `00012.tar` lies `00012_stats.json`, which is written last. It tells
what the shard was built of and how, and what was kept and dropped.
"""

import functools
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from data.building import identity
from data.grit.build.asking import Grounder
from data.grit.build.child import Refused
from data.grit.build.pairs import Unit

# What decides the bytes of a shard.
DECIDING = ("unit", "options", "parser", "grounder")
# What `write_whole` and `ShardWriter` call what they are not done with.
_UNFINISHED = re.compile(
  r"\.[0-9]{5,}\.tar\..*\.partial"
  r"|[0-9]{5,}_stats\.json\..*\.tmp"
  r"|outcomes-[0-9a-f]{32}\.json(\..*\.tmp)?"
)


def shard_path(folder: pathlib.Path, number: int) -> pathlib.Path:
  """Where the shard of a unit lies."""
  return folder / f"{number:05d}.tar"


def stats_path(folder: pathlib.Path, number: int) -> pathlib.Path:
  """Where its account lies; readers of shards look for it by this name."""
  return folder / f"{number:05d}_stats.json"


def unit_facts(unit: Unit) -> dict[str, Any]:
  """What a unit is known by, wherever it lies: its rows and its file's state.

  Raises:
    OSError: its file is not there.
  """
  path = pathlib.Path(unit.path)
  stat = path.stat()
  told = unit.as_dict()
  return {
    **{name: told[name] for name in ("number", "name", "start", "stop")},
    "columns": told["columns"],
    "state": _state(path, stat.st_size, stat.st_mtime_ns),
  }


def model_facts(parser: Any, grounder: Grounder) -> dict[str, Any]:
  """What parser and grounder are known by."""
  return json.loads(
    json.dumps(
      {"parser": dict(parser.identity), "grounder": dict(grounder.identity)}
    )
  )


def read(folder: pathlib.Path, number: int) -> dict[str, Any] | None:
  """The account of a finished shard; None where it is not finished."""
  try:
    told = json.loads(stats_path(folder, number).read_bytes())
  except (OSError, ValueError):
    return None
  if not isinstance(told, dict) or not set(DECIDING) <= told.keys():
    return None
  return told if shard_path(folder, number).exists() else None


def write(folder: pathlib.Path, number: int, told: Mapping[str, Any]) -> None:
  """Writes the account of a shard, all of it or nothing."""
  write_whole(stats_path(folder, number), json.dumps(told, indent=1) + "\n")


def write_whole(path: pathlib.Path, text: str) -> None:
  """Writes a file under another name first, so that no half of it is seen."""
  unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
  try:
    unfinished.write_text(text)
    unfinished.replace(path)
  finally:
    unfinished.unlink(missing_ok=True)


def remove_leftovers(folder: pathlib.Path) -> None:
  """Removes the unfinished files of runs that were killed.

  A shard without its account is not touched: it is written anew.
  """
  with os.scandir(folder) as entries:
    names = [e.name for e in entries if _UNFINISHED.fullmatch(e.name)]
  for name in names:
    (folder / name).unlink(missing_ok=True)


def check_same(
  found: Mapping[str, Any], wanted: Mapping[str, Any], path: pathlib.Path
) -> None:
  """Checks that a finished shard is what would be built now.

  Args:
    found: its account.
    wanted: facts by the names of `DECIDING`, or some of them.
    path: of the account, for the error.

  Raises:
    Refused: something differs; the sentence says what.
  """
  for name in DECIDING:
    if name not in wanted:
      continue
    for what, built, asked in _differences(name, found[name], wanted[name]):
      raise Refused(
        f"expected shards of the same build in {path.parent}, found that"
        f" {path.name} has {what} {_short(built)} where this build has"
        f" {_short(asked)}; give another output folder, or the same options"
        " and pairs as before"
      )


@functools.lru_cache
def _state(path: pathlib.Path, size: int, time: int) -> str:
  """A file may have many units, and reading it takes time."""
  del size, time  # A file with others is another one.
  return identity.fingerprint({}, [("", path)])


def _differences(name: str, found: Any, wanted: Any) -> Iterator[Any]:
  """Dotted names with both values, of what is not the same."""
  if isinstance(found, dict) and isinstance(wanted, dict):
    for key in dict.fromkeys((*wanted, *found)):
      yield from _differences(f"{name}.{key}", found.get(key), wanted.get(key))
  elif found != wanted:
    yield name, found, wanted


def _short(value: Any) -> str:
  text = json.dumps(value)
  return text if len(text) <= 80 else f"{text[:77]}…"
