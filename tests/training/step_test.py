"""One update is the same update on any mesh and in any number of parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.models import presets
from kosmos2_jax.training import objective
from tests.training import tiny_run

# Compiles whole models, many times.
pytestmark = pytest.mark.slow

# Two updates of parameters of size ~0.1, in float32. Devices and microbatches
# add up in another order, which moves gradients by some 1e-7 of their norm;
# Adam divides by the gradient's own size, so what was rounding of a gradient
# near zero becomes a part of the step of 1e-2. Measured: 3e-6.
ATOL = 2e-5


def _train(setup, batches):
  state = setup.fresh()
  for batch in batches:
    inputs = setup.put(batch)
    with jax.transfer_guard("disallow"):
      state, metrics = setup.train_step(state, inputs)
  return state, jax.device_get(metrics)


@pytest.fixture(scope="module")
def reference(single):
  state, metrics = _train(single, [tiny_run.make_batch(0)] * 2)
  return jax.device_get(state), metrics


@pytest.mark.parametrize(
  ("mesh_shape", "num_microbatches"),
  [((8, 1, 1), 1), ((2, 4, 1), 1), ((2, 2, 2), 1), ((1, 1, 1), 4)],
)
def test_equals_the_single_device_step(
  single, reference, mesh_shape, num_microbatches
):
  setup = tiny_run.build(
    mesh_shape, num_microbatches=num_microbatches, initial=single.initial
  )
  state, metrics = _train(setup, [tiny_run.make_batch(0)] * 2)
  wanted, wanted_metrics = reference
  jax.tree.map(
    lambda found, want: np.testing.assert_allclose(
      found, want, rtol=0, atol=ATOL
    ),
    jax.device_get(state),
    wanted,
  )
  assert int(state.step) == 2
  for key in wanted_metrics:
    np.testing.assert_allclose(
      metrics[key], wanted_metrics[key], rtol=1e-5, err_msg=key
    )
  # The state stays where it was put.
  jax.tree.map(
    lambda found, want: (
      found.sharding.is_equivalent_to(want.sharding, found.ndim)
      or pytest.fail(f"{found.sharding} is not {want.sharding}")
    ),
    state,
    setup.abstract,
  )


def test_muon_on_eight_devices_equals_muon_on_one():
  """Its orthogonal matrices are made of shards that lie on many devices."""
  batches = [tiny_run.make_batch(0)] * 2
  single = tiny_run.build(algorithm="muon")
  wanted, wanted_metrics = _train(single, batches)
  spread = tiny_run.build((2, 2, 2), algorithm="muon", initial=single.initial)
  found, metrics = _train(spread, batches)
  jax.tree.map(
    lambda one, other: np.testing.assert_allclose(
      one, other, rtol=0, atol=ATOL
    ),
    jax.device_get(found.params),
    jax.device_get(wanted.params),
  )
  np.testing.assert_allclose(metrics["loss"], wanted_metrics["loss"], rtol=1e-5)


def test_the_microbatches_differ_in_their_number_of_targets():
  """Else a mean of means would pass for the mean."""
  counts = tiny_run.make_batch(0)["loss_mask"].sum(axis=1)
  assert len({int(counts[i::4].sum()) for i in range(4)}) > 1


def test_metrics(single, reference):
  _, metrics = reference
  batch = tiny_run.make_batch(0)
  assert metrics["num_targets"] == batch["loss_mask"].sum()
  assert metrics["num_tokens"] == (batch["segment_ids"] > 0).sum()
  assert metrics["num_tokens"] > metrics["num_targets"]
  assert metrics["learning_rate"] == np.float32(1e-2)  # of the second update
  assert 0 <= metrics["accuracy"] <= 1
  assert all(value.dtype == np.float32 for value in metrics.values())
  params = single.fresh().params
  inputs = {key: jnp.asarray(batch[key]) for key in objective.MODEL_INPUTS}
  logits = single.model.apply({"params": params}, **inputs)
  log_probs = jax.nn.log_softmax(np.asarray(logits, np.float64))
  picked = np.take_along_axis(
    np.asarray(log_probs), batch["targets"][..., None], -1
  )
  # Both updates see this loss: the first one had learning rate 0.
  np.testing.assert_allclose(
    metrics["loss"], -picked[..., 0][batch["loss_mask"]].mean(), rtol=1e-5
  )


def test_loss_of_each_kind(single, reference):
  _, metrics = reference
  batch = tiny_run.make_batch(0)
  inputs = {key: jnp.asarray(batch[key]) for key in objective.MODEL_INPUTS}
  logits = single.model.apply({"params": single.fresh().params}, **inputs)
  log_probs = jax.nn.log_softmax(np.asarray(logits, np.float64))
  picked = np.take_along_axis(
    np.asarray(log_probs), batch["targets"][..., None], -1
  )
  total = 0.0
  for number, name in enumerate(("first", "second"), 1):
    chosen = batch["loss_mask"] & (batch["kinds"] == number)
    assert metrics[f"targets/{name}"] == chosen.sum() > 0
    np.testing.assert_allclose(
      metrics[f"loss/{name}"], -picked[..., 0][chosen].mean(), rtol=1e-5
    )
    total += metrics[f"loss/{name}"] * metrics[f"targets/{name}"]
  # A token weighs the same whatever its kind.
  np.testing.assert_allclose(
    metrics["loss"], total / metrics["num_targets"], rtol=1e-6
  )
  assert metrics["num_examples"] == 16


def test_the_first_update_moves_nothing(single):
  before = jax.device_get(single.fresh().params)
  state, _ = _train(single, [tiny_run.make_batch(0)])
  jax.tree.map(np.testing.assert_array_equal, before, state.params)


def test_the_loss_goes_down(single):
  state = single.fresh()
  inputs = single.put(tiny_run.make_batch(0))
  seen = []
  for _ in range(5):
    state, metrics = single.train_step(state, inputs)
    seen.append(float(metrics["loss"]))
  assert seen[-1] < seen[0] - 0.5


def test_state_is_donated(single):
  state = single.fresh()
  single.train_step(state, single.put(tiny_run.make_batch(0)))
  assert state.params["decoder"]["embedding"].is_deleted()


def test_dropout_is_a_function_of_seed_and_step():
  sizes = presets.preset("tiny")
  sizes["decoder"]["dropout_rate"] = 0.5
  setup = tiny_run.build(sizes=sizes)
  inputs = setup.put(tiny_run.make_batch(0))

  def loss(at):
    state = setup.fresh()
    state = state.replace(step=state.step + at)
    return float(setup.train_step(state, inputs)[1]["loss"])

  assert loss(0) == loss(0)
  assert loss(0) != loss(1)
