"""Real processes, stopped and killed at bad moments: nothing is lost.

Every one of them is `train.py`; where a moment has to be met exactly it is held
open by `fault_driver.py`.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from data.shapes import shapes_builder
from kosmos2_jax import optim, sharding
from kosmos2_jax.models import presets
from kosmos2_jax.training import (
  checkpoint,
  choosing,
  integrity,
  ledger,
  preemption,
)
from kosmos2_jax.training import state as state_lib

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def command(tmp_path_factory):
  """From a workdir and further flags to the whole command line."""
  data_dir = tmp_path_factory.mktemp("datasets")
  shapes_builder.prepare(data_dir, "tiny")

  def build(workdir, *more, config="tests/tiny_config.py", driver=()):
    script = ["-m", "tests.fault_driver", *driver] if driver else ["train.py"]
    return [
      *script,
      f"--config={config}",
      f"--workdir={workdir}",
      f"--compilation_cache={jax.config.jax_compilation_cache_dir}",
      f"--config.data.data_dir={data_dir}",
      *more,
    ]

  return build


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
  """The last state of a run that nobody disturbed."""
  folder = tmp_path_factory.mktemp("whole")
  with _Process(command(folder / "run"), folder / "log") as process:
    assert "from step 0 to 24" in process.finish()
  return _states(folder / "run")


class _Process:
  """The command in a process of its own, which can be watched and killed."""

  def __init__(self, argv, log):
    env = {key: v for key, v in os.environ.items() if key != "XLA_FLAGS"}
    self._log = log
    with log.open("w") as out:
      self._process = subprocess.Popen(
        [sys.executable, *argv], cwd=ROOT, env=env, stdout=out, stderr=out
      )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._process.poll() is None:
      self._process.kill()
    self._process.wait()

  @property
  def text(self):
    return self._log.read_text()

  def finish(self, status=0):
    assert self._process.wait(timeout=600) == status, self.text
    return self.text

  def stop_when(self, words):
    """SIGTERM once the words are written; it must save and say so."""
    deadline = time.monotonic() + 600
    while words not in self.text:
      assert self._process.poll() is None, self.text
      assert time.monotonic() < deadline, self.text
      time.sleep(0.05)
    self._process.send_signal(signal.SIGTERM)
    text = self.finish(preemption.RESTART_STATUS)
    assert "Traceback" not in text
    found = re.search(r"the state after (\d+) steps is saved; start the", text)
    assert found, text
    return int(found[1]), text

  def kill_when(self, moment):
    """SIGKILL while `moment` holds, seen again with the process stopped."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
      assert self._process.poll() is None, self.text
      if moment(self):
        self._process.send_signal(signal.SIGSTOP)
        if moment(self):
          self._process.kill()
          assert self._process.wait() == -signal.SIGKILL
          return
        self._process.send_signal(signal.SIGCONT)
    raise AssertionError(f"the moment never came: {self.text}")


def _same(found, wanted):
  assert int(found.step) == int(wanted.step) == 24
  jax.tree.map(np.testing.assert_array_equal, found, wanted)


def _states(workdir):
  """Everything in the newest checkpoint, on the host."""
  description = json.loads((workdir / "model.json").read_text())
  model = presets.build(description["sizes"])
  tx = optim.make_optimizer(num_steps=24, learning_rate=1e-2).tx
  mesh = sharding.make_mesh((1, 1, 1), jax.devices()[:1])
  with checkpoint.Checkpointer(workdir) as checkpointer:
    state = checkpointer.restore(state_lib.abstract_state(model, tx, mesh))
  return jax.device_get(state)


