"""Devices that are not here, described well enough to compile for them."""

import importlib.util
import re
from typing import NamedTuple

import jax
from jax.experimental import topologies

from kosmos2_jax.chips import CHIPS, Chip

# libtpu's names, and how the two cores of a chip become one device.
_NAMES: dict[str, tuple[str, dict[str, str]]] = {
  "v4": ("v4", {"chip_config_name": "megacore"}),
  "v5e": ("v5e", {}),
  "v5p": ("v5", {"chip_config_name": "megacore"}),
  "v6e": ("v6e", {}),
  "v7x": ("tpu7x", {}),
}


class Topology(NamedTuple):
  """Some chips.

  Attributes:
    name: as given, for example "v5e:4x4".
    num_slices: of this shape.
    chip: what they can do.
    devices: for a mesh.
  """

  name: str
  num_slices: int
  chip: Chip
  devices: list[jax.Device]

  @property
  def num_chips(self) -> int:
    """Chips of all slices."""
    return len(self.devices) // self.chip.devices


def describe(name: str, num_slices: int = 1) -> Topology:
  """The chips of a TPU topology, such as "v5e:16x16" or "v5p:4x4x4".

  Raises:
    ModuleNotFoundError: without libtpu.
    ValueError: for a chip or a shape that there is not.
  """
  found = re.fullmatch(r"(\w+):(\d+(?:x\d+){1,2})", name)
  if not found or found[1] not in _NAMES:
    raise ValueError(
      f"expected a topology such as v5e:4x4 or v5p:4x4x4, of"
      f" {', '.join(_NAMES)}; found {name!r}"
    )
  if num_slices < 1:
    raise ValueError(f"num_slices is at least 1, found {num_slices}")
  if importlib.util.find_spec("libtpu") is None:
    raise ModuleNotFoundError(
      "compiling for TPUs needs libtpu, which is not installed:"
      " pip install 'kosmos2_jax[tpu]' (no TPU is needed)"
    )
  platform, options = _NAMES[found[1]]
  several = {"num_slices": num_slices} if num_slices > 1 else {}
  try:
    described = topologies.get_topology_desc(
      platform="tpu",
      topology_name=f"{platform}:{found[2]}",
      **options,
      **several,
    )
  except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
    reason = str(error).splitlines()[0]
    raise ValueError(
      f"there is no topology {name!r} in libtpu: {reason}"
    ) from error
  chip = CHIPS[found[1]]
  return Topology(name, num_slices, chip, list(described.devices))
