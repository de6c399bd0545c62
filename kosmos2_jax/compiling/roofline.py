"""The least time that a step can take on a chip, and what that allows."""

from typing import NamedTuple

from kosmos2_jax.chips import Chip


class Roofline(NamedTuple):
  """Seconds of a step if one thing alone had to be done, at its peak rate.

  Attributes:
    compute: matrix products, with those that remat repeats.
    hbm: bytes between memory and chip.
    interconnect: bytes between the chips of a slice, over all of their links.
    dcn: bytes between slices.
  """

  compute: float
  hbm: float
  interconnect: float
  dcn: float

  @property
  def bound(self) -> float:
    """The least time of a step: all of it at once."""
    return max(self)

  @property
  def binds(self) -> str:
    """What takes the longest."""
    return max(self._fields, key=lambda name: getattr(self, name))


def roofline(
  chip: Chip,
  num_devices: int,
  *,
  flops: float,
  hbm_bytes: float | int,
  ici_bytes: float | int,
  dcn_bytes: float | int,
) -> Roofline:
  """The bounds of a step.

  Args:
    chip: what it runs on.
    num_devices: jax devices.
    flops: operations of the whole step, on all devices.
    hbm_bytes: a device's.
    ici_bytes: a device's.
    dcn_bytes: a device's.
  """
  share = 1 / chip.devices
  return Roofline(
    flops / num_devices / (chip.bf16_flops * share),
    hbm_bytes / (chip.hbm_bandwidth * share),
    ici_bytes / (chip.ici_bandwidth * share),
    dcn_bytes / (chip.dcn_bandwidth * share),
  )


def mfu(
  chip: Chip, num_devices: int, model_flops: float, seconds: float
) -> float:
  """Model FLOPs (`flops.train_flops`) of a step over what could be done."""
  peak = chip.bf16_flops / chip.devices * num_devices
  return model_flops / (seconds * peak)
