"""The numbers of a run as lines on charts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kosmos2_jax.training.report import axes
from kosmos2_jax.training.report.reading import Row, is_number

# Points of a line that are drawn.
MAX_POINTS = 400
# With at most so many, points are marked.
MAX_DOTS = 40
# Side of a drawing, which is stretched to its place.
CANVAS = 1000
_TRAIN = "train/"
_KIND = "loss/"

Points = tuple[tuple[int, float], ...]


class Wanted(NamedTuple):
  """A chart of numbers of training; `names` without `train/`."""

  title: str
  names: tuple[str, ...]
  may_be_log: bool = False
  percent: bool = False


# Those that are missing are left out; `loss/…` follow the loss.
TRAINING = (
  Wanted("Loss", ("loss",), may_be_log=True),
  Wanted("Accuracy", ("accuracy",)),
  Wanted("Gradient norm", ("grad_norm",), may_be_log=True),
  Wanted("Learning rate", ("learning_rate",)),
  Wanted("Tokens per second", ("tokens_per_sec",)),
  Wanted("MFU, %", ("mfu",), percent=True),
  Wanted("Input wait, % of the time", ("input_wait",), percent=True),
  Wanted(
    "Memory, GiB",
    ("device_memory_gib", "device_memory_peak_gib", "process_memory_gib"),
  ),
  Wanted("Skipped steps", ("num_skipped",)),
)


class Line(NamedTuple):
  """A line of a chart.

  Attributes:
    name: in the key.
    path: of SVG, on a square of `CANVAS`.
    dots: another one, of points alone; "" if they are many.
    summary: a sentence for those who do not see it.
  """

  name: str
  path: str
  dots: str
  summary: str


class Chart(NamedTuple):
  """A chart; places are in percent, from the left and from the top.

  Attributes:
    title: above it.
    scale: "log scale", or "".
    newest: the last value of the first line.
    lines: at least one.
    across: place and label of the ticks below.
    up: of those beside it.
    starts: where a process went on with the run.
    data: JSON for the script: names, steps, places and values of the points.
  """

  title: str
  scale: str
  newest: str
  lines: tuple[Line, ...]
  across: tuple[tuple[float, str], ...]
  up: tuple[tuple[float, str], ...]
  starts: tuple[float, ...]
  data: str


def collect(rows: Iterable[Row]) -> dict[str, Points]:
  """Steps and values of each number; of equal steps the last value counts."""
  found: dict[str, dict[int, float]] = {}
  for row in rows:
    for name, value in row.items():
      if name not in ("step", "time") and is_number(value):
        found.setdefault(name, {})[row["step"]] = float(value)
  return {name: tuple(sorted(by.items())) for name, by in found.items()}


def thin(points: Points, most: int = MAX_POINTS) -> Points:
  """The least and the greatest of each stretch, where points are many.

  All that is left are points of the line; its first and last ones are there,
  and so are the extremes.
  """
  if len(points) <= most:
    return points
  length = -(-len(points) // max((most - 2) // 2, 1))
  kept = {points[0], points[-1]}
  for begin in range(0, len(points), length):
    stretch = points[begin : begin + length]
    kept.add(min(stretch, key=lambda point: point[1]))
    kept.add(max(stretch, key=lambda point: point[1]))
  return tuple(sorted(kept))


def training_charts(
  numbers: Mapping[str, Points], last: int, starts: Sequence[int]
) -> list[Chart]:
  """Charts of the numbers of training.

  Args:
    numbers: see `collect`.
    last: the last step of all charts.
    starts: steps at which a process went on with the run.
  """
  found = []
  for wanted in TRAINING:
    lines = {
      name: numbers[_TRAIN + name]
      for name in wanted.names
      if _TRAIN + name in numbers
    }
    if wanted.names == ("loss",):
      kinds = [n for n in numbers if n.startswith(_TRAIN + _KIND)]
      # Of one kind the loss is that of all.
      for name in kinds if len(kinds) > 1 else ():
        lines[name.removeprefix(_TRAIN + _KIND)] = numbers[name]
    if not lines:
      continue
    if wanted.percent:
      lines = {
        name: tuple((step, 100 * value) for step, value in points)
        for name, points in lines.items()
      }
    found.append(
      make_chart(
        wanted.title, lines, last, starts, may_be_log=wanted.may_be_log
      )
    )
  return found


def score_charts(
  numbers: Mapping[str, Points], last: int, starts: Sequence[int]
) -> dict[str, list[Chart]]:
  """Charts of the scores of evaluations, by task."""
  found: dict[str, list[Chart]] = {}
  for name, points in numbers.items():
    if name.startswith(_TRAIN):
      continue
    task, _, metric = name.rpartition("/")
    chart = make_chart(metric, {metric: points}, last, starts)
    found.setdefault(task, []).append(chart)
  return found


def make_chart(
  title: str,
  lines: Mapping[str, Points],
  last: int,
  starts: Sequence[int] = (),
  *,
  may_be_log: bool = False,
) -> Chart:
  """Draws lines, each with at least one point."""
  thinned = {name: thin(points) for name, points in lines.items()}
  values = [v for points in thinned.values() for _, v in points]
  across = axes.steps(last)
  up = axes.fitting(min(values), max(values), may_be_log=may_be_log)
  first = next(iter(lines.values()))
  data = [
    {
      "name": name,
      "steps": [step for step, _ in points],
      "x": [_percent(across.place(float(step))) for step, _ in points],
      "y": [_percent(1 - up.place(value)) for _, value in points],
      "values": [precise(value) for _, value in points],
    }
    for name, points in thinned.items()
  ]
  return Chart(
    title=title,
    scale="log scale" if up.is_log else "",
    newest=precise(first[-1][1]),
    lines=tuple(
      Line(
        name,
        _path(points, across, up),
        _dots(points, across, up),
        _summary(name, lines[name]),
      )
      for name, points in thinned.items()
    ),
    across=_ticks(across),
    up=tuple((_percent(1 - p / 100), label) for p, label in _ticks(up)),
    starts=tuple(
      _percent(across.place(float(step))) for step in starts if step <= last
    ),
    data=json.dumps(data),
  )


def _ticks(axis: axes.Axis) -> tuple[tuple[float, str], ...]:
  pairs = zip(axis.ticks, axis.labels, strict=True)
  return tuple((_percent(axis.place(tick)), label) for tick, label in pairs)


def _percent(part: float) -> float:
  return round(100 * part, 2)


def _places(points, across, up):
  for step, value in points:
    x, y = across.place(float(step)), 1 - up.place(value)
    yield f"{CANVAS * x:.4g} {CANVAS * y:.4g}"


def _path(points: Points, across: axes.Axis, up: axes.Axis) -> str:
  return "M" + "L".join(_places(points, across, up))


def _dots(points: Points, across: axes.Axis, up: axes.Axis) -> str:
  if len(points) > MAX_DOTS:
    return ""
  # A line of no length with round ends stays round, however it is stretched.
  return "".join(f"M{place}h0" for place in _places(points, across, up))


def _summary(name: str, points: Points) -> str:
  (first, begin), (last, end) = points[0], points[-1]
  if len(points) == 1:
    return f"{name}: {precise(end)} at step {last:,}."
  least = min(points, key=lambda point: point[1])
  most = max(points, key=lambda point: point[1])
  return (
    f"{name}: {precise(begin)} at step {first:,}, {precise(end)} at step"
    f" {last:,}; least {precise(least[1])} at step {least[0]:,}, greatest"
    f" {precise(most[1])} at step {most[0]:,}."
  )


def precise(value: float) -> str:
  """A number in four or five digits, those above 1,000 whole."""
  if value and abs(value) < 1e-3:
    return f"{value:.3e}".replace("e-0", "e-")
  if abs(value) >= 1000:
    return f"{value:,.0f}"
  return f"{value:.5g}" if abs(value) >= 1 else f"{value:.4g}"


def table(
  numbers: Mapping[str, Points], names: Sequence[str], most: int
) -> list[tuple[str, list[str]]]:
  """Steps with a cell for each number, "" where there is none.

  Args:
    numbers: see `collect`.
    names: of the columns.
    most: rows that are kept, evenly, with the first and the last one.
  """
  columns: list[Mapping[int, Any]] = [dict(numbers[name]) for name in names]
  steps = sorted({step for column in columns for step in column})
  if len(steps) > most:
    last = len(steps) - 1
    steps = [steps[round(i * last / (most - 1))] for i in range(most)]
  return [
    (
      f"{step:,}",
      [precise(column[step]) if step in column else "" for column in columns],
    )
    for step in steps
  ]
