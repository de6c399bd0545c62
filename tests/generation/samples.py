"""A model that compiles fast, for tests of what runs around it."""

import jax
import numpy as np

from kosmos2_jax.models import presets
from kosmos2_jax.training import state as state_lib


def small_sizes(tokenizer):
  """The preset "tiny" with one layer of each kind."""
  sizes = presets.preset("tiny") | {"vocab_size": tokenizer.vocab.size}
  for part in ("vision", "decoder"):
    sizes[part]["depth"] = 1
  return sizes


def small_model(sizes):
  """A model of these sizes with separate layers, and random parameters."""
  model = presets.build(sizes, stacked=False)
  abstract = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: 0.3 * rng.normal(size=leaf.shape).astype(np.float32), abstract
  )
  return model, jax.device_put(params)
