"""Signals are obeyed where nothing is lost, whatever the process is doing."""

import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from kosmos2_jax.training import preemption

ROOT = pathlib.Path(__file__).parents[2]

# A command that does what its arguments say, and nothing of jax.
PROGRAM = """
import hashlib, sys, time
from kosmos2_jax.training import preemption

def run(stop):
  if "hold" in sys.argv:
    stop.hold()
  print("ready", flush=True)
  if "computing" in sys.argv:  # as XLA does, not looking at signals
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
  while "deaf" in sys.argv:
    time.sleep(0.01)
  for _ in range(3000):
    stop.check()
    time.sleep(0.01)

preemption.leave(preemption.status_of(run, float(sys.argv[1])))
"""


@pytest.fixture
def start():
  """Starts the program with arguments and waits until it is ready."""
  running = []

  def build(*args):
    process = subprocess.Popen(
      [sys.executable, "-c", PROGRAM, *args],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    running.append(process)
    assert process.stdout.readline() == "ready\n"
    return process

  yield build
  for process in running:
    process.kill()
    process.communicate()


def _end(process):
  _, text = process.communicate(timeout=60)
  assert process.returncode == preemption.RESTART_STATUS == 75
  return text


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_is_noted_and_obeyed_at_the_next_look(start, name):
  process = start("0", "hold")
  process.send_signal(signal.Signals[name])
  text = _end(process)
  assert f"train.py: {name}: saving and exiting; a second one exits" in text
  assert f"train.py: asked to stop ({name})" in text
  assert "Traceback" not in text


def test_before_there_is_anything_to_lose_it_exits_at_once(start):
  """Also while the main thread is busy, as it is when it compiles."""
  process = start("0", "computing")
  process.send_signal(signal.SIGTERM)
  assert _end(process) == "train.py: SIGTERM: nothing is lost yet, exiting.\n"


def test_a_second_signal_exits_at_once(start):
  process = start("0", "hold", "deaf")
  process.send_signal(signal.SIGTERM)
  assert "SIGTERM: saving" in process.stderr.readline()
  assert process.poll() is None
  process.send_signal(signal.SIGINT)
  assert "SIGINT again: exiting; the last checkpoint is whole" in _end(process)


def test_the_grace_period_ends(start):
  process = start("0.2", "hold", "deaf")
  process.send_signal(signal.SIGTERM)
  text = _end(process)
  assert "saving and exiting within 0.2 s; a second" in text
  assert "not saved within 0.2 s: exiting" in text


def test_processes_agree():
  """What one of them is asked, all of them do."""
  asked = []

  def agree(flags):
    asked.append(tuple(flags))
    return True, False

  stop = preemption.Stop(agree=agree)
  assert stop.poll(True) == (True, False)
  assert asked == [(False, True)]
  with pytest.raises(preemption.Preempted, match="another process"):
    stop.check()
  # Where processes wait for themselves, there is nothing to agree on.
  stop.check_waiting()
  # They agree once: whoever asks again gets the same answer.
  assert len(asked) == 1


def test_handlers_are_put_back():
  before = [signal.getsignal(number) for number in preemption.SIGNALS]
  with preemption.Stop():
    pass
  assert [signal.getsignal(n) for n in preemption.SIGNALS] == before
  assert "signals" not in {thread.name for thread in threading.enumerate()}
