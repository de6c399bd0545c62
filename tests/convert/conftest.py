"""What the converters' tests share."""

import pytest

from kosmos2_jax.convert import huggingface, weights
from tests.convert.samples import random_params


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


@pytest.fixture
def folder(odd_sizes, tmp_path):
  """A Hugging Face folder without a tokenizer."""
  _, params = random_params(odd_sizes)
  huggingface.write_config(tmp_path, odd_sizes)
  weights.write(tmp_path, params, 333)
  return tmp_path
