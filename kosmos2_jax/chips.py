"""What accelerators can do at most, by the names that jax gives them.

Peak rates are the makers' figures for dense bfloat16 products. TPUs: the system
architecture pages of docs.cloud.google.com/tpu (v4, v5e, v5p, v6e, tpu7x); the
interconnect there counts both directions, and here one. GPUs: NVIDIA's data
sheets of the SXM modules, without sparsity, with a 400 Gb/s network card for
each. The memory of a TPU is what XLA's compiler grants a program, somewhat less
than what is sold; that of a GPU is what its driver shows.
"""

from typing import NamedTuple

GIB = 2**30


class Chip(NamedTuple):
  """One chip; all bytes and rates are those of the whole chip.

  Attributes:
    name: as people call it: "v5e", "H100".
    bf16_flops: peak floating-point operations a second.
    hbm_bytes: memory that a program can use.
    hbm_bandwidth: bytes a second between memory and chip.
    ici_bandwidth: bytes a second that can arrive over all links to the other
      chips of a slice or machine together.
    dcn_bandwidth: bytes a second that can arrive from other slices or machines.
    devices: jax devices that it appears as.
  """

  name: str
  bf16_flops: float
  hbm_bytes: int
  hbm_bandwidth: float
  ici_bandwidth: float
  dcn_bandwidth: float
  devices: int = 1


def _chip(name, tflops, hbm_gib, hbm, ici, dcn, devices=1) -> Chip:
  """A Chip of TFLOP/s, GiB and three times GB/s."""
  rates = (hbm * 1e9, ici * 1e9, dcn * 1e9)
  return Chip(name, tflops * 1e12, int(hbm_gib * GIB), *rates, devices)


CHIPS: dict[str, Chip] = {
  chip.name: chip
  for chip in (
    _chip("v4", 275, 30.75, 1_228, 270, 6.25),
    _chip("v5e", 197, 15.75, 819, 200, 3.125),
    _chip("v5p", 459, 95.73, 2_765, 600, 6.25),
    _chip("v6e", 918, 31.24, 1_638, 400, 12.5),
    _chip("v7x", 2_307, 189.48, 7_380, 600, 12.5, devices=2),
    _chip("H100", 989, 79.6, 3_350, 450, 50),
    _chip("H200", 989, 140.4, 4_800, 450, 50),
  )
}

# Beginnings of jax's `device_kind`; the first that fits counts.
_KINDS = (
  ("TPU v4", "v4"),
  ("TPU v5 lite", "v5e"),
  ("TPU v5e", "v5e"),
  ("TPU v5", "v5p"),
  ("TPU v6", "v6e"),
  ("TPU7x", "v7x"),
  ("TPU v7", "v7x"),
  ("NVIDIA H100", "H100"),
  ("NVIDIA H200", "H200"),
)
# The same beginnings, and other chips.
_OTHERS = ("v4 lite", "PCIe", "NVL")


def chip_of(device_kind: str) -> Chip | None:
  """The chip behind a jax device's `device_kind`; None if it is not known.

  Cards that share a name with another and are slower are not known.
  """
  if any(word in device_kind for word in _OTHERS):
    return None
  names = (name for start, name in _KINDS if device_kind.startswith(start))
  name = next(names, None)
  return None if name is None else CHIPS[name]
