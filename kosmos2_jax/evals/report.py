"""What people see of an evaluation: tables, a file of numbers, a picture."""

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8
from PIL import Image
from rich.markup import escape
from rich.table import Table

import kosmos2_jax
from kosmos2_jax import visualize
from kosmos2_jax.evals import bootstrap, comparison
from kosmos2_jax.evals.protocol import Json, Outcome

FORMAT = 2  # of results.json
MAX_COLUMNS = 6


def make_table(
  outcomes: Mapping[str, Outcome], tasks: Mapping[str, Any] | None = None
) -> Table:
  """Returns a table for the console: one line per metric.

  Args:
    outcomes: of `evals.run`.
    tasks: the `evals.Task`s that were run (dataset and split), to print
      published numbers beside ours; None: without.
  """
  table = Table(title="evaluation")
  for name in ("task", "metric"):
    table.add_column(name)
  for name in ("value", "95 % interval", "published", "n"):
    table.add_column(name, justify="right", no_wrap=True)
  for task, rows in comparison.all_rows(outcomes, tasks).items():
    for i, row in enumerate(rows):
      printed = " / ".join(map(comparison.printed, row.published))
      table.add_row(
        escape(task) if i == 0 else "",
        escape(row.metric),
        comparison.number(row.value, row.scale),
        comparison.interval(row),
        printed,
        str(outcomes[task].scores.n) if i == 0 else "",
      )
    table.add_section()
  return table


def markdown_table(
  outcomes: Mapping[str, Outcome], tasks: Mapping[str, Any]
) -> str:
  """The published numbers beside ours, in Markdown.

  A line for the first metric of each task and for each published number;
  notes stand beneath the table.

  Args:
    outcomes: of `evals.run`.
    tasks: the `evals.Task`s that were run: dataset and split.
  """
  lines = [
    "| task | metric | ours | 95 % interval | published | difference | n"
    " | published by |",
    "|---|---|--:|:-:|--:|--:|--:|---|",
  ]
  notes = []
  for task, rows in comparison.all_rows(outcomes, tasks).items():
    scores = outcomes[task].scores
    for row in (row for row in rows if row.is_main):
      ours = (
        comparison.number(row.value, row.scale),
        comparison.interval(row),
      )
      for one in row.published or (None,):
        theirs = ("–", "–", str(scores.n), "")
        if one is not None:
          theirs = (
            comparison.printed(one),
            comparison.difference(row, one),
            str(scores.n),
            one.source,
          )
        cells = map(_cell, (task, row.metric, *ours, *theirs))
        lines.append(f"| {' | '.join(cells)} |")
    notes += [f"- {_cell(task)}: {_cell(note)}" for note in scores.notes]
  return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _cell(text: str) -> str:
  """Text that does not end a cell or a line of a table."""
  return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


def write_results(
  outcomes: Mapping[str, Outcome],
  path: str | os.PathLike,
  *,
  tasks: Mapping[str, Any],
  config: str,
  checkpoint: str,
  checkpoint_hash: str | None,
  step: int | None,
  command: Sequence[str],
  not_run: Mapping[str, str],
) -> None:
  """Writes `results.json`, whole or not at all.

  The same arguments give the same bytes: there is no date in it.

  Args:
    outcomes: of `evals.run`.
    path: of the file.
    tasks: the `evals.Task`s that were run: dataset and split.
    config: name of the config.
    checkpoint: where the parameters came from.
    checkpoint_hash: what tells them from all others, where known.
    step: their training step, where known.
    command: that was given, word by word.
    not_run: tasks that were wanted and not run -> why.
  """
  content = {
    "format": FORMAT,
    "kosmos2_jax": kosmos2_jax.__version__,
    "config": config,
    "checkpoint": checkpoint,
    "checkpoint_hash": checkpoint_hash,
    "step": step,
    "command": list(command),
    "intervals": bootstrap.PROTOCOL,
    "tasks": {
      name: _task_json(outcome, tasks[name])
      for name, outcome in outcomes.items()
    },
    "not_run": dict(not_run),
  }
  text = json.dumps(content, indent=2, allow_nan=False) + "\n"
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.parent / f"{path.name}.tmp"
  try:
    unfinished.write_text(text)
    unfinished.replace(path)
  except BaseException:
    unfinished.unlink(missing_ok=True)
    raise


