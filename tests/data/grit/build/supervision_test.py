"""Processes that die, fail or cannot start, and that none is left behind."""

import functools
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from data.grit.build import supervision
from data.grit.build.child import Refused
from data.grit.build.supervision import Pool, Stopped


def make_work(folder, fail_to_start=None):
  """What the children of these tests do with (what, name)."""
  if fail_to_start == "raise":
    raise FileNotFoundError("there is no model")
  if fail_to_start == "die":
    os.kill(os.getpid(), signal.SIGKILL)

  def work(task):
    what, name = task
    path = pathlib.Path(folder) / f"{name}.tries"
    tries = len(path.read_text()) if path.exists() else 0
    path.write_text("x" * (tries + 1))
    if what == "die" or (what == "die once" and not tries):
      os.kill(os.getpid(), signal.SIGKILL)
    if what == "leave":
      os._exit(3)
    if what == "raise":
      raise KeyError("box")
    if what == "refuse":
      raise Refused("another build")
    if what == "sleep":
      time.sleep(60)
    return os.environ.get("OMP_NUM_THREADS"), os.getpid()

  return work


@pytest.fixture
def make_pool(tmp_path):
  pools = []

  def make(size=1, environment=None, **how):
    pools.append(
      Pool(functools.partial(make_work, tmp_path, **how), size, environment)
    )
    return pools[-1]

  yield make
  for pool in pools:
    pool.stop()


def is_alive(pid):
  """Whether a process runs; one that has ended and waits for its parent not."""
  try:
    state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
  except FileNotFoundError:
    return False
  return state.split()[0] != "Z"


@pytest.mark.slow
def test_tries_again_and_goes_on(make_pool, tmp_path):
  pool = make_pool(environment={"OMP_NUM_THREADS": "7"})
  first = pool.run(("work", "a"))
  assert (first.error, first.tries, first.result[0]) == ("", 1, "7")
  assert "OMP_NUM_THREADS" not in os.environ
  # One process does task after task, with its models loaded.
  assert pool.run(("work", "b")).result == first.result
  once = pool.run(("die once", "c"))
  assert (once.error, once.tries) == ("", 2)
  assert once.result[1] != first.result[1]
  assert not is_alive(first.result[1])
  always = pool.run(("die", "d"))
  assert always == (None, "the process was killed by signal 9", 2)
  assert (tmp_path / "d.tries").read_text() == "xx"
  left = pool.run(("leave", "e"))
  assert left == (None, "the process ended with status 3", 2)
  failed = pool.run(("raise", "f"))
  assert failed.error.startswith("KeyError: 'box' (supervision_test.py, line ")
  assert failed.tries == 2
  with pytest.raises(Refused, match="another build"):
    pool.run(("refuse", "g"))
  assert pool.run(("work", "h")).error == ""


@pytest.mark.slow
@pytest.mark.parametrize(
  ("how", "message"),
  [
    ("raise", "there is no model"),
    ("die", "killed by signal 9 while it loaded what it needs"),
  ],
)
def test_cannot_start(make_pool, how, message):
  with pytest.raises(Refused, match=message):
    make_pool(fail_to_start=how).run(("work", "a"))


def test_what_does_not_pickle():
  with pytest.raises(Refused, match="no process can be started"):
    Pool(lambda: None, 1).run(("work", "a"))


@pytest.mark.slow
def test_stop_ends_what_is_done(make_pool):
  pool = make_pool()
  _, pid = pool.run(("work", "a")).result
  told = []

  def wait():
    try:
      pool.run(("sleep", "b"))
    except Stopped:
      told.append("stopped")

  thread = threading.Thread(target=wait)
  thread.start()
  time.sleep(0.3)
  pool.stop()
  thread.join(10)
  assert told == ["stopped"]
  assert not is_alive(pid)
  with pytest.raises(Stopped):
    pool.run(("work", "c"))


@pytest.mark.slow
def test_no_more_children_than_places(make_pool):
  pool = make_pool(size=2)
  pids = []
  threads = [
    threading.Thread(
      target=lambda n=n: pids.append(pool.run(("work", f"{n}")).result[1])
    )
    for n in range(6)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(pids) == 6
  assert len(set(pids)) <= 2
  pool.rest()
  assert not any(map(is_alive, pids))
  assert pool.run(("work", "x")).result[1] not in pids


PARENT = """
import functools, os, signal
from data.grit.build.supervision import Pool
from tests.data.grit.build.supervision_test import make_work
if __name__ == "__main__":
  pool = Pool(functools.partial(make_work, {folder!r}), 1)
  print(pool.run(("work", "a")).result[1], flush=True)
  pool.run(("sleep", "b"))
"""


@pytest.mark.slow
def test_children_end_with_their_parent(tmp_path):
  script = tmp_path / "parent.py"
  script.write_text(PARENT.format(folder=str(tmp_path)))
  root = pathlib.Path(__file__).parents[4]
  with subprocess.Popen(
    [sys.executable, str(script)],
    env=os.environ | {"PYTHONPATH": str(root)},
    stdout=subprocess.PIPE,
    text=True,
  ) as parent:
    pid = int(parent.stdout.readline())
    while not (tmp_path / "b.tries").exists():
      time.sleep(0.05)
    assert is_alive(pid)
    parent.kill()
  ends = time.monotonic() + 10
  while is_alive(pid) and time.monotonic() < ends:
    time.sleep(0.05)
  assert not is_alive(pid)


def test_pools_are_shared_by_key():
  made = []

  def make():
    made.append(Pool(make_work, 1))
    return made[-1]

  try:
    first = supervision.shared_pool("a key", make)
    assert supervision.shared_pool("a key", make) is first
    supervision.rest_pool("a key")
    supervision.rest_pool("no such key")
  finally:
    supervision.stop_pool("a key")
  assert supervision.shared_pool("a key", make) is not first
  supervision.stop_pool("a key")
  assert len(made) == 2


def test_threads_of_a_child(monkeypatch):
  monkeypatch.setenv("OMP_NUM_THREADS", "5")
  for name in ("NPROC", "XLA_FLAGS"):
    monkeypatch.delenv(name, raising=False)
  found = supervision.thread_variables(2)
  assert found["NPROC"] == "2"
  assert "XLA_FLAGS" not in found
  # The user knows better.
  assert "OMP_NUM_THREADS" not in found
  assert "eigen=false" in supervision.thread_variables(1)["XLA_FLAGS"]
