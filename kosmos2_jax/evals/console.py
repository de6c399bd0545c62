"""How far an evaluation is: bars on a terminal, else a line now and then."""

import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

from kosmos2_jax.evals.engine import Progress

LOG_SECONDS = 60.0  # between two lines where there is no terminal


class Bars:
  """A bar for each task, while it is entered.

  Args:
    console: where to.
    totals: examples of each task; negative where nobody knows.
    clock: seconds; for tests.
  """

  def __init__(
    self,
    console: Console,
    totals: Mapping[str, int],
    clock: Callable[[], float] = time.monotonic,
  ):
    self._console = console
    self._totals = {
      name: total if total >= 0 else None for name, total in totals.items()
    }
    self._clock = clock
    self._speeds: dict[str, _Speed] = {}
    self._said = clock()
    self._bars = RichProgress(
      TextColumn("{task.description}"),
      BarColumn(),
      MofNCompleteColumn(),
      TextColumn("{task.fields[speed]}"),
      console=console,
      disable=not console.is_terminal,
    )
    self._ids = {
      name: self._bars.add_task(name, total=total, speed="")
      for name, total in self._totals.items()
    }

  def __enter__(self) -> "Bars":
    self._bars.start()
    return self

  def __exit__(self, *_) -> None:
    self._bars.stop()

  def show(self, name: str, done: Progress) -> None:
    """Shows how far a task is."""
    now = self._clock()
    if name not in self._speeds:
      self._speeds[name] = _Speed(self._totals[name])
    speed = self._speeds[name].text(done, now)
    self._bars.update(self._ids[name], completed=done.examples, speed=speed)
    if not self._console.is_terminal and now - self._said >= LOG_SECONDS:
      self._said = now
      total = self._totals[name]
      among = "" if total is None else f" of {total}"
      line = f"{name}: {done.examples}{among} examples{speed and ', '}{speed}"
      self._console.print(line, soft_wrap=True, highlight=False)


class _Speed:
  """Pictures (or questions) a second, and what is left.

  The clock starts behind the first batch that was asked: it compiles, and
  those before it were answered in an earlier run.
  """

  def __init__(self, total: int | None):
    self._total = total
    self._start: tuple[Progress, float] | None = None

  def text(self, done: Progress, now: float) -> str:
    if done.questions == done.kept:
      return ""
    if self._start is None:
      self._start = done, now
      return ""
    first, since = self._start
    seconds = now - since
    if seconds <= 0:
      return ""
    what, count = "pictures", done.pictures - first.pictures
    if not done.pictures:
      what, count = "questions", done.questions - first.questions
    parts = [f"{count / seconds:.1f} {what}/s"]
    examples = done.examples - first.examples
    if self._total is not None and examples:
      left = (self._total - done.examples) * seconds / examples
      parts.append(f"{_duration(left)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours} h {minutes:02} min"
  return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
