"""Linear layers in the form for CPUs."""

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
