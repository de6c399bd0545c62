"""Sums and counts against hand-computed values."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from kosmos2_jax import losses


def test_cross_entropy_of_known_probabilities():
  # p = 1/4 for the first target, 1/2 for the second; the third is masked.
  logits = jnp.log(
    jnp.array([[[1.0, 1.0, 2.0], [2.0, 1.0, 1.0], [9.0, 1.0, 1.0]]])
  )
  targets = jnp.array([[0, 0, 2]])
  mask = jnp.array([[True, True, False]])
  loss, count = losses.cross_entropy(logits, targets, mask)
  # float32 logarithms and exponentials: a few units in the last place.
  np.testing.assert_allclose(loss, math.log(4) + math.log(2), rtol=1e-6)
  assert count == 2
  assert loss.dtype == count.dtype == jnp.float32


def test_padded_vocabulary_columns_change_nothing():
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(2, 3, 5)), jnp.float32)
  targets = jnp.asarray(rng.integers(0, 5, (2, 3)))
  mask = jnp.ones((2, 3), bool)
  padded = jnp.pad(logits, ((0, 0), (0, 0), (0, 3)), constant_values=-1e30)
  loss, _ = losses.cross_entropy(logits, targets, mask)
  padded_loss, _ = losses.cross_entropy(padded, targets, mask)
  assert loss == padded_loss


def test_masked_positions_have_no_gradient():
  logits = jnp.zeros((1, 2, 4))
  targets = jnp.array([[1, 2]])
  mask = jnp.array([[True, False]])
  grad = jax.grad(lambda x: losses.cross_entropy(x, targets, mask)[0])(logits)
  np.testing.assert_array_equal(grad[0, 1], 0)
  np.testing.assert_array_equal(grad[0, 0], [0.25, -0.75, 0.25, 0.25])


def test_no_target_gives_zero_and_zero():
  loss, count = losses.cross_entropy(
    jnp.zeros((1, 2, 4)), jnp.zeros((1, 2), int), jnp.zeros((1, 2), bool)
  )
  assert (loss, count) == (0, 0)


def test_half_precision_logits_are_summed_in_float32():
  # In bfloat16 a sum of 1000 such losses would be off by units.
  logits = jnp.zeros((1, 1000, 8), jnp.bfloat16)
  loss, _ = losses.cross_entropy(
    logits, jnp.zeros((1, 1000), int), jnp.ones((1, 1000), bool)
  )
  np.testing.assert_allclose(loss, 1000 * math.log(8), rtol=1e-6)


def test_accuracy_counts_masked_targets_only():
  logits = jnp.array([[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]])
  targets = jnp.array([[1, 1, 0]])
  mask = jnp.array([[True, True, False]])
  assert losses.accuracy(logits, targets, mask) == (1, 2)
