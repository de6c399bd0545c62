"""Our numbers beside the published ones: what tables and files are made of."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kosmos2_jax.evals import bootstrap
from kosmos2_jax.evals.protocol import Outcome, Published


class Row(NamedTuple):
  """A metric of a task.

  Attributes:
    metric: its name.
    value: None where it could not be computed (the task's notes say why).
    interval: 95 %, in the same scale; None where there is none.
    scale: 1.0, or 100.0 for percent.
    published: what others printed; several where several models or papers did.
    is_main: the task's first metric, or one that somebody printed.
  """

  metric: str
  value: float | None
  interval: bootstrap.Interval | None
  scale: float
  published: tuple[Published, ...]
  is_main: bool


def rows(outcome: Outcome, task: Any = None) -> list[Row]:
  """One for each metric, and for each published one that has no value here.

  Args:
    outcome: of the task.
    task: with `dataset` and `split`, to look for published numbers.
  """
  printed: dict[str, list[Published]] = {}
  if task is not None:
    for one in outcome.evaluator.published(task.dataset, task.split):
      printed.setdefault(one.metric, []).append(one)
  metrics = outcome.scores.metrics
  intervals = bootstrap.of(outcome)
  found = []
  for index, name in enumerate(dict.fromkeys((*metrics, *printed))):
    metric = metrics.get(name)
    valued = metric is not None and np.isfinite(metric.value)
    found.append(
      Row(
        metric=name,
        value=float(metric.value) if valued else None,
        interval=intervals.get(name),
        scale=1.0 if metric is None else metric.scale,
        published=tuple(printed.get(name, ())),
        is_main=index == 0 or name in printed,
      )
    )
  return found


def all_rows(
  outcomes: Mapping[str, Outcome], tasks: Mapping[str, Any] | None = None
) -> dict[str, list[Row]]:
  """The rows of each task."""
  return {
    name: rows(outcome, None if tasks is None else tasks[name])
    for name, outcome in outcomes.items()
  }


def number(value: float | None, scale: float = 1.0) -> str:
  """A value in as many digits as its field writes; a dash for none."""
  if value is None:
    return "–"
  return f"{value:.2f}" if scale == 100 else f"{value:.4f}"


def printed(published: Published) -> str:
  """A published value in the digits that it was printed with, four at most."""
  text = f"{published.value:.4f}".rstrip("0")
  return f"{text}0" if text.endswith(".") else text


def interval(row: Row) -> str:
  """The interval of a row, or a dash."""
  if row.interval is None:
    return "–"
  low, high = (number(end, row.scale) for end in row.interval)
  return f"{low} – {high}"


def difference(row: Row, published: Published) -> str:
  """How much more we have, with its sign, or a dash."""
  if row.value is None:
    return "–"
  gap = number(abs(row.value - published.value), row.scale)
  # The sign of what is printed, so that nothing reads "-0.00".
  if float(gap) == 0:
    return gap
  return ("+" if row.value > published.value else "−") + gap
