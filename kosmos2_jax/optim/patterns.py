"""Regular expressions that name parameters by their paths."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.traverse_util
from jaxtyping import PyTree


def flatten(params: PyTree) -> dict[str, Any]:
  """Leaves by path, `decoder/embedding`; see `unflatten`."""
  return flax.traverse_util.flatten_dict(params, sep="/")


def unflatten(leaves: Mapping[str, Any]) -> PyTree:
  """The nested dict of leaves by path."""
  return flax.traverse_util.unflatten_dict(dict(leaves), sep="/")


def matches(pattern: str, paths: Sequence[str], field: str) -> list[str]:
  """The paths in which a pattern is found.

  Args:
    pattern: a regular expression; `^` and `$` tie it to a whole path.
    paths: of parameters.
    field: of the config, for messages.

  Raises:
    ValueError: for a pattern that is no regular expression, or that is found
      in no path, with the paths that are like it.
  """
  try:
    found = [path for path in paths if re.search(pattern, path)]
  except re.error as error:
    raise ValueError(
      f"{field} has {pattern!r}, which is no regular expression: {error}."
    ) from error
  if not found:
    raise ValueError(
      f"{field} has {pattern!r}, which is found in the path of no parameter;"
      f" near it are {', '.join(_near(pattern, paths))}."
    )
  return found


def _near(pattern: str, paths: Sequence[str]) -> list[str]:
  """Names of parameters, or of what holds them, that are like a pattern."""
  names = {
    "/".join(path.split("/")[:length])
    for path in paths
    for length in range(1, path.count("/") + 2)
  }
  plain = re.sub(r"\\\w|[^\w/]", "", pattern).strip("/")
  near = difflib.get_close_matches(plain, sorted(names), n=4, cutoff=0.5)
  return near or sorted({path.split("/")[0] for path in paths})
