"""Where the rows of a batch lie: on one device, or shared out among several."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree


@dataclasses.dataclass(frozen=True)
class Placement:
  """Rows cut along their first axis; parameters stay where they are.

  Attributes:
    sharding: of the rows; None: all of them on the default device.
  """

  sharding: NamedSharding | None = None

  @property
  def num_parts(self) -> int:
    """Parts that rows are cut into; their number is a multiple of it."""
    if self.sharding is None:
      return 1
    axes = self.sharding.spec[0]
    axes = axes if isinstance(axes, tuple) else (axes,)
    return math.prod(self.sharding.mesh.shape[axis] for axis in axes)

  def put_rows(self, arrays: PyTree) -> PyTree:
    """Moves arrays [B, …] to the devices of their rows."""
    # An explicit transfer: a transfer guard around training is quiet.
    return jax.device_put(arrays, self.sharding)

  def put_whole(self, arrays: PyTree) -> PyTree:
    """Moves arrays to all devices that have rows."""
    if self.sharding is None:
      return jax.device_put(arrays)
    return jax.device_put(arrays, NamedSharding(self.sharding.mesh, P()))


DEFAULT = Placement()


def over(devices: Sequence[jax.Device]) -> Placement:
  """Rows shared out among devices; the default device where that is the only.

  Args:
    devices: of this process.
  """
  if len(devices) == 1 and devices[0] == jax.local_devices()[0]:
    return DEFAULT
  mesh = Mesh(np.array(devices), ("data",))
  return Placement(NamedSharding(mesh, P("data")))


def spread(params: dict[str, Any], placement: Placement) -> dict[str, Any]:
  """Moves parameters to all devices of a placement, one after the other.

  Changes the tree itself, so that no array is kept in two places for long.
  """
  for name, value in params.items():
    is_tree = isinstance(value, Mapping)
    params[name] = (
      spread(value, placement) if is_tree else placement.put_whole(value)
    )
  return params
