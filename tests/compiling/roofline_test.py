"""Bounds of a step, by hand."""

import pytest

from kosmos2_jax.chips import CHIPS
from kosmos2_jax.compiling import roofline

WORK = {"flops": 0.0, "hbm_bytes": 0.0, "ici_bytes": 0.0, "dcn_bytes": 0.0}


@pytest.mark.parametrize(
  ("name", "amount", "binds"),
  [
    ("flops", 16 * 197e12, "compute"),
    ("hbm_bytes", 819e9, "hbm"),
    ("ici_bytes", 200e9, "interconnect"),
    ("dcn_bytes", 3.125e9, "dcn"),
  ],
)
def test_what_takes_the_longest_binds(name, amount, binds):
  """The work of one second of a v5e, beside half a second of the rest."""
  halves = {
    "flops": 8 * 197e12,
    "hbm_bytes": 819e9 / 2,
    "ici_bytes": 100e9,
    "dcn_bytes": 3.125e9 / 2,
  }
  work = halves | {name: amount}
  bounds = roofline.roofline(CHIPS["v5e"], 16, **work)
  assert bounds.bound == pytest.approx(1)
  assert bounds.binds == binds
  assert sorted(bounds)[:3] == pytest.approx([0.5] * 3)


def test_a_device_may_be_half_a_chip():
  chip = CHIPS["v7x"]
  work = WORK | {"flops": 8 * 2307e12, "hbm_bytes": 7380e9 / 4}
  bounds = roofline.roofline(chip, 16, **work)
  assert bounds.compute == pytest.approx(1)
  assert bounds.hbm == pytest.approx(0.5)
  assert roofline.mfu(chip, 16, 4 * 2307e12, 1.0) == pytest.approx(0.5)


def test_mfu_counts_model_flops():
  assert roofline.mfu(CHIPS["v5e"], 16, 4 * 197e12, 0.5) == pytest.approx(0.5)
