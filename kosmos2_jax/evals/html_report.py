"""The report for people: one HTML file with numbers, bars and pictures.

The file needs nothing beside itself: pictures and styles are in it, there is
no script, and its content policy forbids all of it to ask for anything. Every
text is escaped by Jinja2.
"""

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
from etils import epath

import kosmos2_jax
from kosmos2_jax.evals import bootstrap, cases, comparison, html_cards
from kosmos2_jax.evals.protocol import Outcome


class Plot(NamedTuple):
  """A row's numbers as places on a line, in percent of its length."""

  value: float | None
  interval: tuple[float, float] | None
  published: tuple[float, ...]


class Bar(NamedTuple):
  """A category's value; `length` in percent of the longest possible."""

  name: str
  value: str
  length: float


class Bars(NamedTuple):
  """A metric by category; `overall` is its place, in percent."""

  metric: str
  bars: tuple[Bar, ...]
  overall: float | None


def write(
  outcomes: Mapping[str, Outcome],
  tasks: Mapping[str, Any],
  path: str | os.PathLike,
  *,
  title: str,
  checkpoint: str,
  config: str,
  command: Sequence[str],
  step: int | None,
  not_run: Mapping[str, str] | None = None,
) -> None:
  """Writes `report.html`, whole or not at all.

  The same arguments give the same bytes.

  Args:
    outcomes: of `evals.run`, with the cases and pictures to show.
    tasks: the `evals.Task`s that were run: dataset and split.
    path: of the file.
    title: its heading.
    checkpoint: where the parameters came from.
    config: name of the config.
    command: that was given, word by word.
    step: training step of the parameters, where known.
    not_run: tasks that were wanted and not run -> why.
  """
  sections = [
    _section(number, name, outcome, tasks[name])
    for number, (name, outcome) in enumerate(outcomes.items(), 1)
  ]
  facts = {
    "checkpoint": checkpoint,
    "step": None if step is None else f"{step:,}",
    "config": config,
    "version": f"kosmos2_jax {kosmos2_jax.__version__}",
  }
  counts = [
    len(card.entries)
    for section in sections
    for _, cards in section["cases"]
    for card in cards
  ]
  text = _template().render(
    title=title,
    facts={key: value for key, value in facts.items() if value is not None},
    command=shlex.join(command),
    sections=sections,
    not_run=dict(not_run or {}),
    intervals=bootstrap.PROTOCOL,
    num_phrases=max(counts, default=0),
    canvas=html_cards.CANVAS,
  )
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.parent / f"{path.name}.tmp"
  try:
    # Half of a surrogate pair is no character; a model may have copied one.
    unfinished.write_bytes(text.encode("utf-8", "replace"))
    unfinished.replace(path)
  except BaseException:
    unfinished.unlink(missing_ok=True)
    raise


def _template() -> jinja2.Template:
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("kosmos2_jax.evals", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  return environment.get_template("report.html")


def _section(
  number: int, name: str, outcome: Outcome, task: Any
) -> dict[str, Any]:
  """What the template says of a task."""
  scores = outcome.scores
  shown = []
  rows = comparison.rows(outcome, task)
  for row in rows:
    shown.append(
      {
        "metric": row.metric,
        "is_main": row.is_main,
        "value": comparison.number(row.value, row.scale),
        "interval": comparison.interval(row),
        "published": [
          {
            "value": comparison.printed(one),
            "difference": comparison.difference(row, one),
            "source": one.source,
          }
          for one in row.published
        ],
        "plot": plot(row),
      }
    )
  kinds = [kind for kind in cases.KINDS if kind in outcome.cases]
  kinds += [kind for kind in outcome.cases if kind not in kinds]
  return {
    "anchor": f"task-{number}",
    "name": name,
    "evaluator": outcome.evaluator.name,
    "version": outcome.evaluator.version,
    "protocol": outcome.evaluator.protocol,
    "data": " / ".join((task.dataset, task.split)),
    "n": f"{scores.n:,}",
    "rows": shown,
    "counts": {
      key.replace("_", " "): f"{count:,}"
      for key, count in scores.counts.items()
    },
    "notes": scores.notes,
    "categories": [
      _bars(metric, values, outcome)
      for metric, values in scores.categories.items()
      if values
    ],
    "cases": [
      (
        kind,
        [html_cards.make_card(outcome, index) for index in outcome.cases[kind]],
      )
      for kind in kinds
      if outcome.cases[kind]
    ],
  }


def _top(values: Sequence[float], scale: float) -> float:
  """Where a line of values ends: at the scale, or behind what is above it."""
  highest = max(values, default=0.0)
  return scale if highest <= scale else 1.05 * highest


def _place(value: float, top: float) -> float:
  return round(100 * min(max(value / top, 0.0), 1.0), 2)


def plot(row: comparison.Row) -> Plot:
  """Places a row's numbers on a line from 0 to the scale.

  The line is longer where a number is above the scale.
  """
  printed = [one.value for one in row.published]
  values = [*printed, *([] if row.value is None else [row.value])]
  top = _top([*values, *(row.interval or ())], row.scale)
  return Plot(
    None if row.value is None else _place(row.value, top),
    None
    if row.interval is None
    else (_place(row.interval[0], top), _place(row.interval[1], top)),
    tuple(_place(value, top) for value in printed),
  )


def _bars(metric: str, values: Mapping[str, float], outcome: Outcome) -> Bars:
  overall = outcome.scores.metrics.get(metric)
  scale = 1.0 if overall is None else overall.scale
  finite = [value for value in values.values() if math.isfinite(value)]
  top = _top(finite, scale)
  bars = tuple(
    Bar(
      name,
      comparison.number(value if math.isfinite(value) else None, scale),
      _place(value, top) if math.isfinite(value) else 0.0,
    )
    for name, value in values.items()
  )
  has_place = overall is not None and math.isfinite(overall.value)
  return Bars(metric, bars, _place(overall.value, top) if has_place else None)
