"""Frozen parameters stay as they are and cost no backward pass."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.models import presets
from kosmos2_jax.optim import patterns, trainable
from kosmos2_jax.training import step as step_lib
from tests.training import tiny_run

# Compiles whole models.
pytestmark = pytest.mark.slow

DEPTH = 3
WIDTH, MLP, PATCHES, IMAGES = 16, 32, 5, 16


def _sizes():
  sizes = presets.preset("tiny")
  sizes["vision"]["depth"] = DEPTH
  return sizes


def _dots(jaxpr, times=1):
  """Multiply-adds of all matrix products, those in loops as often as run."""
  total = 0
  for equation in jaxpr.eqns:
    name, inside = equation.primitive.name, times
    if name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      sizes = [equation.invars[0].aval.shape[axis] for axis in contracted]
      out = equation.outvars[0].aval.shape
      total += times * int(np.prod(out, dtype=int) * np.prod(sizes, dtype=int))
    if name == "scan":
      inside = times * equation.params["length"]
    for branch in jax.extend.core.jaxprs_in_params(equation.params):
      total += _dots(branch, inside)
  return total


def _cost(vision_layers):
  """See `_dots`, of a whole step."""
  setup = tiny_run.build(
    sizes=_sizes(), vision_layers=vision_layers, initial={}
  )
  batch = tiny_run.make_batch(0)
  inputs = {key: jnp.asarray(batch[key]) for key in step_lib.STEP_KEYS}
  return _dots(jax.make_jaxpr(setup.train_step)(setup.abstract, inputs).jaxpr)


def test_no_backward_pass_goes_where_nothing_is_trained():
  """A layer's products cost twice as much again on the way back."""
  tokens = IMAGES * PATCHES
  layer = 4 * tokens * WIDTH**2 + 2 * tokens * WIDTH * MLP
  layer += 2 * tokens * PATCHES * WIDTH  # scores, and values by weights
  back = tokens * WIDTH**2  # through the resampler's projection
  nothing = _cost(0)
  assert _cost(1) - nothing == back + 2 * layer
  # The stem is a convolution, and needs no gradient of the pixels.
  assert _cost(-1) - nothing == back + 2 * DEPTH * layer


@pytest.fixture(scope="module")
def whole():
  """All parameters trained, and the state after two updates."""
  setup = tiny_run.build(sizes=_sizes(), clip_norm=0.0)
  return setup, _train(setup)


def _train(setup):
  state = setup.fresh()
  for _ in range(2):
    state, metrics = setup.train_step(state, setup.put(tiny_run.make_batch(0)))
  return jax.device_get(state), jax.device_get(metrics)


def test_frozen_is_bitwise_unchanged_and_the_rest_learns_as_ever(whole):
  """Two layers and the embedding frozen, on a mesh and in two parts."""
  full, (wanted, _) = whole
  options = {
    "frozen": ("^decoder/embedding$",),
    "vision_layers": 1,
    "weight_decay": 0.1,
    "decay_mask": "all",
    "ema_decay": 0.9,
    "clip_norm": 0.0,
  }
  setup = tiny_run.build(
    (2, 2, 2), sizes=_sizes(), num_microbatches=2, **options
  )
  found, metrics = _train(setup)
  before, after = (
    patterns.flatten(tree) for tree in (setup.initial.params, found.params)
  )
  # Both began alike.
  for path, leaf in patterns.flatten(full.initial.params).items():
    np.testing.assert_array_equal(before[path], leaf)
  rule = trainable.Trainable(("^decoder/embedding$",), 1)
  trained = patterns.flatten(rule.select(found.params))
  for path, leaf in before.items():
    if path.startswith("vision/layers/"):
      np.testing.assert_array_equal(after[path][:2], leaf[:2], err_msg=path)
      assert (after[path][2:] != leaf[2:]).any(), path
    elif path in trained:
      assert (after[path] != leaf).any(), path
    else:
      np.testing.assert_array_equal(after[path], leaf, err_msg=path)
  # The first update moved nothing, so both runs had the same two gradients.
  mine = found.opt_state[1].mu
  theirs = rule.select(wanted.opt_state[1].mu)
  jax.tree.map(
    # As in step_test: sums in another order, here before Adam divides.
    lambda one, other: np.testing.assert_allclose(one, other, atol=1e-7),
    mine,
    theirs,
  )
  # Means of the same gradient twice: 0.1 and 0.9 · 0.1 of it.
  squares = sum(float(np.sum(x**2)) for x in jax.tree.leaves(mine))
  np.testing.assert_allclose(metrics["grad_norm"], squares**0.5 / 0.19, 1e-5)


def test_averages():
  """Of the trained parameters alone, by hand, donated with the state."""
  setup = tiny_run.build(
    sizes=_sizes(), frozen=("^decoder/",), vision_layers=0, ema_decay=0.9
  )
  assert set(setup.initial.ema_params) == {"resampler"}
  start = setup.initial.params["resampler"]
  state = setup.fresh()
  states = []
  for _ in range(3):
    given = state
    state, _ = setup.train_step(given, setup.put(tiny_run.make_batch(0)))
    if states:  # arrays of the step's own; the first came from the host
      assert all(
        leaf.is_deleted() for leaf in jax.tree.leaves(given.ema_params)
      )
    # What the host looks at cannot be donated.
    states.append(jax.tree.map(jnp.copy, state))
  average = start
  for t, after in enumerate(states):
    keep = min(0.9, (1 + t) / (10 + t))
    average = jax.tree.map(
      lambda old, new, keep=keep: keep * old + (1 - keep) * new,
      average,
      after.params["resampler"],
    )
    jax.tree.map(
      lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6),
      after.ema_params["resampler"],
      average,
    )
  moved = states[-1]
  kernel = ("resampler", "project", "kernel")
  raw, mean = moved.params, moved.ema_params
  for name in kernel:
    raw, mean = raw[name], mean[name]
  assert np.abs(raw - mean).max() > 1e-3
