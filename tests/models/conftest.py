"""One tiny model with weights and inputs, shared by the tests of a module."""

import jax
import jax.numpy as jnp
import pytest

from kosmos2_jax.models import presets


@pytest.fixture(scope="module")
def tiny():
  """(model, variables, tokens [2, 12], images [2, 2, …], image_mask)."""
  sizes = presets.preset("tiny")
  sizes["decoder"]["dropout_rate"] = 0.1
  model = presets.build(sizes)
  latents = sizes["resampler"]["num_latents"]
  keys = jax.random.split(jax.random.key(0), 3)
  tokens = jax.random.randint(keys[0], (2, 12), 4, sizes["vocab_size"])
  side = sizes["vision"]["image_size"]
  images = jax.random.normal(keys[1], (2, 2, side, side, 3))
  image_mask = jnp.zeros((2, 12), bool)
  image_mask = image_mask.at[:, 2 : 2 + latents].set(True)
  image_mask = image_mask.at[1, 7 : 7 + latents].set(True)
  variables = jax.jit(model.init)(keys[2], tokens, images, image_mask)
  return model, variables, tokens, images, image_mask
