"""Training adapters: the base stays as it is, and is what is started from."""

import jax
import numpy as np
import pytest

from kosmos2_jax.optim import patterns
from tests.training import tiny_run

SECTION = {
  "rank": 2,
  "alpha": 4.0,
  "targets": ("/kernel$",),
  "whole": ("^decoder/embedding$",),
}


@pytest.fixture(scope="module")
def setup():
  return tiny_run.build(lora=SECTION, ema_decay=0.5)


def _train(setup, steps=2):
  state, found = setup.fresh(), []
  for step in range(steps):
    batch = setup.put(tiny_run.make_batch(step))
    state, metrics = setup.train_step(state, batch)
    found.append(jax.device_get(metrics))
  return jax.device_get(state), found


@pytest.fixture(scope="module")
def trained(setup):
  return _train(setup, 3)


def test_the_first_step_sees_the_base_alone(setup, trained):
  state = setup.initial.params
  base = {name: part for name, part in state.items() if name != "lora"}
  fresh = tiny_run.build()
  jax.tree.map(np.testing.assert_array_equal, fresh.initial.params, dict(base))
  _, [metrics] = _train(fresh, 1)
  assert metrics["loss"] == trained[1][0]["loss"]


def test_adapters_learn_and_the_base_stays(setup, trained):
  before = patterns.flatten(setup.initial.params)
  state, metrics = trained
  after = patterns.flatten(state.params)
  for path, leaf in after.items():
    same = np.array_equal(leaf, before[path])
    learns = path.startswith("lora/") or path == "decoder/embedding"
    assert same != learns, path
  assert metrics[0]["loss"] != metrics[2]["loss"]
  kept = {"decoder", "lora"}
  assert set(state.ema_params) == kept
  assert set(state.ema_params["decoder"]) == {"embedding"}


def test_parts_of_a_batch_give_the_same_update(setup, trained):
  parted = tiny_run.build(
    lora=SECTION, ema_decay=0.5, num_microbatches=4, initial=setup.initial
  )
  state, _ = _train(parted, 3)
  jax.tree.map(
    # The order of sums, through Adam's division.
    lambda one, other: np.testing.assert_allclose(one, other, atol=2e-4),
    state.params,
    trained[0].params,
  )


@pytest.mark.slow
def test_a_mesh_makes_the_same_update(setup, trained):
  spread = tiny_run.build(
    (2, 2, 2), lora=SECTION, ema_decay=0.5, initial=setup.initial
  )
  state, _ = _train(spread, 3)
  jax.tree.map(
    lambda one, other: np.testing.assert_allclose(one, other, atol=2e-4),
    state.params,
    trained[0].params,
  )


def test_changes_too_small_for_half_precision_count():
  """Kernels are adapted in float32, before they are rounded."""
  setup = tiny_run.build(lora={**SECTION, "whole": ()}, dtype="bfloat16")
  state, metrics = _train(setup, 2)
  assert np.isfinite([step["loss"] for step in metrics]).all()
  assert {x.dtype for x in jax.tree.leaves(state.params)} == {
    np.dtype(np.float32)
  }
