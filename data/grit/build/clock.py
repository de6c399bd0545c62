"""Where the time of a build goes."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
# What is no step: handing over, and the account.
REST = "rest"


class Clock:
  """Seconds of each step. A step in a step stops the outer one's clock."""

  def __init__(self, steps: Sequence[str]):
    """Starts with the time of no step running."""
    self._seconds = dict.fromkeys((*steps, REST), 0.0)
    self._running = [REST]
    self._since = time.perf_counter()

  @contextlib.contextmanager
  def step(self, name: str) -> Iterator[None]:
    """What is done in it takes the time of this step."""
    self._charge()
    self._running.append(name)
    try:
      yield
    finally:
      self._charge()
      self._running.pop()

  def over(self, name: str, values: Iterable[T]) -> Iterator[T]:
    """The values, which take the time of a step to come."""
    iterator = iter(values)
    while True:
      with self.step(name):
        try:
          value = next(iterator)
        except StopIteration:
          return
      yield value

  def stop(self) -> dict[str, float]:
    """The seconds of all steps and of what is none."""
    self._charge()
    return {name: round(spent, 4) for name, spent in self._seconds.items()}

  @staticmethod
  def peak_mebibytes() -> float:
    """The most memory that this process ever had, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS tells bytes where others tell KiB.
    return round(peak / (1 << (20 if sys.platform == "darwin" else 10)), 1)

  def _charge(self) -> None:
    now = time.perf_counter()
    self._seconds[self._running[-1]] += now - self._since
    self._since = now
