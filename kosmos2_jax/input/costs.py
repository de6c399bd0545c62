"""What work costs: time of the processor and of the clock, and memory."""

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

# Idle for this long means that nothing works any more: long enough for a busy
# machine to give every thread its turn.
IDLE_SECONDS = 0.2


class Cost(NamedTuple):
  """Milliseconds of one example.

  Attributes:
    cpu: of the processor, in all threads.
    wall: of the clock.
  """

  cpu: float
  wall: float


def medians(costs: Sequence[Cost]) -> Cost:
  """The median of each."""
  return Cost(*map(statistics.median, zip(*costs, strict=True)))


def measure(work: Callable[[], Any], examples: int) -> Cost:
  """What `work` costs, divided by its examples."""
  cpu, wall = time.process_time(), time.perf_counter()
  work()
  cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
  return Cost(1e3 * cpu / examples, 1e3 * wall / examples)


def settle() -> None:
  """Waits until no thread works any more."""
  while True:
    before = time.process_time()
    time.sleep(IDLE_SECONDS)
    if time.process_time() - before < IDLE_SECONDS / 50:
      return


def rest(whole: Cost, *parts: Cost) -> Cost:
  """What of a cost is not that of its parts."""
  of_parts = map(sum, zip(*parts, strict=True))
  return Cost(*(max(0.0, a - b) for a, b in zip(whole, of_parts, strict=True)))


def resident_mebibytes() -> float:
  """Memory of this process that is not swapped out (Linux).

  Raises:
    OSError: the system does not say.
  """
  with open("/proc/self/statm") as file:
    pages = int(file.read().split()[1])
  return pages * resource.getpagesize() / 2**20
