"""The loop's order, its refusals, and that stopping changes nothing."""

import io
import itertools
import time

import jax
import numpy as np
import pytest

from kosmos2_jax.training import checkpoint, loop, metrics
from tests.training import tiny_run

# Compiles whole models, many times.
pytestmark = pytest.mark.slow

NUM_STEPS = tiny_run.NUM_STEPS


def _run(run, workdir, state=None, *, num_steps=NUM_STEPS, **options):
  """Trains; returns the last state and what was written to the console."""
  out = io.StringIO()
  fields = {
    "train_step": run.train_step,
    "save_every": 2,
    "log_every": 2,
    "keep": {"keep": 9},
    "stream": None,
    **options,
  }
  keep, stream = fields.pop("keep"), fields.pop("stream")
  with (
    checkpoint.Checkpointer(workdir, **keep) as checkpointer,
    metrics.Reporter(None, num_steps, out) as reporter,
  ):
    if state is None:
      state = run.fresh()
      if checkpointer.latest_step() is not None:
        state = checkpointer.restore(run.abstract)
    state = loop.run(
      state,
      fields.pop("train_step"),
      stream or tiny_run.stream(int(state.step)),
      run.mesh,
      num_steps=num_steps,
      checkpointer=checkpointer,
      reporter=reporter,
      **fields,
    )
  return state, out.getvalue()


def _same(found, wanted):
  jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.fixture(scope="module")
def uninterrupted(single, tmp_path_factory):
  state, _ = _run(single, tmp_path_factory.mktemp("whole"))
  return jax.device_get(state)


def test_stopping_and_starting_again_changes_no_bit(
  single, uninterrupted, tmp_path
):
  for stop in (1, 4, NUM_STEPS):
    state, _ = _run(single, tmp_path, num_steps=stop)
    assert int(state.step) == stop
  _same(jax.device_get(state), uninterrupted)
  assert int(state.step) == NUM_STEPS


def test_a_lost_half_is_trained_again(single, uninterrupted, tmp_path):
  """An error between two checkpoints costs the steps since the last one."""

  def breaking():
    yield from itertools.islice(tiny_run.stream(), 5)
    raise OSError("the disk is gone")

  with pytest.raises(OSError, match="the disk is gone"):
    _run(single, tmp_path, stream=breaking())
  with checkpoint.Checkpointer(tmp_path) as checkpointer:
    assert checkpointer.latest_step() == 4
  state, _ = _run(single, tmp_path)
  _same(jax.device_get(state), uninterrupted)


def test_order_of_a_round(single, tmp_path, monkeypatch):
  """Evaluate, save, fetch, step, log; and the log is of the step before."""
  events = []

  def stream():
    for step in itertools.count():
      yield tiny_run.make_batch(step)

  def evaluate(params, step):
    assert params["decoder"]["embedding"].shape  # alive: not yet donated
    events.append(("evaluate", step))
    return {"rec/accuracy": step / 10}

  def train_step(state, batch):
    events.append(("step", int(jax.device_get(state.step))))
    return single.train_step(state, batch)

  real_next = loop.Prefetcher.__next__

  def fetch(self):
    events.append(("fetch", None))
    return real_next(self)

  real_write = metrics.Reporter.write_scalars

  def write(self, step, scalars):
    if "train/loss" in scalars:
      events.append(("log", step))
    real_write(self, step, scalars)

  real_save = checkpoint.Checkpointer.save

  def save(self, state, step, scores):
    events.append(("save", step))
    real_save(self, state, step, scores)

  monkeypatch.setattr(loop.Prefetcher, "__next__", fetch)
  monkeypatch.setattr(metrics.Reporter, "write_scalars", write)
  monkeypatch.setattr(checkpoint.Checkpointer, "save", save)
  _run(
    single,
    tmp_path,
    num_steps=4,
    stream=stream(),
    train_step=train_step,
    evaluate=evaluate,
    eval_every=2,
    save_every=2,
    log_every=1,
  )
  assert events == [
    *[("fetch", None), ("step", 0)],
    *[("fetch", None), ("step", 1), ("log", 1)],
    # Something is due: the step in flight is waited for first.
    *[("log", 2), ("evaluate", 2), ("save", 2), ("fetch", None), ("step", 2)],
    *[("fetch", None), ("step", 3), ("log", 3)],
    *[("log", 4), ("evaluate", 4), ("save", 4)],
  ]


def test_a_restart_does_not_evaluate_again(single, tmp_path):
  seen = []

  def evaluate(params, step):
    del params
    seen.append(step)
    return {}

  _run(single, tmp_path, num_steps=2, evaluate=evaluate, eval_every=2)
  _run(single, tmp_path, num_steps=4, evaluate=evaluate, eval_every=2)
  assert seen == [2, 4]


