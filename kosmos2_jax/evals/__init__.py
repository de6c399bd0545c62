"""Predictions, scores and what is shown of them.

One path for `train.py` and `eval.py`: `make_tasks` reads the config's list,
the caller brings each task's examples, `run` asks, keeps and scores, and
`report` writes. Evaluators see plain example dicts (see `examples`) and a
predictor; no dataset, no config.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kosmos2_jax.evals import cases, engine
from kosmos2_jax.evals import tasks as _tasks
from kosmos2_jax.evals.average_precision import PhraseAveragePrecision
from kosmos2_jax.evals.captioning import Caption
from kosmos2_jax.evals.console import Bars
from kosmos2_jax.evals.engine import Progress
from kosmos2_jax.evals.examples import Again, Example
from kosmos2_jax.evals.expression_generation import ExpressionGeneration
from kosmos2_jax.evals.grounded_captioning import GroundedCaption
from kosmos2_jax.evals.language import LanguageChoice
from kosmos2_jax.evals.outputs import open_stores, write_all
from kosmos2_jax.evals.phrase_grounding import PhraseGrounding
from kosmos2_jax.evals.pope import ObjectHallucination
from kosmos2_jax.evals.protocol import Evaluator, Outcome
from kosmos2_jax.evals.rec import ReferringExpression
from kosmos2_jax.evals.report import (
  draw_predictions,
  make_table,
  sample_pictures,
)
from kosmos2_jax.evals.results import Results
from kosmos2_jax.evals.seed_bench import SeedBench
from kosmos2_jax.evals.store import Store
from kosmos2_jax.evals.tasks import Task, final_counts, with_support
from kosmos2_jax.evals.vqa import VisualQuestionAnswering

__all__ = [
  "EVALUATORS",
  "Again",
  "Bars",
  "Evaluator",
  "Outcome",
  "Progress",
  "Results",
  "Store",
  "Task",
  "draw_predictions",
  "final_counts",
  "make_table",
  "make_tasks",
  "open_stores",
  "run",
  "sample_pictures",
  "with_support",
  "write_all",
]

EVALUATORS: dict[str, type] = {
  evaluator.name: evaluator
  for evaluator in (
    ReferringExpression,
    PhraseGrounding,
    PhraseAveragePrecision,
    GroundedCaption,
    Caption,
    ExpressionGeneration,
    VisualQuestionAnswering,
    ObjectHallucination,
    SeedBench,
    LanguageChoice,
  )
}


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
    ValueError: for an unknown evaluator or name, wrong options, a name that
      two entries have, or one that cannot be a folder.
  """
  return _tasks.make_tasks(entries, EVALUATORS, names)


def run(
  predictor: Any,
  tasks: Mapping[str, Task],
  examples: Mapping[str, Iterable[Example]],
  *,
  batch_size: int = 32,
  limit: int | None = None,
  num_pictures: int = 0,
  seed: int = 0,
  stores: Mapping[str, Store] | None = None,
  not_run: Mapping[str, str] | None = None,
  progress: Callable[[str, Progress], None] | None = None,
) -> Results:
  """Runs every task, one after the other.

  Args:
    predictor: a `Predictor`, or anything with the methods that the tasks'
      evaluators call.
    tasks: see `make_tasks`.
    examples: for each task that reads any its examples, in order; read
      lazily.
    batch_size: questions asked at once.
    limit: at most this many examples of each task (questions, where the task
      brings its own); None: all that come.
    num_pictures: judged pictures to keep, shared out among the tasks. Where
      it is not 0, the examples are read twice (see `Again`).
    seed: of the cases that are drawn.
    stores: where answers of a task are kept and found again; a task without
      one is asked anew each time.
    not_run: tasks that the caller could not bring examples of -> why, to be
      told in the results.
    progress: called with a task's name and how far it is.

  Returns:
    The outcomes. A task that brings its own questions and lacks the files or
    the package it makes them from is not run, and named with the reason.

  Raises:
    ValueError: if a task has no examples, or such that it cannot use, or its
      store belongs to another run; names the task.
  """
  found: dict[str, Outcome] = {}
  missing = dict(not_run or {})
  for index, (name, task) in enumerate(tasks.items()):
    # The first tasks get what does not divide.
    share = len(range(index, num_pictures, len(tasks)))

    def on_batch(done: Progress, name: str = name) -> None:
      if progress is not None:
        progress(name, done)

    try:
      found[name] = engine.run(
        predictor,
        task.evaluator,
        examples.get(name, ()),
        batch_size=batch_size,
        limit=_own_limit(task, limit),
        store=(stores or {}).get(name),
        choose=functools.partial(cases.choose, seed=seed),
        # Of each kind of case: the best, the worst, and some others.
        num_pictures=-(-share // 3),
        progress=on_batch,
      )
    except ValueError as error:
      raise ValueError(f"evaluation {name!r}: {error}") from error
    except (FileNotFoundError, ImportError) as error:
      if task.evaluator.reads_examples:
        raise
      missing[name] = " ".join(str(error).split())
  return Results(found, missing)


def _own_limit(task: Task, limit: int | None) -> int | None:
  """`limit`, and what the task says itself where no caller counts for it."""
  if task.evaluator.reads_examples or task.final_examples < 0:
    return limit
  if limit is None:
    return task.final_examples
  return min(task.final_examples, limit)
