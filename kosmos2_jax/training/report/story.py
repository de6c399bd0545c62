"""What became of a run: its state, its starts, and where the time went."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kosmos2_jax.training import ledger
from kosmos2_jax.training.report.curves import Points
from kosmos2_jax.training.report.reading import Run, is_number

# Starts that are listed: the first ones, and the newest.
FIRST_STARTS, NEWEST_STARTS = 3, 27

_USES = {
  "steps": "steps that count",
  "start": "starting",
  "compile": "compiling",
  "evaluation": "evaluations",
  "save": "saving",
  "stop": "stopping",
}


class State(NamedTuple):
  """How a run is.

  Attributes:
    word: "running", "finished", "stopped" or "not begun".
    reason: a sentence beside it, or "".
  """

  word: str
  reason: str


class Start(NamedTuple):
  """One process of a run.

  Attributes:
    number: from 1.
    when: it began.
    first: steps that were done when it began.
    last: when it ended, as far as it says.
    end: why it ended.
    lost: steps of it that were done again.
  """

  number: int
  when: str
  first: int
  last: int
  end: str
  lost: int


class Use(NamedTuple):
  """What time went to; `share` in percent of all."""

  kind: str
  name: str
  time: str
  share: float


def steps_done(run: Run) -> int:
  """Updates that were made and count."""
  starts = processes(run.events)
  if starts:
    return starts[-1].last
  return max((row["step"] for row in run.rows), default=0)


def state(run: Run, *, is_going: bool) -> State:
  """What the ledger says.

  Args:
    run: read from a workdir.
    is_going: whether this process trains it.
  """
  if not run.events:
    return State("running" if is_going else "not begun", "")
  last = run.events[-1]
  if last["event"] != "stop":
    if is_going:
      return State("running", "")
    ends = moment(float(last["time"]))
    return State(
      "running", f"or killed: its ledger ends {ends} without a stop."
    )
  reason = str(last.get("reason", ""))
  if reason != "finished":
    return State("stopped", reason)
  done, wanted = steps_done(run), run.num_steps
  early = wanted is not None and done < wanted
  return State("finished", "before the last step" if early else "")


def processes(events: Sequence[ledger.Event]) -> list[Start]:
  """The starts of a run, in order."""
  found: list[Start] = []
  for event in events:
    kind = event["event"]
    if kind == "start":
      if found:
        last = found[-1]
        lost = max(last.last - event["step"], 0)
        end = last.end or "killed: it left no word"
        found[-1] = last._replace(end=end, lost=lost)
      begin = moment(float(event["time"] - event["seconds"]))
      step = event["step"]
      found.append(Start(len(found) + 1, begin, step, step, "", 0))
    elif found and kind == "steps":
      found[-1] = found[-1]._replace(last=event["end"])
    elif found and kind == "stop":
      found[-1] = found[-1]._replace(end=str(event.get("reason", "")))
  return found


def listed(starts: Sequence[Start]) -> tuple[Sequence[Start], int]:
  """The first and the newest starts, and how many of those between are not."""
  omitted = len(starts) - FIRST_STARTS - NEWEST_STARTS
  if omitted <= 0:
    return starts, 0
  return [*starts[:FIRST_STARTS], *starts[-NEWEST_STARTS:]], omitted


def uses(account: ledger.Account) -> list[Use]:
  """Where the time went, the steps first."""
  seconds = {"steps": account.seconds.get("steps", 0.0)}
  seconds["again"] = account.lost_seconds
  seconds |= account.seconds
  names = _USES | {"again": f"{account.lost_steps:,} steps done again"}
  return [
    Use(
      kind,
      names.get(kind, kind),
      clock(float(spent)),
      round(100 * spent / account.total, 2),
    )
    for kind, spent in seconds.items()
    if spent > 0
  ]


def best(
  numbers: Mapping[str, Points], config: Mapping[str, Any]
) -> tuple[str, float, int] | None:
  """Name, value and step of the best score that checkpoints are chosen by."""
  section = config.get("checkpoint")
  section = section if isinstance(section, dict) else {}
  name = section.get("best_metric")
  if not isinstance(name, str) or name not in numbers:
    return None
  sign = -1 if section.get("best_mode", "max") == "max" else 1
  step, value = min(numbers[name], key=lambda point: (sign * point[1], point))
  return name, value, step


def final_scores(
  results: Mapping[str, Any],
) -> list[tuple[str, str, list[tuple[str, str, str]]]]:
  """Of the evaluation at the end: task, n, and its metrics.

  A metric is name, value and interval, "–" where there is none.
  """
  found = []
  for task, content in results.get("tasks", {}).items():
    rows = [
      (metric, _score(numbers["value"]), _interval(numbers.get("interval")))
      for metric, numbers in content["metrics"].items()
      if is_number(numbers["value"])
    ]
    if rows:
      found.append((task, f"{content['n']:,}", rows))
  return found


def _score(value: float) -> str:
  return f"{value:.2f}" if abs(value) > 1 else f"{value:.4f}"


def _interval(interval: Sequence[float] | None) -> str:
  return " – ".join(map(_score, interval)) if interval else "–"


def moment(seconds: float) -> str:
  """A moment since 1970, the same whoever reads it."""
  when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
  return f"{when:%Y-%m-%d %H:%M} UTC"


def clock(seconds: float) -> str:
  """A time in words: 12.3 s, 3 min 05 s, 2 h 03 min, 4 d 05 h."""
  if seconds < 60:
    return f"{seconds:.1f} s"
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f"{minutes} min {rest:02} s"
  hours, minutes = divmod(minutes, 60)
  if hours < 48:
    return f"{hours} h {minutes:02} min"
  return f"{hours // 24} d {hours % 24:02} h"
