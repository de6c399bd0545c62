"""Gradients of the parts of a batch are added up, in float32."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.models import presets
from kosmos2_jax.training import objective
from kosmos2_jax.training import step as step_lib
from tests.training import tiny_run

# Compiles whole models.
pytestmark = pytest.mark.slow

PARTS = 4


def _sizes():
  sizes = presets.preset("tiny")
  sizes["decoder"]["dropout_rate"] = 0.5
  return sizes


def test_each_part_has_dropout_of_its_own():
  """Kinds, pictures and a frozen encoder too: the sum of four gradients."""
  setup = tiny_run.build(
    sizes=_sizes(), num_microbatches=PARTS, clip_norm=0.0, vision_layers=0
  )
  batch = tiny_run.make_batch(0)
  state, metrics = setup.train_step(setup.fresh(), setup.put(batch))
  loss_fn = objective.make_loss_fn(setup.model, ("first", "second"))
  gradient = jax.jit(jax.grad(loss_fn, has_aux=True))
  key = jax.random.fold_in(jax.random.key(0), 0)
  total, losses = None, []
  for part in range(PARTS):
    rows = {
      name: jnp.asarray(batch[name][part::PARTS]) for name in step_lib.STEP_KEYS
    }
    grads, counted = gradient(
      setup.initial.params, rows, jax.random.fold_in(key, part)
    )
    total = grads if total is None else jax.tree.map(jnp.add, total, grads)
    losses.append(counted.loss)
  tokens = batch["loss_mask"].sum()
  np.testing.assert_allclose(metrics["loss"], sum(losses) / tokens, rtol=1e-6)
  del total["vision"]
  jax.tree.map(
    lambda mean, grad: np.testing.assert_allclose(
      # Adam's mean of gradients after one of them.
      mean,
      0.1 * grad / tokens,
      rtol=0,
      atol=1e-8,
    ),
    state.opt_state[1].mu,
    total,
  )


def _scans(jaxpr):
  for equation in jaxpr.eqns:
    if equation.primitive.name == "scan":
      yield equation
    for inside in jax.extend.core.jaxprs_in_params(equation.params):
      yield from _scans(inside)


def test_sums_are_float32_where_the_model_computes_in_bfloat16():
  setup = tiny_run.build(dtype="bfloat16", num_microbatches=PARTS, initial={})
  batch = tiny_run.make_batch(0)
  inputs = {name: jnp.asarray(batch[name]) for name in step_lib.STEP_KEYS}
  jaxpr = jax.make_jaxpr(setup.train_step)(setup.abstract, inputs).jaxpr
  assert "bf16" in str(jaxpr)
  (loop,) = [e for e in _scans(jaxpr) if e.params["length"] == PARTS]
  first = loop.params["num_consts"]
  sums = loop.invars[first : first + loop.params["num_carry"]]
  # One for each parameter, and what is counted.
  assert len(sums) > len(jax.tree.leaves(setup.abstract.params))
  assert {v.aval.dtype for v in sums} <= {
    jnp.dtype("float32"),
    jnp.dtype("int32"),
  }
