"""Damage, full disks and bad batches: nothing is lost, and it is said."""

import errno
import io
import itertools
import resource
import time

import jax
import numpy as np
import pytest

from kosmos2_jax.training import (
  checkpoint,
  guard,
  integrity,
  loop,
  metrics,
  saved_params,
)
from tests.training import tiny_run

# Compiles whole models.
pytestmark = pytest.mark.slow


def _same(found, wanted):
  jax.tree.map(np.testing.assert_array_equal, found, wanted)


def _run(run, workdir, *, num_steps=6, stream=None, **options):
  """Trains from the newest checkpoint; returns the state and what was said."""
  out = io.StringIO()
  with (
    metrics.Reporter(None, num_steps, out) as reporter,
    checkpoint.Checkpointer(workdir, keep=9, say=reporter.say) as saver,
  ):
    state = run.fresh()
    if saver.latest_step() is not None:
      state = saver.restore(run.abstract)
    fields = {"train_step": run.train_step, "save_every": 2, **options}
    stream = stream or tiny_run.stream
    state = loop.run(
      state,
      stream=stream(int(state.step)),
      mesh=run.mesh,
      num_steps=num_steps,
      checkpointer=saver,
      reporter=reporter,
      log_every=1,
      **fields,
    )
  return state, out.getvalue()


def _largest(folder):
  paths = [p for p in folder.rglob("*") if p.is_file()]
  return max(paths, key=lambda path: path.stat().st_size)


def _flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(bytes(content))


@pytest.fixture
def saved(single, tmp_path):
  """A workdir with the steps 2 and 4, and the states."""
  states = {}
  state = single.fresh()
  with checkpoint.Checkpointer(tmp_path, keep=9) as saver:
    for step in range(5):
      if step in (2, 4):
        states[step] = jax.tree.map(np.copy, jax.device_get(state))
        saver.save(state, step, None)
      state, _ = single.train_step(state, single.put(tiny_run.make_batch(step)))
  return tmp_path, states


@pytest.mark.parametrize(
  ("harm", "words"),
  [
    (_flip, "has other bytes than were written"),
    (lambda path: path.write_bytes(path.read_bytes()[:-9]), "bytes where"),
    (lambda path: path.unlink(), "is missing"),
  ],
)
def test_the_newest_whole_checkpoint_is_found(single, saved, harm, words):
  workdir, states = saved
  folder = workdir / checkpoint.FOLDER
  harm(_largest(folder / "4" / "params" / "ocdbt.process_0"))
  with pytest.raises(ValueError, match=f"4 is damaged: params/.* {words}"):
    saved_params.restore(workdir, single.model)
  said = []
  with checkpoint.Checkpointer(workdir, keep=9, say=said.append) as saver:
    with pytest.raises(ValueError, match="4 is damaged"):
      saver.restore(single.abstract, 4)
    found = saver.restore(single.abstract)
    _same(found, states[2])
    assert len(said) == 1
    assert said[0].startswith("DAMAGED CHECKPOINT of step 4: params/")
    assert words in said[0]
    assert said[0].endswith("the run goes on from step 2.")
    assert (workdir / integrity.ASIDE / "4.0" / "params").is_dir()
    assert saver.all_steps() == [2]
    saver.save(found, 4, None)  # its place is free
    assert saver.all_steps() == [2, 4]


def test_no_whole_checkpoint(single, saved):
  workdir, _ = saved
  folder = workdir / checkpoint.FOLDER
  for step in "24":
    _flip(_largest(folder / step / "opt_state" / "ocdbt.process_0"))
  with (
    checkpoint.Checkpointer(workdir, keep=9) as saver,
    pytest.raises(ValueError, match=r"no checkpoint .* \(step 4: opt_state/"),
  ):
    saver.restore(single.abstract)
  # Nothing was moved: a start would not begin at step 0 behind one's back.
  assert sorted(path.name for path in folder.iterdir()) == ["2", "4"]


def test_without_checksums_sizes_are_compared(single, saved):
  workdir, states = saved
  data = _largest(workdir / checkpoint.FOLDER / "4" / "params")
  options = {"keep": 9, "checksums": False}
  with checkpoint.Checkpointer(workdir, **options) as saver:
    _same(saver.restore(single.abstract), states[4])
  data.write_bytes(b"")
  with checkpoint.Checkpointer(workdir, **options, say=str) as saver:
    _same(saver.restore(single.abstract), states[2])


# Tensorstore answers to event loops that orbax has closed by then.
@pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnhandledThreadExceptionWarning",
  "ignore::pytest.PytestUnraisableExceptionWarning",
)
def test_a_full_disk_stops_the_run_at_the_next_step(single, tmp_path):
  """Files larger than the limit cannot be written, by tensorstore neither."""
  steps, savers = [], []
  _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  real = checkpoint.Checkpointer.save

  def save(self, state, step, *args, **options):
    if step == 4:
      self.wait()
      resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    savers.append(self)
    real(self, state, step, *args, **options)

  def train_step(state, batch):
    steps.append(int(jax.device_get(state.step)))
    if steps[-1] == 4:  # the save fails while this step is computed
      while savers[-1]._manager.is_saving_in_progress():
        time.sleep(0.01)
      resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return single.train_step(state, batch)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(checkpoint.Checkpointer, "save", save)
    with pytest.raises(
      checkpoint.SaveError,
      match=r"checkpoint of step 4 could not be written to .* are free there"
      r" and a checkpoint needs about .* it goes on from step 2\.$",
    ):
      _run(single, tmp_path, num_steps=9, train_step=train_step)
  assert steps == [0, 1, 2, 3, 4]
  # The old one is whole; started again, the run goes on from it.
  _, text = _run(single, tmp_path)
  assert "from step 2 to 6" in text
  with checkpoint.Checkpointer(tmp_path, keep=9) as saver:
    assert saver.all_steps() == [2, 4, 6]


