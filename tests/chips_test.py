"""The table of chips, and jax's names for them."""

import pytest

from kosmos2_jax import chips


@pytest.mark.parametrize(
  ("kind", "name"),
  [
    ("TPU v4", "v4"),
    ("TPU v5 lite", "v5e"),
    ("TPU v5e", "v5e"),
    ("TPU v5", "v5p"),
    ("TPU v5p", "v5p"),
    ("TPU v6 lite", "v6e"),
    ("TPU v6e", "v6e"),
    ("TPU7x", "v7x"),
    ("NVIDIA H100 80GB HBM3", "H100"),
    ("NVIDIA H200", "H200"),
  ],
)
def test_names_of_jax(kind, name):
  assert chips.chip_of(kind) == chips.CHIPS[name]


@pytest.mark.parametrize(
  "kind",
  ["cpu", "", "TPU v4 lite", "TPU v3", "NVIDIA H100 PCIe", "NVIDIA H200 NVL"],
)
def test_other_devices(kind):
  assert chips.chip_of(kind) is None


@pytest.mark.parametrize(
  ("name", "tokens"),
  [("v4", 1020), ("v5e", 985), ("v5p", 765), ("v6e", 2295), ("v7x", 3845)],
)
def test_tokens_that_hide_gathered_weights(name, tokens):
  """Operations for each byte that arrives: the published order of chips."""
  chip = chips.CHIPS[name]
  assert chip.bf16_flops / chip.ici_bandwidth == pytest.approx(tokens, rel=0.01)


def test_one_chip_may_be_two_devices():
  devices = {name: chip.devices for name, chip in chips.CHIPS.items()}
  assert devices.pop("v7x") == 2
  assert set(devices.values()) == {1}
