"""The arguments of builders: their defaults, and which ones count."""

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

# Options of all builders with pictures: the shorter side in pixels below which
# a picture is dropped, and the one to which larger pictures are resized
# (0: none are).
PICTURE_DEFAULTS = {"min_side": 32, "shorter_side": 0}
_NAMED = (
  inspect.Parameter.POSITIONAL_OR_KEYWORD,
  inspect.Parameter.KEYWORD_ONLY,
)


def defaults(builder_class: Any) -> dict[str, Any]:
  """Defaults of those arguments of a `FilesBuilder` that have one."""
  pictures = {
    name: value
    for name, value in PICTURE_DEFAULTS.items()
    if name in builder_class.ARGUMENTS
  }
  found = {
    p.name: p.default
    for p in inspect.signature(builder_class.find).parameters.values()
    if p.name in builder_class.ARGUMENTS
    and p.default is not inspect.Parameter.empty
  }
  return pictures | found | dict(builder_class.DEFAULTS)


def required(builder_class: Any) -> list[str]:
  """The arguments of `find` that have no default."""
  known = defaults(builder_class)
  return [
    p.name
    for p in inspect.signature(builder_class.find).parameters.values()
    if p.kind in _NAMED
    and p.default is inspect.Parameter.empty
    and p.name not in known
  ]


def complete(builder_class: Any, given: Mapping[str, Any]) -> dict[str, Any]:
  """The arguments with all defaults; None is one that was not given.

  Raises:
    TypeError: unknown arguments.
    ValueError: one is missing, or a side of pictures is negative.
  """
  unknown = sorted(set(given) - set(builder_class.ARGUMENTS))
  if unknown:
    raise TypeError(
      f"{builder_class.__name__} has no argument {', '.join(unknown)}; it has"
      f" {', '.join(builder_class.ARGUMENTS)}"
    )
  given = {name: value for name, value in given.items() if value is not None}
  arguments = defaults(builder_class) | given
  for name in required(builder_class):
    if name not in arguments:
      raise ValueError(
        f"{builder_class.__name__} needs {name}: expected"
        f" {builder_class.ARGUMENTS.get(name, 'a value')}; found none"
      )
  for name in PICTURE_DEFAULTS.keys() & arguments.keys():
    if arguments[name] < 0:
      raise ValueError(
        f"expected {name} in pixels, 0 or more; found {arguments[name]}"
      )
  return arguments


def find_units(builder_class: Any, arguments: Mapping[str, Any]) -> list[Any]:
  """What `find` finds with those of the arguments that it takes."""
  parameters = inspect.signature(builder_class.find).parameters
  takes_all = any(
    p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
  )
  return builder_class.find(
    **{k: v for k, v in arguments.items() if takes_all or k in parameters}
  )


def facts(builder_class: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
  """The arguments that do not name files, as JSON holds them."""
  return {
    name: _plain(value)
    for name, value in sorted(arguments.items())
    if name not in builder_class.PATHS
  }


def _plain(value: Any) -> Any:
  """Paths are text, sequences are lists."""
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  if isinstance(value, Mapping):
    return {str(k): _plain(v) for k, v in value.items()}
  if isinstance(value, Sequence) and not isinstance(value, str):
    return [_plain(v) for v in value]
  return value
