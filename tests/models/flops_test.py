"""FLOPs of a step against arithmetic by hand."""

import pytest

from kosmos2_jax.models import flops, presets

RELEASED = presets.preset("kosmos2")
TEXT = {k: RELEASED[k] for k in ("vocab_size", "num_bins", "decoder")}


def test_a_text_token_costs_what_is_published():
  one = flops.train_flops(TEXT, num_rows=1, seq_len=2048, num_images=0) / 2048
  layers = 24 * (4 * 2048**2 + 2 * 2048 * 8192)
  head = 65_037 * 2048
  causal = 24 * 6 * 2048 * 2048  # half of 12 T D
  assert one == 6 * (layers + head) + causal
  assert one == pytest.approx(8.65e9, rel=5e-4)


def images(count=1, **options):
  """The cost of pictures alone."""
  row = {"num_rows": 3, "seq_len": 128}
  return flops.train_flops(
    RELEASED, num_images=count, **row, **options
  ) - flops.train_flops(RELEASED, num_images=0, **row, **options)


def test_a_trained_picture_costs_what_is_published():
  layers = 257 * 24 * (4 * 1024**2 + 2 * 1024 * 4096)
  attention = 24 * 12 * 257**2 * 1024
  stem = 256 * 14 * 14 * 3 * 1024
  assert 6 * layers + attention == pytest.approx(0.485e12, rel=1e-3)
  project = 257 * 1024 * 2048
  # 64 queries and outputs; keys and values of 257 patches and 64 latents.
  products = (64 + 64 + 321 + 321) * 2048**2
  reading = 12 * 64 * 321 * 2048
  resampler = 6 * (project + products) + reading
  assert resampler == pytest.approx(0.023e12, rel=0.02)
  assert images() == 6 * (layers + stem) + attention + resampler
  assert images(7) == 7 * images()


def test_a_frozen_encoder_costs_a_third():
  resampler = images(trained=("resampler", "decoder")) - images(trained=())
  vision_and_reading = images(trained=())
  # Without anything trained all parts go forward only.
  assert images() == 3 * vision_and_reading
  # The resampler's products go back to its weights, and on to the encoder's
  # features no further than its own keys and values: 6 for each weight.
  layers = 257 * 24 * (4 * 1024**2 + 2 * 1024 * 4096) + 256 * 588 * 1024
  vision = 2 * layers + 24 * 4 * 257**2 * 1024
  assert resampler == pytest.approx(2 * (vision_and_reading - vision))


def test_gradients_pass_through_what_is_frozen():
  row = {"num_rows": 1, "seq_len": 2048, "num_images": 0}
  whole = flops.train_flops(TEXT, **row)
  frozen = flops.train_flops(TEXT, trained=(), **row)
  assert frozen == whole / 3
  through = flops.train_flops(RELEASED, trained=("vision",), **row)
  causal = 2048 * 24 * 6 * 2048 * 2048
  assert through - causal == pytest.approx((whole - causal) * 2 / 3)


def test_what_cannot_be():
  row = {"num_rows": 1, "seq_len": 8}
  with pytest.raises(ValueError, match=r"found \['encoder'\]"):
    flops.train_flops(TEXT, num_images=0, trained=["encoder"], **row)
  with pytest.raises(ValueError, match="encodes no pictures; found 3"):
    flops.train_flops(TEXT, num_images=3, **row)
