"""Predictions, scores and what is shown of them.

One path for `train.py` and `eval.py`: `make_tasks` reads the config's list,
the caller brings each task's examples, `run` asks and scores, and `report`
writes. Evaluators see plain example dicts (see `examples`) and a predictor;
no dataset, no config.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kosmos2_jax.evals.examples import Example
from kosmos2_jax.evals.grounded_captioning import GroundedCaption
from kosmos2_jax.evals.rec import ReferringExpression
from kosmos2_jax.evals.report import (
  draw_predictions,
  make_table,
  sample_pictures,
  write_results,
)
from kosmos2_jax.evals.results import Results, Sample, TaskResult

__all__ = [
  "EVALUATORS",
  "Results",
  "Sample",
  "Task",
  "TaskResult",
  "draw_predictions",
  "make_table",
  "make_tasks",
  "run",
  "sample_pictures",
  "write_results",
]

EVALUATORS: dict[str, type] = {
  evaluator.name: evaluator
  for evaluator in (ReferringExpression, GroundedCaption)
}


@dataclasses.dataclass(frozen=True)
class Task:
  """One entry of a config's list of evaluations.

  Attributes:
    name: prefix of its scores.
    evaluator: does the asking and scoring.
    dataset: where the caller takes the examples from.
    split: of the dataset.
    num_examples: how many while training; 0: none, negative: all.
    final_examples: how many at the end; negative: all.
    where: a field; only examples are asked about that have it, and not empty.
  """

  name: str
  evaluator: Any
  dataset: str
  split: str
  num_examples: int = -1
  final_examples: int = -1
  where: str = ""

  def final_count(self, available: int, limit: int | None = None) -> int:
    """How many examples are asked for at the end.

    Args:
      available: examples of the split.
      limit: the caller's own; None: no other than the task's.
    """
    wishes = [self.final_examples] if self.final_examples >= 0 else []
    return min([available, *wishes, *([] if limit is None else [limit])])


def make_tasks(
  entries: Iterable[Mapping[str, Any]], names: Sequence[str] | None = None
) -> dict[str, Task]:
  """Reads a config's evaluations.

  Args:
    entries: plain dicts with the fields of `Task`, `evaluator` as a name of
      `EVALUATORS`, and `options`, the evaluator's arguments.
    names: which of them are wanted, in this order; None: all.

  Returns:
    Tasks by name.

  Raises:
    ValueError: for an unknown evaluator or name, wrong options, or a name
      that two entries have.
  """
  tasks: dict[str, Task] = {}
  for entry in entries:
    fields = dict(entry)
    name, kind = fields["name"], fields.pop("evaluator")
    options = dict(fields.pop("options", {}))
    if name in tasks:
      raise ValueError(
        f"two evaluations of the config are named {name!r}; rename one."
      )
    if kind not in EVALUATORS:
      raise ValueError(
        f"evaluation {name!r} wants the evaluator {kind!r}; there are"
        f" {sorted(EVALUATORS)}."
      )
    try:
      evaluator = EVALUATORS[kind](**options)
    except (TypeError, ValueError) as error:
      raise ValueError(
        f"evaluation {name!r} has wrong options for {kind!r}: {error}"
      ) from error
    tasks[name] = Task(evaluator=evaluator, **fields)
  if names is None:
    return tasks
  unknown = [name for name in names if name not in tasks]
  if unknown:
    raise ValueError(
      f"the config has no evaluation {unknown[0]!r}; it has"
      f" {sorted(tasks) or 'none'}."
    )
  return {name: tasks[name] for name in names}


def run(
  predictor: Any,
  tasks: Mapping[str, Task],
  examples: Mapping[str, Iterable[Example]],
  *,
  batch_size: int = 32,
  limit: int | None = None,
  num_pictures: int = 0,
  progress: Callable[[str, int], None] | None = None,
) -> Results:
  """Runs every task, one after the other.

  Args:
    predictor: a `Predictor`, or anything with the methods that the tasks'
      evaluators call.
    tasks: see `make_tasks`.
    examples: for each task its examples, in order; read once, lazily.
    batch_size: questions asked at once.
    limit: at most this many examples of each task; None: all that come.
    num_pictures: judged pictures to keep, shared out among the tasks.
    progress: called with a task's name and how many examples are done.

  Raises:
    ValueError: if a task has no examples, or such that it cannot use; names
      the task.
  """
  found: dict[str, TaskResult] = {}
  for index, (name, task) in enumerate(tasks.items()):
    # The first tasks get what does not divide.
    share = len(range(index, num_pictures, len(tasks)))

    def on_batch(count: int, name: str = name) -> None:
      if progress is not None:
        progress(name, count)

    try:
      found[name] = task.evaluator.run(
        predictor,
        itertools.islice(examples[name], limit),
        batch_size=batch_size,
        num_samples=share,
        on_batch=on_batch,
      )
    except ValueError as error:
      raise ValueError(f"evaluation {name!r}: {error}") from error
  return Results(found)