def test_killed_at_any_moment_the_run_ends_with_the_same_bits(
  command, whole, tmp_path
):
  log, killed = tmp_path / "log", tmp_path / "killed"
  argv = command(killed)
  steps = killed / checkpoint.FOLDER

  def half_written():
    return [p.name for p in steps.glob("*tmp*")] if steps.exists() else []

  def in_a_step(process):
    return "step 6/24" in process.text

  def in_a_save(process):
    # By then, what an earlier process left half-written has been removed.
    return "step 12/24" in process.text and half_written()

  for moment in (in_a_step, in_a_save):
    with _Process(argv, log) as process:
      process.kill_when(moment)
  assert half_written()
  with _Process(argv, log) as process:
    text = process.finish()
  # It went on from a checkpoint: from which one, the disk's speed decides.
  assert " to 24 on 1 cpu device" in text
  assert "from step 0 to 24" not in text
  assert not half_written()
  _same(_states(killed), whole)


def _flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(bytes(content))


def test_stopped_anywhere_the_run_ends_with_the_same_bits(
  command, whole, tmp_path
):
  """SIGTERM in a step, in an evaluation and in a wait for input; and then the
  newest checkpoint and every compiled program in the cache are damaged.
  """
  run, log, cache = tmp_path / "run", tmp_path / "log", tmp_path / "cache"
  shutil.copytree(jax.config.jax_compilation_cache_dir, cache)
  config = "tests/tiny_config.py:evals"
  flags = [
    "--config.num_steps=24",
    "--config.evals.every_steps=12",
    "--config.save_every=100",
  ]

  with _Process(command(run, *flags, config=config), log) as process:
    first, _ = process.stop_when("step 6/24")
  assert 6 <= first < 12
  assert choosing.newest_step(run) == first

  driver = ["evaluate:12"]
  argv = command(run, *flags, config=config, driver=driver)
  with _Process(argv, log) as process:
    second, text = process.stop_when("held")
  assert f"from step {first} to 24" in text
  assert second == 12

  # What was owed is evaluated first, and competes for the best.
  argv = command(run, *flags, config=config, driver=["wait:15"])
  with _Process(argv, log) as process:
    # Metrics come one step late: then it waits for the batch of step 15.
    third, text = process.stop_when("step 14/24")
  assert "from step 12 to 24" in text
  assert "step 12/24  rec/accuracy" in text
  assert third == 15
  assert (run / "checkpoints" / "12" / "metrics").exists()

  data = max(
    (run / "checkpoints" / "15" / "params").rglob("d/*"),
    key=lambda path: path.stat().st_size,
  )
  _flip(data)
  for path in cache.iterdir():
    if path.is_file():
      _flip(path)
  flags.append(f"--compilation_cache={cache}")
  with _Process(command(run, *flags, config=config), log) as process:
    text = process.finish()
  assert "DAMAGED CHECKPOINT of step 15: params/" in text
  assert "has other bytes than were written; it was moved to" in text
  assert "from step 12 to 24" in text
  assert "step 12/24  rec/" not in text  # evaluated before
  assert (run / integrity.ASIDE / "15.0" / "params").is_dir()
  _same(_states(run), whole)

  book = ledger.read((run / ledger.FILE).read_text())
  ends = [e["reason"].split(":")[0] for e in book if e["event"] == "stop"]
  assert ends == ["Preempted"] * 3 + ["finished"]
  account = ledger.account(book)
  assert (account.starts, account.lost_steps) == (4, 15 - 12)
  assert re.search(r"goodput .* in 4 start.*3 step\(s\) done again", text)


def test_a_bad_batch_stops_the_run_or_is_skipped(command, tmp_path):
  run, log = tmp_path / "run", tmp_path / "log"
  argv = command(run, "--config.num_steps=8", driver=["nan:6"])
  with _Process(argv, log) as process:
    text = process.finish(2)
  assert "train.py: loss is nan at step 6, on the batch of examples [" in text
  assert choosing.newest_step(run) == 4
  with _Process([*argv, "--config.on_nonfinite=skip"], log) as process:
    text = process.finish()
  assert "from step 4 to 8" in text
  assert "skipped: loss is nan at step 6, on the batch of examples [" in text
  assert "num_skipped 1" in text
  found = _states(run)
  assert int(found.step) == 8
  assert int(found.guard.num_skipped) == 1
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.params))
