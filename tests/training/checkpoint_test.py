"""What is saved comes back bit for bit; what does not fit is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax import optim, sharding
from kosmos2_jax.models import presets
from kosmos2_jax.training import checkpoint, saved_params
from kosmos2_jax.training import state as state_lib
from tests.training import tiny_run

# Compiles whole models, many times.
pytestmark = pytest.mark.slow


def _same(found, wanted):
  jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.fixture(scope="module")
def saved(single, tmp_path_factory):
  """A workdir with the state after two steps, and that state."""
  workdir = tmp_path_factory.mktemp("saved")
  state = single.fresh()
  for step in range(2):
    batch = single.put(tiny_run.make_batch(step))
    state, _ = single.train_step(state, batch)
  with checkpoint.Checkpointer(workdir) as checkpointer:
    checkpointer.save(state, 2, None)
  return workdir, jax.device_get(state)


def test_restores_every_bit(single, saved):
  workdir, wanted = saved
  with checkpoint.Checkpointer(workdir) as checkpointer:
    assert checkpointer.latest_step() == 2
    state = checkpointer.restore(single.abstract)
  _same(state, wanted)
  assert jax.tree.structure(state) == jax.tree.structure(wanted)
  assert state.step.dtype == jnp.int32
  # What was restored can be donated to the compiled step like any state.
  state, _ = single.train_step(state, single.put(tiny_run.make_batch(2)))
  assert int(state.step) == 3


def test_restores_on_another_mesh(saved):
  workdir, wanted = saved
  tx = optim.make_optimizer(
    num_steps=6, learning_rate=1e-2, decay_mask="matrices"
  ).tx
  mesh = sharding.make_mesh((2, 2, 2))
  model = presets.build(presets.preset("tiny"))
  abstract = state_lib.abstract_state(model, tx, mesh)
  with checkpoint.Checkpointer(workdir) as checkpointer:
    state = checkpointer.restore(abstract)
  _same(state, wanted)
  jax.tree.map(
    lambda leaf, place: (
      leaf.sharding.is_equivalent_to(place.sharding, leaf.ndim)
      or pytest.fail(f"{leaf.sharding} is not {place.sharding}")
    ),
    state,
    abstract,
  )


def test_parameters_alone(single, saved):
  workdir, wanted = saved
  params, step = saved_params.restore(workdir, single.model)
  assert step == 2
  _same(params, wanted.params)


def test_donating_at_once_does_not_reach_the_checkpoint(single, tmp_path):
  """Saving goes on in the background while the arrays are overwritten."""
  state = single.fresh()
  wanted = []
  with checkpoint.Checkpointer(tmp_path, keep=4) as checkpointer:
    for step in range(4):
      wanted.append(jax.tree.map(np.copy, jax.device_get(state)))
      checkpointer.save(state, step, None)
      for _ in range(3):
        batch = single.put(tiny_run.make_batch(step))
        state, _ = single.train_step(state, batch)
  with checkpoint.Checkpointer(tmp_path, keep=4) as checkpointer:
    for step in range(4):
      found = checkpointer.restore(single.abstract, step)
      _same(found.params, wanted[step].params)
      _same(found.opt_state, wanted[step].opt_state)


@pytest.mark.parametrize(
  ("mode", "kept"), [("max", [2, 5, 6]), ("min", [3, 5, 6])]
)
def test_keeps_the_newest_and_the_best(single, tmp_path, mode, kept):
  state = single.fresh()
  scores = {1: 0.5, 2: 0.9, 3: 0.1, 5: 0.5}
  options = {"keep": 2, "best_metric": "rec/accuracy", "best_mode": mode}
  for steps in (range(1, 4), range(4, 7)):  # with a restart between
    with checkpoint.Checkpointer(tmp_path, **options) as checkpointer:
      for step in steps:
        score = scores.get(step)
        checkpointer.save(
          state, step, None if score is None else {"rec/accuracy": score}
        )
  with checkpoint.Checkpointer(tmp_path, **options) as checkpointer:
    assert checkpointer.all_steps() == kept


def test_saving_a_step_twice_is_saving_it_once(single, tmp_path):
  with checkpoint.Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(single.fresh(), 1, None)
    checkpointer.save(single.fresh(), 1, None)
    assert checkpointer.all_steps() == [1]


def test_unfinished_checkpoints_do_not_count(single, saved):
  workdir, wanted = saved
  folder = workdir / checkpoint.FOLDER
  unfinished = folder / "7.orbax-checkpoint-tmp"
  unfinished.mkdir()
  (unfinished / "params").write_text("half of it")
  with checkpoint.Checkpointer(workdir) as checkpointer:
    assert checkpointer.latest_step() == 2
    _same(checkpointer.restore(single.abstract), wanted)
  assert not unfinished.exists()


def _abstract(change=lambda sizes: None, **options):
  sizes = presets.preset("tiny")
  change(sizes)
  model = presets.build(sizes)
  tx = optim.make_transformation(lambda _: 1.0, **options)
  mesh = sharding.make_mesh((1, 1, 1), jax.devices()[:1])
  return model, state_lib.abstract_state(model, tx, mesh)


def test_another_size_names_the_first_parameter(saved):
  workdir, _ = saved
  model, abstract = _abstract(lambda s: s["decoder"].update(mlp_dim=64))
  message = (
    r"^parameter decoder/layers/mlp/down/kernel has shape \(2, 32, 16\) in the"
    r" checkpoint .*/checkpoints/2 and \(2, 64, 16\) in the model of this"
    r" config: give the config the values .* or start in another --workdir\.$"
  )
  with (
    checkpoint.Checkpointer(workdir) as checkpointer,
    pytest.raises(ValueError, match=message),
  ):
    checkpointer.restore(abstract)
  with pytest.raises(ValueError, match=message):
    saved_params.restore(workdir, model)


def test_another_model_or_optimizer_is_told(saved):
  workdir, _ = saved
  _, conv = _abstract(lambda s: s["vision"].update(stem="conv"))
  _, plain = _abstract(clip_norm=0.0, decay_mask="matrices")
  changed = plain.replace(opt_state=plain.opt_state[:1])
  with checkpoint.Checkpointer(workdir) as checkpointer:
    with pytest.raises(ValueError, match=r"parameter vision/stem/.* none "):
      checkpointer.restore(conv)
    with pytest.raises(ValueError, match="moment .* none in the optimizer"):
      checkpointer.restore(changed)


def test_no_checkpoint(single, tmp_path):
  with (
    checkpoint.Checkpointer(tmp_path) as checkpointer,
    pytest.raises(FileNotFoundError, match="no checkpoint of any step"),
  ):
    assert checkpointer.latest_step() is None
    checkpointer.restore(single.abstract)
  with pytest.raises(FileNotFoundError, match=r"give a workdir that train\.py"):
    saved_params.restore(tmp_path / "nowhere", single.model)


def test_wrong_options(single, tmp_path):
  with pytest.raises(ValueError, match="keep is at least 1; found 0"):
    checkpoint.Checkpointer(tmp_path, keep=0)
  with pytest.raises(ValueError, match=r"best_mode is one of .*'high'"):
    checkpoint.Checkpointer(tmp_path, best_mode="high")
  with (
    checkpoint.Checkpointer(tmp_path, best_metric="rec/acc") as checkpointer,
    pytest.raises(
      ValueError, match=r"'rec/acc', which no .*\['rec/accuracy'\]"
    ),
  ):
    checkpointer.save(single.fresh(), 1, {"rec/accuracy": 1.0})


def _with_averages(setup, change):
  """A state whose averages are its parameters plus `change`."""
  state = setup.fresh()
  changed = jax.tree.map(lambda x: x + change, state.params)
  return state.replace(ema_params={"resampler": changed["resampler"]})


def test_averages_are_saved_and_come_back(single, tmp_path):
  state = _with_averages(single, 1.0)
  abstract = single.abstract.replace(
    ema_params={"resampler": single.abstract.params["resampler"]}
  )
  with checkpoint.Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(state, 3, None)
  with checkpoint.Checkpointer(tmp_path) as checkpointer:
    _same(checkpointer.restore(abstract).ema_params, state.ema_params)
  found, _ = saved_params.restore(tmp_path, single.model)
  _same(found, state_lib.averaged_params(state))
  _same(found["decoder"], state.params["decoder"])
  raw, _ = saved_params.restore(tmp_path, single.model, use_ema=False)
  _same(raw, state.params)


def test_averages_may_begin_and_end_with_a_restart(single, tmp_path):
  told = []
  averaged = single.abstract.replace(
    ema_params={"resampler": single.abstract.params["resampler"]}
  )
  with checkpoint.Checkpointer(tmp_path, keep=2) as checkpointer:
    checkpointer.save(single.fresh(), 1, None)
    checkpointer.save(_with_averages(single, 1.0), 2, None)
  with checkpoint.Checkpointer(
    tmp_path, keep=2, say=told.append
  ) as checkpointer:
    state = checkpointer.restore(averaged, 1)
    _same(state.ema_params, {"resampler": state.params["resampler"]})
    assert "has no averages" in told.pop()
    assert checkpointer.restore(single.abstract, 2).ema_params is None
    assert "ema_decay is 0: the averages in" in told.pop()
    checkpointer.restore(averaged, 2)
  assert not told
