"""Child processes that may die without harm: each keeps its models loaded.

A decoder's fault, a machine without memory left or a kill ends a child, not
the program: what it was at is given to a fresh child, and only then given up.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from data.grit.build.child import Child, Died, Refused, Work

# How often a task is given to a child before it counts as failed.
TRIES = 2
_POOLS: dict[str, "Pool"] = {}
_POOLS_LOCK = threading.Lock()


class Stopped(Exception):
  """The pool was stopped while, or before, a task was done."""


class Outcome(NamedTuple):
  """Of a task.

  Attributes:
    result: what the work returned, None where it failed.
    error: why the last try failed; "" where it did not.
    tries: how many there were.
  """

  result: Any
  error: str
  tries: int


class Pool:
  """Up to `size` children, made when they are needed. Threads may share it."""

  def __init__(
    self,
    make: Callable[[], Work],
    size: int,
    environment: Mapping[str, str] | None = None,
  ):
    """Starts nothing yet.

    Args:
      make: called in each new child for what it does with tasks; it has to
        pickle. Whatever it raises is told by `run` as `Refused`.
      size: how many children there are at most.
      environment: variables that children have beside those of this process.
    """
    self._make = make
    self._environment = dict(environment or {})
    self._places = threading.Semaphore(size)
    self._lock = threading.Lock()
    self._idle: list[Child] = []
    self._busy: set[Child] = set()
    self._stopped = False

  def run(self, task: Any) -> Outcome:
    """Gives a task to a child, and waits for the result.

    Raises:
      Refused: by the work; or no child can be started.
      Stopped: `stop` was called.
    """
    error = ""
    with self._places:
      for number in range(TRIES):
        with self._child() as child:
          try:
            kind, answer = child.ask(task)
          except Died as died:
            kind, answer = "error", str(died)
          if kind == "refused":
            raise Refused(answer)
          if kind == "done":
            child.is_good = True
            return Outcome(answer, "", number + 1)
          error = answer
    return Outcome(None, error, TRIES)

  def rest(self) -> None:
    """Ends the children that have nothing to do; others come as needed."""
    with self._lock:
      idle, self._idle = self._idle, []
    for child in idle:
      child.kill()

  def stop(self) -> None:
    """Ends all children at once; whoever waits for one is told `Stopped`."""
    with self._lock:
      self._stopped = True
      children = [*self._idle, *self._busy]
      self._idle = []
    for child in children:
      child.kill()

  @contextlib.contextmanager
  def _child(self) -> Iterator["Child"]:
    """A child that is ready; kept for others if it turns out to be good."""
    child = self._take()
    try:
      yield child
      self._check_stopped()
    finally:
      with self._lock:
        self._busy.discard(child)
        keep = child.is_good and not self._stopped
        if keep:
          self._idle.append(child)
      if not keep:
        child.kill()

  def _take(self) -> "Child":
    with self._lock:
      if self._idle and not self._stopped:
        child = self._idle.pop()
        child.is_good = False
        self._busy.add(child)
        return child
    for _ in range(TRIES):
      self._check_stopped()
      child = Child(self._make, self._environment)
      with self._lock:
        self._busy.add(child)
      try:
        kind, answer = child.receive()
      except Died as died:
        kind, answer = "dead", f"{died} while it loaded what it needs"
      if kind == "ready":
        return child
      with self._lock:
        self._busy.discard(child)
      child.kill()
      self._check_stopped()
      if kind == "refused":
        break
    raise Refused(answer)

  def _check_stopped(self) -> None:
    with self._lock:
      if self._stopped:
        raise Stopped


def shared_pool(key: str, make: Callable[[], Pool]) -> Pool:
  """The pool of a key in this process, made by whoever asks first."""
  with _POOLS_LOCK:
    if key not in _POOLS:
      _POOLS[key] = make()
    return _POOLS[key]


def stop_pool(key: str) -> None:
  """Stops the pool of a key, if there is one."""
  with _POOLS_LOCK:
    pool = _POOLS.pop(key, None)
  if pool is not None:
    pool.stop()


def rest_pool(key: str) -> None:
  """Ends the children of a key's pool that have nothing to do."""
  with _POOLS_LOCK:
    pool = _POOLS.get(key)
  if pool is not None:
    pool.rest()


def thread_variables(threads: int) -> dict[str, str]:
  """Variables that hold a process to so many threads of computing.

  Without them every child would take all cores for itself. Those that the
  user has set stay.
  """
  names = [
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    "NPROC",  # XLA's pool of threads.
  ]
  variables = {name: str(threads) for name in names}
  variables["TOKENIZERS_PARALLELISM"] = "false"
  # Several processes on one accelerator cannot each take most of its memory.
  variables["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
  if threads == 1:
    variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
  return {k: v for k, v in variables.items() if k not in os.environ}
