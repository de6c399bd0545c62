"""Random weights, for tests of converters."""

import jax
import numpy as np

from kosmos2_jax.models import presets
from kosmos2_jax.training import state as state_lib


def random_params(sizes, seed=0):
  """Parameters of these sizes with random entries in every array."""
  model = presets.build(sizes)
  abstract = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  rng = np.random.default_rng(seed)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), abstract
  )
  params["decoder"]["embedding"][sizes["vocab_size"] :] = 0
  return abstract, params
