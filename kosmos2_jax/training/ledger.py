"""Where the time of a run went: lines of JSON, and what they add up to.

Every moment of a process that trains belongs to one line of `ledger.jsonl`,
written when it is over: seconds, and what they were for.

start        from the command to the first step, restoring included
compile      until the first step could be dispatched
steps        from step `first` to before step `end`
evaluation, save         what the steps had to wait for
stop         what was left, and the reason

A process that is killed leaves no `stop`; what came after its last line counts
as time away.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from etils import epath

FILE = "ledger.jsonl"
# Longer stretches of steps are written in parts: a kill costs no more.
_LONGEST_SECONDS = 60.0

Event = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Account:
  """What a ledger adds up to; times in seconds.

  Attributes:
    starts: how often the command was started.
    seconds: while it ran, by what for; `steps` without those done again.
    lost_seconds: of steps that a later start had to do again.
    lost_steps: how many.
    away: between the last line of a process and the start of the next.
  """

  starts: int
  seconds: Mapping[str, float]
  lost_seconds: float
  lost_steps: int
  away: float

  @property
  def total(self) -> float:
    """Seconds in which the command ran."""
    return sum(self.seconds.values()) + self.lost_seconds

  @property
  def goodput(self) -> float:
    """The part of `total` that made steps which count."""
    return self.seconds.get("steps", 0.0) / self.total if self.total else 0.0

  def __str__(self) -> str:
    parts = [f"{name} {_clock(s)}" for name, s in self.seconds.items() if s > 0]
    if self.lost_steps:
      parts.append(
        f"{self.lost_steps} step(s) done again {_clock(self.lost_seconds)}"
      )
    text = (
      f"goodput {100 * self.goodput:.1f} % of {_clock(self.total)} in"
      f" {self.starts} start(s): {', '.join(parts)}"
    )
    return text + (f"; away {_clock(self.away)}" if self.away > 0 else "")


def account(events: Iterable[Event]) -> Account:
  """Adds up events, in the order in which they were written."""
  seconds = defaultdict(float)
  done = []  # first, end and seconds of steps that still count
  starts = lost_steps = 0
  lost_seconds = away = 0.0
  last = None
  for event in events:
    kind, spent = event["event"], event["seconds"]
    if kind == "start":
      starts += 1
      away += 0.0 if last is None else event["time"] - spent - last
      kept = []
      for first, end, of_steps in done:
        cut = min(max(first, event["step"]), end)
        lost = of_steps * (end - cut) / (end - first)
        lost_steps += end - cut
        lost_seconds += lost
        if cut > first:
          kept.append((first, cut, of_steps - lost))
      done = kept
    if kind == "steps":
      done.append((event["first"], event["end"], spent))
    else:
      seconds[kind] += spent
    last = event["time"]
  trained = sum((of_steps for _, _, of_steps in done), 0.0)
  return Account(
    starts, {"steps": trained, **seconds}, lost_seconds, lost_steps, away
  )


class Ledger:
  """Writes the ledger of a workdir; lines that cannot be written wait.

  Args:
    workdir: None: nothing is written.
    clock: seconds since the epoch.
  """

  def __init__(
    self,
    workdir: str | os.PathLike | None,
    clock: Callable[[], float] = time.time,
  ):
    self._clock = clock
    self._path = None if workdir is None else epath.Path(workdir) / FILE
    self._mark = clock()
    self._next_step = 0
    self._started = False
    self._text = ""
    self._unwritten = ""
    if self._path is not None and self._path.exists():
      self._text = self._path.read_text()

  def start(self, step: int) -> None:
    """The run goes on from a step."""
    self._next_step = step
    self._started = True
    self._lap("start", step=step)

  def steps(self, end: int, *, now: bool = True) -> None:
    """The steps before `end` are done.

    Args:
      end: the number of steps done.
      now: False: only if there is much to write down.
    """
    late = self._clock() - self._mark >= _LONGEST_SECONDS
    if end > self._next_step and (now or late):
      self._lap("steps", first=self._next_step, end=end)
      self._next_step = end

  def compiled(self, step: int) -> None:
    """The first step, number `step`, was dispatched."""
    self._lap("compile", step=step)

  def spent(self, kind: str, step: int) -> None:
    """The time since the last line went to `kind`."""
    self._lap(kind, step=step)

  @contextlib.contextmanager
  def telling(self, say: Callable[[str], None]) -> Iterator[None]:
    """Says what the ledger adds up to, before and after; writes the end.

    Args:
      say: takes a line.
    """
    if self._text:
      say(f"so far: {self.account()}")
    reason = "finished"
    try:
      yield
    except BaseException as error:
      reason = f"{type(error).__name__}: {error}"[:200]
      raise
    finally:
      if self._started:  # else it was refused, and cost the run nothing
        self._lap("stop", step=self._next_step, reason=reason)
        say(str(self.account()))

  def account(self) -> Account:
    """What all lines add up to, those of earlier processes included."""
    return account(read(self._text))

  def _lap(self, kind, **fields):
    now = self._clock()
    seconds, self._mark = now - self._mark, now
    event = {"time": now, "event": kind, "seconds": seconds, **fields}
    line = json.dumps(event) + "\n"
    if self._text and not self._text.endswith("\n"):
      line = "\n" + line  # a process was killed while it wrote
    self._text += line
    self._unwritten += line
    with contextlib.suppress(OSError):  # a full disk must not end the run
      self._write()

  def _write(self):
    if self._path is None:
      return
    self._path.parent.mkdir(parents=True, exist_ok=True)
    if "://" in os.fspath(self._path):
      self._path.write_text(self._text)  # object stores cannot append
    else:
      with open(self._path, "a") as file:
        file.write(self._unwritten)
    self._unwritten = ""


def read(text: str) -> list[Event]:
  """The events of a ledger; a line that a kill cut off is left out."""
  events = []
  for line in text.splitlines():
    try:
      events.append(json.loads(line))
    except json.JSONDecodeError:
      continue
  return events


def _clock(seconds):
  return str(datetime.timedelta(seconds=round(seconds)))