def _task_json(outcome: Outcome, task: Any) -> Json:
  scores, evaluator = outcome.scores, outcome.evaluator
  metrics = {}
  for row in comparison.rows(outcome, task):
    metrics[row.metric] = {"value": row.value, "interval": row.interval}
    if row.published:
      metrics[row.metric]["published"] = [
        {"value": float(one.value), "source": one.source}
        for one in row.published
      ]
  return {
    "evaluator": evaluator.name,
    "version": evaluator.version,
    "protocol": evaluator.protocol,
    "dataset": task.dataset,
    "split": task.split,
    "n": int(scores.n),
    "metrics": metrics,
    "counts": {name: int(count) for name, count in scores.counts.items()},
    "categories": {
      metric: {name: _finite(value) for name, value in values.items()}
      for metric, values in scores.categories.items()
    },
    "notes": list(scores.notes),
  }


def _finite(value: float) -> float | None:
  """JSON has no other numbers."""
  return float(value) if np.isfinite(value) else None


def draw_predictions(
  outcomes: Mapping[str, Outcome], path: str | os.PathLike
) -> None:
  """Writes `predictions.png`: what the model said beside what is true.

  Predicted boxes are solid, true ones dashed; the words are beneath. Each task
  begins a row and, if all its cases do not fit into one, each kind of case
  (worst, best, random).

  Args:
    outcomes: of `evals.run` with pictures kept.
    path: of the file.

  Raises:
    ValueError: if no picture was kept.
  """
  drawn = [list(_drawn(task, outcome)) for task, outcome in outcomes.items()]
  rows = []
  for cases in drawn:
    kinds = dict.fromkeys(kind for kind, _, _ in cases)
    by_kind = [[p for k, _, p in cases if k == kind] for kind in kinds]
    if len(cases) <= MAX_COLUMNS:
      by_kind = [[p for pictures in by_kind for p in pictures]]
    rows += filter(None, by_kind)
  if not rows:
    raise ValueError("no picture was kept; run the tasks with num_pictures.")
  longest = max(map(len, rows))
  # One row for each if it can be, else rows that make a handy picture.
  columns = longest if longest <= MAX_COLUMNS else 4
  grids = [visualize.grid(pictures, columns) for pictures in rows]
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  encoded = io.BytesIO()
  visualize.grid(grids, columns=1).save(encoded, "PNG")
  path.write_bytes(encoded.getvalue())


def sample_pictures(
  outcomes: Mapping[str, Outcome],
) -> dict[str, UInt8[np.ndarray, "height width 3"]]:
  """Each kept picture by itself, drawn as in `predictions.png`.

  By a name that stays the same from one evaluation to the next, as the random
  cases do: `TASK/random_00` and so on.
  """
  return {
    f"{task}/{kind}_{index:02d}": np.asarray(picture)
    for task, outcome in outcomes.items()
    for kind, index, picture in _drawn(task, outcome)
  }


def _drawn(
  task: str, outcome: Outcome
) -> Iterator[tuple[str, int, Image.Image]]:
  """Kind, number within it and drawing of each case."""
  for kind, indices in outcome.cases.items():
    for number, index in enumerate(indices):
      view = outcome.evaluator.view(outcome.records[index])
      heading = f"{task} · {kind}"
      lines = [[(heading, visualize.GRAY)], *view.lines]
      pictures = outcome.pictures.get(index, ())
      if not pictures:  # A task of text alone.
        paper = visualize.add_lines(None, lines, min_width=512)
        yield kind, number, paper
        continue
      # Where several are shown to the model, the last is the one asked about.
      yield (
        kind,
        number,
        visualize.draw_grounding(
          pictures[-1], view.predicted, view.annotated, lines
        ),
      )
