"""A process that trains with one system, an update whenever it is asked.

Systems that are compared live in processes of their own, side by side: threads
of one that still spin when the other's turn begins, and memory that one leaves
to the other, are no part of what users of either see.
"""

import multiprocessing
import re
import resource
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from kosmos2_jax.benchmarks import training_systems


class Update(NamedTuple):
  """One update.

  Attributes:
    loss: before it.
    seconds: of the clock.
    processor_seconds: of all threads of the process together.
  """

  loss: float
  seconds: float
  processor_seconds: float


class Worker:
  """A system in a process of its own, which ends with the context.

  What happens there raises here, with the same exception.

  Attributes:
    compile_seconds: what making the step took; None for a system without.
  """

  def __init__(self, name: str, work: training_systems.Work):
    self._name = name
    self._pool = make_pool()
    try:
      self.compile_seconds = self._pool.apply(_start, (name, work))
    except BaseException:
      self._pool.terminate()
      raise

  def __enter__(self) -> "Worker":
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    where: TracebackType | None,
  ) -> None:
    self._pool.terminate()

  def step(self) -> Update:
    """Makes an update."""
    return self._pool.apply(_step, (self._name,))

  def peak(self) -> float:
    """GB by which the process has grown at most, since libraries are loaded.

    From loading the weights through all updates so far.
    """
    return self._pool.apply(_peak_growth, (self._name,))

  def weights(self) -> dict[str, np.ndarray]:
    """The weights by Hugging Face's names."""
    return self._pool.apply(_weights, (self._name,))


def make_pool() -> Any:
  """A process that has nothing from this one."""
  return multiprocessing.get_context("spawn").Pool(1)


# Of the worker's process.
_systems: dict[str, Any] = {}
_before: dict[str, float] = {}


def _start(name, work):
  training_systems.load_libraries(name)
  _before[name] = peak_memory()
  _systems[name] = training_systems.make(name, work)
  return getattr(_systems[name], "compile_seconds", None)


def _step(name):
  clock, processor = time.perf_counter(), time.process_time()
  loss = _systems[name].step()
  return Update(
    loss, time.perf_counter() - clock, time.process_time() - processor
  )


def _peak_growth(name):
  return peak_memory() - _before[name]


def _weights(name):
  return dict(_systems[name].weights())


def peak_memory() -> float:
  """GB, the most this process has held.

  Not `ru_maxrss` where there is another way: what a child is told there begins
  with what its parent held.
  """
  status = Path("/proc/self/status")
  if status.is_file():
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(found[1]) * 1024 / 1e9
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
