"""The training command in several processes: the same run as in one."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from data.shapes import shapes_builder
from kosmos2_jax.models import presets
from kosmos2_jax.training import choosing, processes, saved_params
from tests.training.processes_test import free_address

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
DEVICES = 4


class Run:
  """The command in `count` processes, each with its share of the devices."""

  def __init__(self, workdir, data_dir, count, *flags):
    workdir.parent.mkdir(parents=True, exist_ok=True)
    self.logs = [workdir.with_name(f"{workdir.name}.{i}") for i in range(count)]
    env = {key: v for key, v in os.environ.items() if key != "XLA_FLAGS"}
    env["JAX_NUM_CPU_DEVICES"] = str(DEVICES // count)
    argv = [
      "train.py",
      "--config=tests/tiny_config.py:evals",
      f"--workdir={workdir}",
      f"--compilation_cache={jax.config.jax_compilation_cache_dir}",
      f"--config.data.data_dir={data_dir}",
      "--config.evals.batch_size=1",
      "--config.evals.every_steps=0",
      "--config.checkpoint.best_metric=",
      "--config.save_every=2",
      *flags,
    ]
    address = free_address()
    self.processes = []
    for index, log in enumerate(self.logs):
      if count > 1:
        env["JAX_COORDINATOR_ADDRESS"] = address
        env["JAX_NUM_PROCESSES"] = str(count)
        env["JAX_PROCESS_ID"] = str(index)
      with log.open("w") as out:
        process = subprocess.Popen(
          [sys.executable, *argv], cwd=ROOT, env=env, stdout=out, stderr=out
        )
      self.processes.append(process)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    for process in self.processes:
      if process.poll() is None:
        process.kill()
      process.wait()

  def text(self, index=0):
    return self.logs[index].read_text()

  def finish(self):
    for process in self.processes:
      assert process.wait(timeout=600) == 0, [
        self.text(i) for i in range(len(self.logs))
      ]
    return self.text()


def _outcome(workdir):
  """Parameters at the end, and the scores."""
  description = json.loads((workdir / "model.json").read_text())
  model = presets.build(description["sizes"])
  params, step = saved_params.restore(workdir, model)
  assert step == 4
  return params, json.loads((workdir / "results.json").read_text())["tasks"]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp("datasets")
  shapes_builder.prepare(path, "tiny")
  return path


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data_dir):
  """What one process with all devices makes."""
  workdir = tmp_path_factory.mktemp("alone") / "run"
  with Run(workdir, data_dir, 1) as run:
    run.finish()
  return _outcome(workdir)


def _assert_same(found, wanted):
  # Two programs: with several processes the sums over devices are made by
  # another library, in another order. One update moves a number by 1e-2.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-5),
    found[0],
    wanted[0],
  )
  assert found[1] == wanted[1]


def test_four_processes_train_as_one_does(alone, data_dir, tmp_path):
  workdir = tmp_path / "run"
  with Run(workdir, data_dir, 4, "--profile=1:2") as run:
    assert "step 4/4" in run.finish()
    # One log: the others say nothing but what native libraries say.
    for index in range(1, 4):
      assert "step" not in run.text(index)
  _assert_same(_outcome(workdir), alone)
  folder = workdir / "profile" / "plugins" / "profile" / "step_1"
  assert {path.name for path in folder.iterdir()} == {
    f"process_{i}.xplane.pb" for i in range(4)
  }


def test_one_of_two_is_killed_and_both_go_on(alone, data_dir, tmp_path):
  workdir = tmp_path / "run"
  with Run(workdir, data_dir, 2) as run:
    deadline = time.monotonic() + 600
    while "step 3/4" not in run.text():
      assert time.monotonic() < deadline, run.text()
      time.sleep(0.01)
    run.processes[1].send_signal(signal.SIGKILL)
    began = time.monotonic()
    status = run.processes[0].wait(timeout=120)
    assert status == processes.RESTART, run.text()
    assert time.monotonic() - began < 60
    assert "process 1 on " in run.text()
    assert "has not been heard of any more" in run.text()
    assert not (workdir / "results.json").exists()
  with Run(workdir, data_dir, 2) as run:
    assert "from step 2 to 4" in run.finish()
  _assert_same(_outcome(workdir), alone)


def test_asked_to_stop_all_stop_and_save(data_dir, tmp_path):
  workdir = tmp_path / "run"
  flags = ["--config.num_steps=100000", "--config.save_every=100000"]
  with Run(workdir, data_dir, 2, *flags) as run:
    deadline = time.monotonic() + 600
    while "step 3/" not in run.text():
      assert time.monotonic() < deadline, run.text()
      time.sleep(0.01)
    # One hears of it; both stop at the same step.
    run.processes[1].send_signal(signal.SIGTERM)
    statuses = [process.wait(timeout=120) for process in run.processes]
    assert statuses == [processes.RESTART] * 2, run.text()
    steps = choosing.newest_step(workdir)
    assert steps >= 3
    assert f"the state after {steps} steps is saved" in run.text(0)
    assert f"the state after {steps} steps is saved" in run.text(1)