def test_the_best_is_kept(single, tmp_path):
  scores = {1: 0.1, 2: 0.9, 3: 0.2, 4: 0.3}
  _run(
    single,
    tmp_path,
    num_steps=4,
    evaluate=lambda params, step: {"rec/accuracy": scores[step]},
    eval_every=1,
    save_every=100,
    keep={"keep": 1, "best_metric": "rec/accuracy"},
  )
  with checkpoint.Checkpointer(tmp_path) as checkpointer:
    assert checkpointer.all_steps() == [2, 4]


def _poisoned(at):
  for step in itertools.count():
    batch = tiny_run.make_batch(step)
    if step == at:
      batch["images"][3] = np.nan
    yield batch


@pytest.mark.parametrize("at", [2, 3])  # in mid-run, and just before a save
def test_a_loss_that_is_not_finite_names_step_and_examples(
  single, tmp_path, at
):
  examples = ", ".join(str(at * 16 + i) for i in range(16))
  with pytest.raises(
    FloatingPointError,
    match=rf"loss is nan at step {at}, on the batch of examples \[{examples}\]",
  ):
    _run(single, tmp_path, stream=_poisoned(at), save_every=1)
  with checkpoint.Checkpointer(tmp_path, keep=9) as checkpointer:
    # `at` updates are good; the one that is not is never written.
    assert checkpointer.latest_step() == at
    state = checkpointer.restore(single.abstract)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_a_gradient_that_is_not_finite_is_an_error_too(single, tmp_path):
  def train_step(state, batch):
    state, row = single.train_step(state, batch)
    return state, {**row, "grad_norm": row["grad_norm"] / jax.device_put(0.0)}

  with pytest.raises(FloatingPointError, match="grad_norm is inf at step 0"):
    _run(single, tmp_path, train_step=train_step)


def test_transfers_inside_the_step_are_refused(single, tmp_path):
  def train_step(state, batch):
    batch["tokens"] = np.zeros((16, 20), np.int32)  # on the host
    return single.train_step(state, batch)

  with pytest.raises(Exception, match=r"Disallowed host-to-device transfer"):
    _run(single, tmp_path, train_step=train_step)


def test_a_finished_run_trains_nothing(single, uninterrupted, tmp_path):
  _run(single, tmp_path)
  state, text = _run(single, tmp_path, stream=iter(()))
  assert text == "all 6 steps were done before: nothing to train.\n"
  _same(jax.device_get(state), uninterrupted)


def test_a_run_past_its_end_is_told(single, tmp_path):
  _run(single, tmp_path, num_steps=4)
  with pytest.raises(ValueError, match="is at step 4, past num_steps 3; raise"):
    _run(single, tmp_path, num_steps=3)


def test_logged_means_weigh_targets(single, tmp_path, monkeypatch):
  """The loss of two steps is the loss over the targets of both."""
  rows, written = [], {}

  def train_step(state, batch):
    state, row = single.train_step(state, batch)
    rows.append(row)
    return state, row

  monkeypatch.setattr(
    metrics.Reporter, "write_scalars", lambda _, step, s: written.update(s)
  )
  _run(single, tmp_path, num_steps=2, train_step=train_step)
  loss, count = (
    np.array([float(r[k]) for r in rows]) for k in ("loss", "num_targets")
  )
  assert count[0] != count[1]
  expected = (loss * count).sum() / count.sum()
  np.testing.assert_allclose(written["train/loss"], expected, rtol=1e-6)
  tokens = np.array([float(row["num_tokens"]) for row in rows])
  assert written["train/targets_per_step"] == count.mean()
  assert written["train/tokens_per_step"] == tokens.mean()
  # The first step is not timed: it was compiled.
  speed = written["train/steps_per_sec"]
  assert speed > 0
  for name, each in (("examples", 16), ("tokens", tokens[1])):
    assert written[f"train/{name}_per_sec"] == pytest.approx(each * speed)
  assert written["train/targets_per_sec"] == pytest.approx(count[1] * speed)
  assert 0 <= written["train/input_wait"] <= 1
  assert written["train/process_memory_gib"] > 0
  for name in ("first", "second"):
    loss, count = (
      np.array([float(r[f"{k}/{name}"]) for r in rows])
      for k in ("loss", "targets")
    )
    expected = (loss * count).sum() / count.sum()
    np.testing.assert_allclose(
      written[f"train/loss/{name}"], expected, rtol=1e-6
    )
    assert written[f"train/targets/{name}"] == count.mean()


def test_a_kind_without_targets_has_no_loss(single, tmp_path, monkeypatch):
  written = {}
  monkeypatch.setattr(
    metrics.Reporter, "write_scalars", lambda _, step, s: written.update(s)
  )

  def stream():
    for batch in tiny_run.stream():
      yield {**batch, "kinds": np.minimum(batch["kinds"], 1)}

  _run(single, tmp_path, num_steps=2, stream=stream())
  assert written["train/loss/first"] == pytest.approx(written["train/loss"])
  assert written["train/targets/second"] == 0
  assert "train/loss/second" not in written


