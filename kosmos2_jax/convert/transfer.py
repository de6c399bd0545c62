"""Parameters from and to other systems' arrays, as `mapping.TABLE` says."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kosmos2_jax.convert.mapping import DROPPED, TABLE, TIED
from kosmos2_jax.models import stacking


@runtime_checkable
class Source(Protocol):
  """Arrays by name, read one at a time."""

  def names(self) -> Iterable[str]:
    """All names there are."""
    ...

  def read(self, name: str) -> np.ndarray:
    """The array of a name."""
    ...


def load(
  source: Source,
  abstract_params: Mapping[str, Any],
  vocab_size: int,
  system: str,
) -> tuple[dict[str, Any], list[str]]:
  """Reads the parameters of a model from another system's file.

  Reads one array at a time: memory is the parameters and the largest array.

  Args:
    source: the file.
    abstract_params: the nested parameters of the model, or anything of that
      structure whose leaves have `shape`; with stacked or separate layers.
    vocab_size: rows of the embedding that are no padding.
    system: the column of `TABLE`: "huggingface" or "fairseq"; for vision
      alone also "openai", "clip" or "clip_vision".

  Returns:
    The parameters as float32 arrays, and one line for every array of the
    source that was left out on purpose.

  Raises:
    ValueError: listing every array that is missing, that the model has no
      place for, or whose shape is another one; or a tied array that differs
      from the one it is tied to.
  """
  wanted = _flat(abstract_params)
  entries = {entry.path: entry for entry in TABLE}
  here = set(source.names())
  used, missing, problems = set(), [], []
  params = {}
  separate = any("/layers_0/" in path for path in wanted)
  for name, leaf in wanted.items():
    path, number = stacking.stacked_path(name)
    if path not in entries:
      raise ValueError(
        f"parameter {path} has no counterpart in {system} checkpoints; they"
        " hold models of the released architecture only"
      )
    entry = entries[path]
    stacked = "/layers/" in path and number is None
    template = getattr(entry, system).replace(
      "{}", "{}" if number is None else str(number)
    )
    layout = entry.layout
    if separate and stacking.is_transposed(path):
      # Kernels lie as they do in files.
      layout = {"linear": "same", "heads": "head_rows"}.get(layout, layout)
    shape = leaf.shape[1:] if stacked else leaf.shape
    expected = _expected(shape, layout, vocab_size)
    if stacked:
      params[name] = np.zeros(leaf.shape, np.float32)
    for i, theirs in enumerate(_names(template, leaf.shape[0], stacked)):
      used.add(theirs)
      if theirs not in here:
        missing.append(theirs)
        continue
      found = source.read(theirs)
      if found.shape != expected:
        problems.append(
          f"{theirs} has shape {found.shape}, expected {expected}"
        )
        continue
      array = _to_ours(found, shape, layout)
      if stacked:
        params[name][i] = array
      else:
        # Not copied where it is as it should be.
        params[name] = np.ascontiguousarray(array, np.float32)
  left = sorted(here - used)
  dropped = [f"{name}: {DROPPED[name]}" for name in left if name in DROPPED]
  tied = [name for name in left if TIED.get(name) in here]
  extra = sorted(set(left) - set(DROPPED) - set(tied))
  if missing:
    problems.insert(0, f"{len(missing)} missing: {_some(missing)}")
  if extra:
    problems.insert(0, f"{len(extra)} without a place here: {_some(extra)}")
  if problems:
    raise ValueError(
      f"the checkpoint does not hold this model ({_some(problems, '; ')});"
      " compare its sizes with those of the model"
    )
  for name in tied:
    if not np.array_equal(source.read(name), source.read(TIED[name])):
      raise ValueError(
        f"{name} differs from {TIED[name]}, but this model has one matrix for"
        " both; the checkpoint is of another architecture"
      )
    dropped.append(f"{name}: the same as {TIED[name]}")
  return _nested(params), dropped


def export(
  params: dict[str, Any], vocab_size: int, system: str
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields another system's arrays, contiguous, and consumes the parameters.

  Args:
    params: nested; each leaf is taken out once its arrays have been made, so
      that memory holds them once and not twice.
    vocab_size: rows of the embedding that are no padding.
    system: "huggingface" or "fairseq".

  Raises:
    ValueError: for a parameter that the other system does not have.
  """
  flat = _flat(params)
  entries = {entry.path: entry for entry in TABLE}
  unknown = sorted(set(flat) - set(entries))
  if unknown:
    raise ValueError(
      f"{system} checkpoints have no place for {_some(unknown)}; they hold"
      " models of the released architecture only"
    )
  for path in list(flat):
    branch = params
    *parents, last = path.split("/")
    for name in parents:
      branch = branch[name]
    del branch[last]
    leaf = np.asarray(flat.pop(path))
    entry = entries[path]
    stacked = "/layers/" in path
    names = _names(getattr(entry, system), len(leaf), stacked)
    for i, name in enumerate(names):
      array = leaf[i] if stacked else leaf
      array = _to_theirs(array, entry.layout, vocab_size)
      # A copy in any case, and in the order in which files keep numbers.
      yield name, np.array(array, order="C")


def _names(template: str, depth: int, stacked: bool) -> list[str]:
  if not stacked:
    return [template]
  return [template.format(i) for i in range(depth)]


def _expected(
  shape: tuple[int, ...], layout: str, vocab_size: int
) -> tuple[int, ...]:
  """The shape that an array of ours has in a file."""
  return {
    "rows": (vocab_size, *shape[1:]),
    "same": shape,
    "linear": shape[::-1],
    "heads": (math.prod(shape[1:]), shape[0]),
    "head_rows": (math.prod(shape[:-1]), shape[-1]),
    "head_bias": (math.prod(shape),),
    "conv": (shape[-1:] + shape[-2:-1] + shape[:-2]),
  }[layout]


def _to_ours(
  found: np.ndarray, shape: tuple[int, ...], layout: str
) -> np.ndarray:
  match layout:
    case "rows":
      padding = shape[0] - len(found)
      return np.pad(found, ((0, padding), (0, 0)))
    case "conv":
      return found.transpose(2, 3, 1, 0)
    case "linear" | "heads":
      return found.T.reshape(shape)
  return found.reshape(shape)


def _to_theirs(array: np.ndarray, layout: str, vocab_size: int) -> np.ndarray:
  match layout:
    case "rows":
      return array[:vocab_size]
    case "linear":
      return array.T
    case "heads":
      return array.reshape(len(array), -1).T
    case "head_bias":
      return array.reshape(-1)
    case "conv":
      return array.transpose(3, 2, 0, 1)
  return array


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  result = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      result |= _flat(value, f"{prefix}{key}/")
    else:
      result[prefix + key] = value
  return result


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
  result = {}
  for path, value in flat.items():
    branch = result
    *parents, last = path.split("/")
    for name in parents:
      branch = branch.setdefault(name, {})
    branch[last] = value
  return result


def _some(names: list[str], separator: str = ", ", most: int = 20) -> str:
  shown = separator.join(names[:most])
  more = len(names) - most
  return f"{shown} and {more} more" if more > 0 else shown
