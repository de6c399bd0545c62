"""Processes that do the same thing at the same step, without asking each step.

    process   polls before step …           what it does
    0         5   6   7  (8)                at 6 it wants to stop, and says so
    1         6   7  (8)                    hears it at 7, tells that it is at 7
    all                8                    the first poll that none has begun

As long as nobody wants anything, a poll asks nobody: it neither waits nor
sends. A wish comes to the others with their next beat (see `peers`).
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

_WISHES, _PLACES = "kosmos2_jax/wish", "kosmos2_jax/place"
_POLL_SECONDS = 0.05


class Agreement:
  """What any process wants, seen by all at the same call of `agree`.

  Args:
    client: of the coordination service.
    index: number of this process.
    count: how many there are.
    late: makes an exception of the seconds that were waited and the numbers of
      those who came.
    seconds: how long to wait for the others.
  """

  def __init__(
    self,
    client: Any,
    index: int,
    count: int,
    late: Callable[[float, Sequence[int]], Exception],
    seconds: float,
  ):
    self._client = client
    self._index = index
    self._count = count
    self._late = late
    self._seconds = seconds
    self._lock = threading.Lock()
    self._round = 0  # how often something was agreed upon
    self._polls = 0
    self._wanted: list[bool] = []
    self._said = self._told = False
    self._agreed: tuple[int, list[bool]] | None = None

  def agree(self, flags: Sequence[bool]) -> Sequence[bool]:
    """From what this process wants to what any process wants.

    All call it equally often, each time with equally many flags. A wish comes
    back by one of the next calls, by the same one on all processes.

    Raises:
      Exception: `late`, if a process does not say where it is.
    """
    with self._lock:
      self._polls += 1
      if not self._wanted:
        self._wanted = [False] * len(flags)
      self._wanted = [a or b for a, b in zip(self._wanted, flags, strict=True)]
      wish = any(self._wanted) and not self._said and not self._told
      told = self._told
    if wish:
      self._said = True
      self._client.key_value_set(f"{_WISHES}/{self._round}/it", "1", True)
    if told and self._agreed is None:
      self._agreed = self._meet()
    if self._agreed is None or self._polls < self._agreed[0]:
      return [False] * len(flags)
    _, result = self._agreed
    with self._lock:
      self._round += 1
      self._said = self._told = False
      self._agreed = None
      # What comes now was wanted until now; the rest is another round's.
      self._wanted = [
        want and not comes
        for want, comes in zip(self._wanted, result, strict=True)
      ]
    return result

  def on_beat(self) -> None:
    """Tells where this process is, once somebody wants something."""
    if self._told:
      return
    if not self._client.key_value_dir_get(f"{_WISHES}/{self._round}"):
      return
    with self._lock:
      # This process goes on to its next poll and waits there for the others.
      self._told = True
      place = json.dumps([self._polls, self._wanted])
      key = f"{_PLACES}/{self._round}/{self._index}"
    self._client.key_value_set(key, place)

  def _meet(self) -> tuple[int, list[bool]]:
    """The poll that all will come to, and what any of them wants."""
    deadline = time.monotonic() + self._seconds
    folder = f"{_PLACES}/{self._round}"
    while True:
      found = self._client.key_value_dir_get(folder)
      if len(found) == self._count:
        break
      if time.monotonic() > deadline:
        here = [int(key.rpartition("/")[2]) for key, _ in found]
        raise self._late(self._seconds, here)
      time.sleep(_POLL_SECONDS)
    places = [json.loads(place) for _, place in found]
    # Who has not polled yet wants nothing.
    wishes = [wanted for _, wanted in places if wanted]
    return (
      max(polls for polls, _ in places) + 1,
      [any(flags) for flags in zip(*wishes, strict=True)],
    )