def test_what_a_run_waits_for_is_told(single, tmp_path, monkeypatch):
  rows = []

  def write(self, step, scalars):
    del self
    if "train/loss" in scalars:
      rows.append((step, scalars))

  real_next = loop.Prefetcher.__next__

  def slow(self):
    time.sleep(0.3)
    return real_next(self)

  def evaluate(params, step):
    del params, step
    time.sleep(0.5)
    return {}

  monkeypatch.setattr(metrics.Reporter, "write_scalars", write)
  monkeypatch.setattr(loop.Prefetcher, "__next__", slow)
  _, text = _run(
    single,
    tmp_path,
    num_steps=4,
    evaluate=evaluate,
    eval_every=2,
    save_every=2,
    log_every=2,
    flops_of=lambda inputs: 3.0 * inputs["tokens"].shape[0],
  )
  assert text.count("no MFU: the peak of a 'cpu' device is not known") == 1
  (_, first), (step, second) = rows
  assert step == 4
  assert "train/evaluation_seconds" not in first
  assert second["train/evaluation_seconds"] >= 0.5
  assert second["train/checkpoint_seconds"] > 0
  # Waiting is part of the time of the two steps.
  seconds = 2 / second["train/steps_per_sec"]
  assert 2 * 0.3 <= second["train/input_wait"] * seconds <= seconds
  assert "train/mfu" not in second


def test_mfu_of_a_known_peak(single, tmp_path, monkeypatch):
  written = {}
  monkeypatch.setattr(
    metrics.Reporter, "write_scalars", lambda _, step, s: written.update(s)
  )
  monkeypatch.setattr(loop.timing, "peak_flops", lambda devices: 1e3)
  _, text = _run(
    single,
    tmp_path,
    num_steps=2,
    flops_of=lambda inputs: 3.0 * inputs["tokens"].shape[0],
  )
  assert "no MFU" not in text
  speed = written["train/steps_per_sec"]
  assert written["train/mfu"] == pytest.approx(3 * 16 * speed / 1e3)


def test_averages_are_evaluated(single, tmp_path):
  """Not the parameters, where there are averages of them."""
  state = single.fresh()
  mean = jax.tree.map(np.zeros_like, state.params["resampler"])
  state = state.replace(step=state.step + NUM_STEPS - 1)
  seen = []

  def train_step(state, batch):
    del batch
    metrics = dict.fromkeys(("loss", "grad_norm", "accuracy"), np.float32(1))
    metrics |= dict.fromkeys(
      ("num_tokens", "num_targets", "num_examples", "learning_rate"),
      np.float32(1),
    )
    return state.replace(ema_params={"resampler": mean}), metrics

  def evaluate(params, step):
    seen.append((params, step))
    return {"score": 1.0}

  state, _ = _run(
    single,
    tmp_path,
    state,
    train_step=train_step,
    evaluate=evaluate,
    eval_every=1,
  )
  [(params, step)] = seen
  assert step == NUM_STEPS
  _same(params["resampler"], mean)
  _same(params["decoder"], state.params["decoder"])


def _patient(single, workdir, scores, **options):
  """A run of 6 steps, asked after each, that waits for two evaluations."""
  asked = []

  def evaluate(params, step):
    del params
    asked.append(step)
    return {"rec/accuracy": scores[step - 1]}

  keep = {"best_metric": "rec/accuracy", "patience": 2}
  state, out = _run(
    single, workdir, keep=keep, evaluate=evaluate, eval_every=1, **options
  )
  return int(state.step), asked, out


def test_a_run_ends_where_it_is_no_longer_better(single, tmp_path):
  scores = [0.1, 0.5, 0.4, 0.5, 0.9, 0.9]
  step, asked, out = _patient(single, tmp_path, scores)
  assert (step, asked) == (4, [1, 2, 3, 4])
  assert "stopped after 4 of 6 steps: no better rec/accuracy in 2" in out
  with checkpoint.Checkpointer(
    tmp_path, best_metric="rec/accuracy", patience=2
  ) as checkpointer:
    # The best one is kept though `keep` is 1, and is what is left of the run.
    assert checkpointer.all_steps() == [2, 4]
    last = checkpointer.restore(single.abstract)
    settled = checkpointer.settle(last, single.abstract)
    assert (int(last.step), int(settled.step)) == (4, 2)
  # The same command again trains nothing.
  step, asked, _ = _patient(single, tmp_path, scores)
  assert (step, asked) == (4, [])


def test_a_run_that_gets_better_goes_to_its_end(single, tmp_path):
  step, asked, _ = _patient(single, tmp_path, [0.1, 0.2, 0.1, 0.3, 0.3, 0.4])
  assert (step, asked) == (6, [1, 2, 3, 4, 5, 6])


def test_patience_without_evaluation_is_refused(single, tmp_path):
  keep = {"best_metric": "rec/accuracy", "patience": 2}
  with pytest.raises(ValueError, match=r"set evals\.every_steps"):
    _run(single, tmp_path, keep=keep)
