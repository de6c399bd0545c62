"""Whole updates, against numbers computed by hand."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kosmos2_jax import optim


def _reference(grads, rates, params, b1, b2, eps, decay, clip):
  """REFERENCE section 4 in plain Python floats."""
  m = np.zeros_like(params)
  v = np.zeros_like(params)
  for t, (grad, rate) in enumerate(zip(grads, rates, strict=True), start=1):
    norm = math.sqrt(float(np.sum(grad**2)))
    grad = grad * min(1.0, clip / norm)
    m = b1 * m + (1 - b1) * grad
    v = b2 * v + (1 - b2) * grad**2
    size = rate * math.sqrt(1 - b2**t) / (1 - b1**t)
    params = params - decay * rate * params
    params = params - size * m / (np.sqrt(v) + eps)
  return params


def test_updates_as_published():
  start = np.array([1.0, -2.0, 0.5])
  grads = [
    np.array([3.0, -4.0, 1e-6]),  # norm 5: clipped to 2
    np.array([0.1, 0.2, -1e-6]),
    np.array([-0.3, 0.0, 2e-6]),
  ]
  tx = optim.make_optimizer(learning_rate=1e-2, num_steps=10, warmup_steps=2).tx
  params = {"kernel": jnp.asarray(start, jnp.float32)}
  state = tx.init(params)
  for i, grad in enumerate(grads):
    updates, state = tx.update(
      {"kernel": jnp.asarray(grad, jnp.float32)}, state, params
    )
    params = optax.apply_updates(params, updates)
    if i == 0:
      np.testing.assert_array_equal(params["kernel"], start)  # rate 0
  rates = [0.0, 5e-3, 1e-2]
  expected = _reference(grads, rates, start, 0.9, 0.98, 1e-6, 0.01, 2.0)
  # float32 against float64. The tiny third gradient makes eps count: optax's
  # own Adam differs from this by 1e-3 there.
  np.testing.assert_allclose(params["kernel"], expected, rtol=0, atol=3e-7)


def test_wrong_names_are_told():
  with pytest.raises(ValueError, match=r"algorithm is one of .*'lion'"):
    optim.make_transformation(lambda _: 1.0, algorithm="lion")
  with pytest.raises(ValueError, match=r"decay_mask is one of .*'biases'"):
    optim.make_transformation(lambda _: 1.0, decay_mask="biases")


def test_one_call_for_a_whole_section():
  tx, schedule, *_ = optim.make_optimizer(
    num_steps=4, learning_rate=0.1, warmup_steps=2, eps=1e-3
  )
  assert schedule(2) == np.float32(0.1)
  grad = {"kernel": jnp.ones(2)}
  state = tx.init(grad)
  _, state = tx.update(grad, state, grad)
  update, _ = tx.update(grad, state, grad)
  # Adam gives 1 / (1 + eps / sqrt(1 - b2²)) here, decay 0.01, rate 0.05.
  eps = 1e-3 / math.sqrt(1 - 0.98**2)
  np.testing.assert_allclose(
    update["kernel"], -0.05 * (1 / (1 + eps) + 0.01), rtol=1e-5
  )