def test_an_error_after_the_files_are_written(single, tmp_path, monkeypatch):
  def seal(*args, **options):
    raise OSError(errno.ENOSPC, "No space left on device")

  with checkpoint.Checkpointer(tmp_path) as saver:
    saver.save(single.fresh(), 1, None)
    saver.wait()
    monkeypatch.setattr(integrity, "seal", seal)
    saver.save(single.fresh(), 2, None)
    with pytest.raises(checkpoint.SaveError, match="No space left on device"):
      saver.wait()
    # It is neither there, nor taken for there when it is saved again.
    assert saver.all_steps() == [1]
    monkeypatch.undo()
    saver.save(single.fresh(), 2, None)
    saver.wait()
    assert saver.all_steps() == [2]
    saver.restore(single.abstract, 2)


def test_scores_that_come_after_the_checkpoint_count(single, tmp_path):
  """An evaluation was stopped: its step is saved, and evaluated later."""
  options = {"keep": 1, "best_metric": "rec/accuracy"}
  state = single.fresh()
  with checkpoint.Checkpointer(tmp_path, **options) as saver:
    saver.save(state, 1, {"rec/accuracy": 0.6})
    saver.save(state, 2, None, owes_evaluation=True)
  with checkpoint.Checkpointer(tmp_path, **options) as saver:
    assert saver.owes_evaluation(2)
    assert not saver.owes_evaluation(1)
    assert not saver.owes_evaluation(7)
    saver.save(state, 2, {"rec/accuracy": 0.9})
    assert not saver.owes_evaluation(2)
    saver.save(state, 2, {"rec/accuracy": 0.8})  # the last word counts
    saver.save(state, 3, {"rec/accuracy": 0.5})
  with checkpoint.Checkpointer(tmp_path, **options) as saver:
    assert saver.all_steps() == [2, 3]
    saver.restore(single.abstract, 2)


def _poisoned(at):
  def stream(start):
    for step in itertools.count(start):
      batch = tiny_run.make_batch(step)
      if step in at:
        batch["images"][3] = np.nan
      yield batch

  return stream


@pytest.fixture(scope="module")
def skipping(single):
  """A run that skips bad steps, two in a row at most."""
  policy = guard.Policy(on_nonfinite="skip", max_skips=2)
  return tiny_run.build(policy=policy, initial=single.initial)


def test_skipped_steps_change_nothing_and_survive_a_restart(skipping, tmp_path):
  stream = _poisoned({2, 3})
  wanted, text = _run(skipping, tmp_path / "whole", stream=stream)
  examples = list(range(32, 48))
  line = f"skipped: loss is nan at step 2, on the batch of examples {examples}"
  assert line in text
  assert "num_skipped 2" in text
  with checkpoint.Checkpointer(tmp_path / "whole", keep=9) as saver:
    before, after = (saver.restore(skipping.abstract, step) for step in (2, 4))
  _same((before.params, before.opt_state), (after.params, after.opt_state))
  assert int(after.guard.skips_in_row) == 2
  assert int(wanted.guard.skips_in_row) == 0
  # Stopped between the two, it counts on.
  for stop in (3, 6):
    found, _ = _run(skipping, tmp_path / "again", stream=stream, num_steps=stop)
  _same(found, wanted)


def test_too_many_skipped_steps_stop_the_run(skipping, tmp_path):
  stream = _poisoned({1, 2, 3})
  with pytest.raises(FloatingPointError, match="nan at step 3, .*was skipped"):
    _run(skipping, tmp_path, stream=stream)
  with checkpoint.Checkpointer(tmp_path) as saver:
    assert saver.latest_step() == 2


def test_saves_by_time(single, tmp_path, monkeypatch):
  steps = []

  def train_step(state, batch):
    steps.append(batch)
    return single.train_step(state, batch)

  real = loop.SaveTimes
  monkeypatch.setattr(
    loop,
    "SaveTimes",
    lambda *args: real(*args, clock=lambda: 25.0 * len(steps)),
  )
  options = {"save_every": 0, "save_every_minutes": 1.0}
  _run(single, tmp_path, num_steps=8, train_step=train_step, **options)
  with checkpoint.Checkpointer(tmp_path, keep=9) as saver:
    # A minute is over within the third step; the last is saved in any case.
    assert saver.all_steps() == [3, 6, 8]


def test_eight_devices_then_four_then_eight(single, tmp_path):
  """On as many devices the bits are the same; on others sums are added up in
  another order, so the last bits of a float32 differ.
  """
  eight = tiny_run.build((8, 1, 1), initial=single.initial)
  four = tiny_run.build((4, 1, 1), initial=single.initial)
  wanted, _ = _run(eight, tmp_path / "whole")
  for stop in (2, 4, 6):
    same, _ = _run(eight, tmp_path / "eight", num_steps=stop)
  _same(same, wanted)
  for stop, run in ((2, eight), (4, four), (6, eight)):
    mixed, text = _run(run, tmp_path / "mixed", num_steps=stop)
    assert f"to {stop} on {run.mesh.size} cpu device(s)" in text
  assert int(mixed.step) == 6
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5),
    mixed.params,
    wanted.params,
  )
