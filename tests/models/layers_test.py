"""Linear layers in the form for CPUs, and what an activation keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.models import layers


@pytest.mark.parametrize("rows", [1, 2, 5, layers.FEW_ROWS, 33])
@pytest.mark.parametrize("features", [6, 7])
def test_products_of_few_rows_are_products(rows, features):
  rng = np.random.default_rng(rows)
  x = rng.standard_normal((rows, 8), dtype=np.float32)
  kernel = rng.standard_normal((features, 8), dtype=np.float32)
  found = layers.few_rows_product(jnp.asarray(x), jnp.asarray(kernel))
  expected = x.astype(np.float64) @ kernel.astype(np.float64).T
  # Eight products of numbers of about 1 are added up in float32.
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_gelu_of_half_precision_keeps_its_input_alone():
  x = jnp.linspace(-6, 6, 4096).astype(jnp.bfloat16)
  kept = jax.tree.leaves(jax.vjp(layers.exact_gelu, x)[1])
  assert [(leaf.shape, leaf.dtype) for leaf in kept] == [(x.shape, x.dtype)]
  grad = jax.grad(lambda x: jnp.sum(layers.exact_gelu(x).astype(jnp.float32)))
  wide = x.astype(jnp.float32)
  # Computed in float32 either way and rounded to bfloat16 once: 8 bits.
  np.testing.assert_allclose(
    grad(x).astype(jnp.float32), grad(wide), rtol=2**-8, atol=1e-7
  )
