"""What the converters' tests share."""

import pytest


@pytest.fixture(scope="session")
def odd_sizes():
  """No two sizes that a transposition could confuse are equal."""
  return {
    "vocab_size": 333,
    "num_bins": 3,
    "vision": {
      "image_size": 21,
      "patch_size": 7,
      "width": 24,
      "depth": 1,
      "mlp_dim": 50,
      "num_heads": 3,
    },
    "resampler": {"num_latents": 5, "num_heads": 6, "dropout_rate": 0.1},
    "decoder": {
      "width": 48,
      "depth": 3,
      "mlp_dim": 40,
      "num_heads": 6,
      "dropout_rate": 0.1,
    },
  }
