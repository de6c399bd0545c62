"""Processes that start together, agree, and end together; without a model."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from kosmos2_jax.training import joining, peers, processes

ROOT = pathlib.Path(__file__).parents[2]
PREAMBLE = """
import collections, os, sys, time
from kosmos2_jax.training import processes
with processes.start(
  sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), seconds=20, patience=4
) as group:
"""


def free_address():
  """An address of this machine at which nobody listens."""
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{found.getsockname()[1]}"


class Others(contextlib.ExitStack):
  """The same script in several processes; `say` has what each has said."""

  def __init__(self, script, folder, count, started=None):
    super().__init__()
    self.logs = [folder / f"{i}.log" for i in range(count)]
    address = free_address()
    code = PREAMBLE + textwrap.indent(textwrap.dedent(script), "  ")
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    env |= {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"}
    self.processes = []
    for i in range(count if started is None else started):
      with self.logs[i].open("w") as log:
        argv = [sys.executable, "-c", code, address, str(count), str(i)]
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
      self.callback(process.wait)
      self.callback(process.kill)
      self.processes.append(process)

  def say(self, index):
    return self.logs[index].read_text()

  def wait_for(self, index, text):
    deadline = time.monotonic() + 120
    while text not in self.say(index):
      assert time.monotonic() < deadline, self.say(index)
      time.sleep(0.05)

  def statuses(self):
    return [process.wait(timeout=180) for process in self.processes]


@pytest.mark.slow
def test_they_share_and_agree(tmp_path):
  script = """
  assert group.gather("names", b"%d" % group.index) == [b"0", b"1", b"2"]
  assert group.any("flags", group.index == 1)
  assert not group.any("flags", False)
  assert group.from_main("numbers", [group.index, None]) == [0, None]
  counter = collections.Counter({"a": 1, str(group.index): 2})
  group.add_up("counts", [counter, collections.Counter()])
  assert counter == {"a": 3, "0": 2, "1": 2, "2": 2}, counter
  with group.main_first("the file"):
    if group.is_main:
      time.sleep(1)
      open(os.environ["FILE"], "w").close()
    assert os.path.exists(os.environ["FILE"])

  # They are at different polls when one of them wants something.
  for rounds in range(2):
    for poll in range(1, 10000):
      wants = group.index == 2 and poll > 100 * (rounds + 1)
      stop, save = group.agree([wants and not rounds, wants and rounds > 0])
      if stop or save:
        break
      time.sleep(0.002 * (group.index + 1))
    assert (stop, save) == (rounds == 0, rounds == 1)
    polls = group.gather("polls", b"%d" % poll)
    assert len(set(polls)) == 1 and 100 < int(polls[0]) < 10000, polls
  print("agreed")
  """
  script = script.replace('os.environ["FILE"]', repr(str(tmp_path / "file")))
  with Others(script, tmp_path, 3) as others:
    assert others.statuses() == [0, 0, 0], [others.say(i) for i in range(3)]
    assert [others.say(i).count("agreed") for i in range(3)] == [1, 1, 1]


@pytest.mark.slow
def test_who_is_late_is_named(tmp_path):
  script = """
  if group.index == 1:
    time.sleep(30)
  group.wait("the start of the race", 3)
  """
  with Others(script, tmp_path, 3) as others:
    assert others.statuses() == [processes.RESTART] * 3
    said = others.say(0)
    assert "waited 3 s for the start of the race, and these did not" in said
    name = f"process 1 on {socket.gethostname()}"
    assert f"did not come: {name}. Look" in said
    # It hears of it, though it sleeps.
    assert f"process 1: process 0 on {socket.gethostname()} ended" in (
      others.say(1)
    )
    # The same words are not said twice.
    assert others.say(2).count("these did not come") <= 1


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_who_is_gone_is_named(tmp_path, killed, how):
  script = """
  print("here", flush=True)
  time.sleep(120)
  """
  with Others(script, tmp_path, 2) as others:
    for i in range(2):
      others.wait_for(i, "here")
    time.sleep(2)  # at least one beat
    others.processes[killed].send_signal(how)
    began = time.monotonic()
    left = 1 - killed
    status = others.processes[left].wait(timeout=60)
    assert status == processes.RESTART, others.say(left)
    assert time.monotonic() - began < 60
    assert (
      f"process {left}: process {killed} on {socket.gethostname()} has not been"
      " heard of any more" in others.say(left)
    )


@pytest.mark.slow
def test_who_never_came_is_named(tmp_path):
  with Others("pass", tmp_path, 3, started=2) as others:
    assert others.statuses() == [processes.RESTART] * 2
    for i in range(2):
      assert "process(es) 2 did not come" in others.say(i)
      assert "Check failure" not in others.say(i)


@pytest.mark.slow
def test_a_mistake_on_one_ends_all(tmp_path):
  script = """
  if group.index == 1:
    raise ValueError("expected a cat, found a dog")
  time.sleep(60)
  """
  with Others(script, tmp_path, 2) as others:
    assert others.statuses() == [2, 2]
    said = f"process 1 on {socket.gethostname()} ended: expected a cat"
    assert said in others.say(0)
    assert others.say(1) == "process 1: expected a cat, found a dog\n"


@pytest.mark.parametrize(
  ("given", "sentence"),
  [
    (("host:1", None, None), "--num_processes and --process_id is missing"),
    (("host:1", 2, 2), "found 2 of 2"),
    (("host:1", 0, 0), "found 0 of 0"),
    (("host", 2, 0), "--coordinator is HOST:PORT of process 0"),
  ],
)
def test_wrong_flags(given, sentence):
  with pytest.raises(ValueError, match=re.escape(sentence)):
    joining.find_others(*given)


def test_where_the_others_are(monkeypatch):
  for name in list(os.environ):
    if name.startswith(("SLURM_", "JAX_COORD", "JAX_NUM_P", "JAX_PROCESS")):
      monkeypatch.delenv(name)
  assert joining.find_others(None, None, None) is None
  assert joining.find_others("host:1", 1, 0) is None
  found = joining.find_others("host:1", 2, 1)
  assert found["coordinator_address"] == "host:1"
  assert (found["num_processes"], found["process_id"]) == (2, 1)

  monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "first:7")
  monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
  monkeypatch.setenv("JAX_PROCESS_ID", "3")
  found = joining.find_others(None, None, None)
  assert found["coordinator_address"] == "first:7"
  assert (found["num_processes"], found["process_id"]) == (4, 3)
  # Flags come before the environment.
  assert joining.find_others(None, None, 2)["process_id"] == 2
  monkeypatch.setenv("JAX_PROCESS_ID", "three")
  with pytest.raises(ValueError, match="JAX_PROCESS_ID is a number; found 'th"):
    joining.find_others(None, None, None)


def test_slurm_is_found(monkeypatch):
  for name in ("COORDINATOR_ADDRESS", "NUM_PROCESSES", "PROCESS_ID"):
    monkeypatch.delenv(f"JAX_{name}", raising=False)
  for name, value in {
    "JOB_ID": "1",
    "STEP_NODELIST": "node[1-2]",
    "NTASKS": "16",
    "PROCID": "3",
    "LOCALID": "3",
  }.items():
    monkeypatch.setenv(f"SLURM_{name}", value)
  found = joining.find_others(None, None, None)
  assert found == {"cluster_detection_method": "slurm"}
  monkeypatch.setenv("SLURM_NTASKS", "1")
  assert joining.find_others(None, None, None) is None


def test_one_process_waits_for_nobody():
  with processes.start() as group:
    assert (group.index, group.count, group.is_main) == (0, 1, True)
    assert group.agree is None
    assert group.gather("it", b"x") == [b"x"]
    assert group.any("it", True)
    assert not group.any("it", False)
    assert group.from_main("it", {"a": 1}) == {"a": 1}
    with group.main_first("it"):
      group.wait("it")
  with pytest.raises(ValueError, match="a mistake"), processes.start():
    raise ValueError("a mistake")


def test_who_is_late_is_read_from_the_log():
  log = (
    "# of tasks that reached the barrier: 1/4.\nThe first task at the barrier:"
    " 0. Some timed out task names:\n1\n3\n\n\nRPC: /xla"
  )
  assert peers.late_processes(log) == [1, 3]
  assert peers.late_processes("Deadline Exceeded") == []
