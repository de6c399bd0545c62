"""What people see of an evaluation: a table, a file of numbers, a picture."""

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8
from PIL import Image
from rich.table import Table

import kosmos2_jax
from kosmos2_jax import visualize
from kosmos2_jax.evals.results import Results, Sample

FORMAT = 1  # of results.json
MAX_COLUMNS = 6


def make_table(results: Results) -> Table:
  """Returns a table for the console: one line per metric."""
  table = Table(title="evaluation")
  for name in ("task", "metric"):
    table.add_column(name)
  for name in ("value", "n"):
    table.add_column(name, justify="right")
  for task, result in results.tasks.items():
    for i, (metric, value) in enumerate(result.metrics.items()):
      first = (task, str(result.n)) if i == 0 else ("", "")
      table.add_row(first[0], metric, f"{value:.4f}", first[1])
    table.add_section()
  return table


def write_results(
  results: Results,
  path: str | os.PathLike,
  *,
  tasks: Mapping[str, Any],
  config: str,
  checkpoint: str,
  step: int | None,
) -> None:
  """Writes `results.json`, whole or not at all.

  Args:
    results: of `evals.run`.
    path: of the file.
    tasks: the `evals.Task`s that were run: dataset and split.
    config: name of the config.
    checkpoint: where the parameters came from.
    step: their training step, where known.
  """
  content = {
    "format": FORMAT,
    "kosmos2_jax": kosmos2_jax.__version__,
    "config": config,
    "checkpoint": checkpoint,
    "step": step,
    "tasks": {
      name: {
        "evaluator": result.evaluator,
        "version": result.version,
        "dataset": tasks[name].dataset,
        "split": tasks[name].split,
        "n": result.n,
        "metrics": dict(result.metrics),
        "counts": dict(result.counts),
        "protocol": result.protocol,
      }
      for name, result in results.tasks.items()
    },
  }
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.parent / f"{path.name}.tmp"
  unfinished.write_text(json.dumps(content, indent=2) + "\n")
  unfinished.replace(path)


def draw_predictions(results: Results, path: str | os.PathLike) -> None:
  """Writes `predictions.png`: what the model said beside what is true.

  Predicted boxes are solid, true ones dashed; the words are beneath. The
  pictures are the first ones of each task, whatever the model made of them;
  each task begins a row.

  Args:
    results: of `evals.run` with `num_pictures`.
    path: of the file.

  Raises:
    ValueError: if no picture was kept.
  """
  longest = max(
    (len(result.samples) for result in results.tasks.values()), default=0
  )
  # One row for each task if it can be, else rows that make a handy picture.
  columns = longest if longest <= MAX_COLUMNS else 4
  grids = [
    visualize.grid([_draw(task, sample) for sample in result.samples], columns)
    for task, result in results.tasks.items()
    if result.samples
  ]
  if not grids:
    raise ValueError("no picture was kept; run the tasks with num_pictures.")
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  encoded = io.BytesIO()
  visualize.grid(grids, columns=1).save(encoded, "PNG")
  path.write_bytes(encoded.getvalue())


def sample_pictures(
  results: Results,
) -> dict[str, UInt8[np.ndarray, "height width 3"]]:
  """Each kept picture by itself, drawn as in `predictions.png`.

  By a name that stays the same from one evaluation to the next, as the
  examples do: `TASK/picture_00` and so on.
  """
  return {
    f"{task}/picture_{index:02d}": np.asarray(_draw(task, sample))
    for task, result in results.tasks.items()
    for index, sample in enumerate(result.samples)
  }


def _draw(task: str, sample: Sample) -> Image.Image:
  return visualize.draw_grounding(
    sample.image,
    sample.predicted,
    sample.annotated,
    [[(task, visualize.GRAY)], *sample.lines],
  )
