"""Parameters in the compute type: cast once a step, before anything is moved.

Master weights are float32 and cut along `fsdp`; layers compute in `dtype`.
Cast first, a device gathers half the bytes, whatever the compiler makes of
casts inside of a loop. Gradients come back in the type of what
was cast and are added up over microbatches in float32.
"""

import re

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from kosmos2_jax import sharding

# Norms compute in float32. The embedding is cast by those who read it: its
# gradient adds up thousands of equal tokens, which takes float32.
AS_THEY_ARE = re.compile(r"(_norm/(scale|bias)|decoder/embedding)$")


def to_compute(params: PyTree, dtype: jnp.dtype) -> PyTree:
  """The parameters in the compute type, but for `AS_THEY_ARE`."""

  def cast(path, leaf):
    if AS_THEY_ARE.search(sharding.param_path(path)):
      return leaf
    return leaf.astype(dtype)

  return jax.tree_util.tree_map_with_path(cast, params)


def to_float32(grads: PyTree) -> PyTree:
  """Gradients as they are added up and given to the optimizer."""
  return jax.tree.map(lambda grad: grad.astype(jnp.float32), grads)
