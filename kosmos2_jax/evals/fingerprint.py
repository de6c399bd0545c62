"""Telling parameters apart: a hash of every number of them."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from kosmos2_jax.models import stacking


def params_hash(params: Mapping[str, Any]) -> str:
  """A hash of a model's parameters, 32 hexadecimal digits.

  The same for stacked and for separate layers, and wherever the parameters
  lie, so that it names the checkpoint and not the machine.

  Args:
    params: of a `Kosmos2`, of either form. Arrays are fetched from devices one
      by one; all of each must be on devices of this process.
  """
  parts = sorted(
    hashlib.blake2b(
      f"{path} {array.dtype.str} {array.shape} ".encode()
      + hashlib.blake2b(np.ascontiguousarray(array)).digest()
    ).digest()
    for path, array in _layers(params)
  )
  return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def _layers(params: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
  """Arrays of each layer, by their path in a stacked model and their layer."""
  leaves = [
    (jax.tree_util.keystr(keys, simple=True, separator="/"), leaf)
    for keys, leaf in jax.tree_util.tree_leaves_with_path(params)
  ]
  separate = any(
    stacking.stacked_path(path)[1] is not None for path, _ in leaves
  )
  for path, leaf in leaves:
    array = jax.device_get(leaf)
    if "/layers/" in path:
      yield from ((f"{path} {i}", one) for i, one in enumerate(array))
      continue
    path, layer = stacking.stacked_path(path)
    # Separate layers have their kernels the other way round.
    if separate and path.endswith("kernel") and stacking.is_transposed(path):
      array = np.moveaxis(array, -1, 0)
    yield path if layer is None else f"{path} {layer}", array
