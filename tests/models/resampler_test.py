"""Starting points for training from scratch; the formula has its own test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.models import initializers
from kosmos2_jax.models.resampler import PerceiverResampler


@pytest.mark.slow
def test_grid_latents_start_as_readers_of_their_own_cell():
  width, side = 64, 8
  resampler = PerceiverResampler(
    16, width, num_heads=4, feature_gain=16.0, latent_init="grid"
  )
  codes = initializers.sincos_2d(width, side, side)
  codes = codes / jnp.linalg.norm(codes, axis=-1, keepdims=True)
  zeros = jnp.zeros((1, side**2, width))
  params = resampler.init(jax.random.key(0), zeros)
  # What each latent reads when only one patch carries something.
  influence = jax.jacobian(
    lambda strength: resampler.apply(params, (codes * strength[:, None])[None])
  )(jnp.ones(side**2))
  most = np.abs(influence[0]).sum(1).argmax(-1)
  rows, columns = most // side, most % side
  expected = np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4)
  near_row = np.abs(rows - (2 * expected[0] + 0.5)) <= 1.5
  near_column = np.abs(columns - (2 * expected[1] + 0.5)) <= 1.5
  assert (near_row & near_column).mean() > 0.9


def test_grid_needs_a_square_and_equal_widths():
  features = jnp.zeros((1, 5, 16))
  with pytest.raises(ValueError, match="square num_latents"):
    PerceiverResampler(15, 16, 2, latent_init="grid").init(
      jax.random.key(0), features
    )
  with pytest.raises(ValueError, match="features of 16 and width 32"):
    PerceiverResampler(16, 32, 2, latent_init="grid").init(
      jax.random.key(0), features
    )


def test_location_tokens_and_patches_share_one_code():
  fine = initializers.sincos_2d(64, 16, 16)
  coarse = initializers.sincos_2d(64, 8, 8)
  similarity = np.asarray(fine @ coarse.T).reshape(16, 16, 64)
  # Every fine cell is most like the coarse cell that contains it.
  nearest = similarity.argmax(-1)
  expected = (np.arange(16) // 2)[:, None] * 8 + np.arange(16) // 2
  np.testing.assert_array_equal(nearest, expected)
