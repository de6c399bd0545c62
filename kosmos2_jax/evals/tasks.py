"""What a config says of an evaluation."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import Any

from kosmos2_jax.evals.examples import Example

# Names of scores, and of folders.
_NAME = re.compile(r"[\w+-][\w.+-]*")
# Examples among which solved ones are looked for.
SUPPORT = 1024


@dataclasses.dataclass(frozen=True)
class Task:
  """One entry of a config's list of evaluations.

  Attributes:
    name: prefix of its scores, and its folder.
    evaluator: does the asking and scoring, a `protocol.Evaluator`.
    dataset: where the caller takes the examples from; "" where the evaluator
      reads none.
    split: of the dataset.
    num_examples: how many while training; 0: none, negative: all.
    final_examples: how many at the end; negative: all.
    where: a field; only examples are asked about that have it, and not empty.
    options: the evaluator was made with.
  """

  name: str
  evaluator: Any
  dataset: str
  split: str
  num_examples: int = -1
  final_examples: int = -1
  where: str = ""
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def final_count(self, available: int | None, limit: int | None = None) -> int:
    """How many examples are asked for at the end; negative: all.

    Args:
      available: examples of the split; None where the evaluator brings its
        own questions, whose number nobody knows.
      limit: the caller's own; None: no other than the task's.
    """
    wish = self.final_examples if self.final_examples >= 0 else None
    known = [n for n in (available, wish, limit) if n is not None]
    return min(known, default=-1)

  def header(self, count: int) -> dict[str, Any]:
    """What answers to the task depend on, beside the model; for `Store`.

    Args:
      count: how many examples are asked about; negative: all.
    """
    return {
      "task": self.name,
      "evaluator": self.evaluator.name,
      "version": self.evaluator.version,
      "protocol": self.evaluator.protocol,
      "options": dict(self.options),
      "dataset": self.dataset,
      "split": self.split,
      "where": self.where,
      "limit": count,
    }


def final_counts(
  tasks: Mapping[str, Task],
  sources: Mapping[str, Sized],
  limit: int | None = None,
) -> dict[str, int]:
  """`Task.final_count` of every task, by name.

  Args:
    tasks: that are run.
    sources: of those that read examples.
    limit: see `Task.final_count`.
  """
  return {
    name: task.final_count(
      len(sources[name]) if name in sources else None, limit
    )
    for name, task in tasks.items()
  }


def with_support(
  tasks: Mapping[str, Task],
  read: Callable[[str, str, int], Iterable[Example]],
) -> tuple[dict[str, Task], dict[str, Exception]]:
  """Gives evaluators the solved examples that they show before questions.

  Args:
    tasks: those whose evaluator has `with_support` and `shots` above 0 get
      examples of the split `support` of their data set.
    read: from data set, split and how many at most to examples.

  Returns:
    The tasks that have what they need, and for each other one why not.
  """
  found, missing = {}, {}
  for name, task in tasks.items():
    evaluator = task.evaluator
    if getattr(evaluator, "shots", 0) and hasattr(evaluator, "with_support"):
      try:
        examples = read(task.dataset, evaluator.support, SUPPORT)
        evaluator = evaluator.with_support(examples)
      except (OSError, ValueError) as error:
        missing[name] = error
        continue
    found[name] = dataclasses.replace(task, evaluator=evaluator)
  return found, missing


def make_tasks(
  entries: Iterable[Mapping[str, Any]],
  evaluators: Mapping[str, type],
  names: Sequence[str] | None = None,
) -> dict[str, Task]:
  """Reads a config's evaluations; see `evals.make_tasks`."""
  tasks: dict[str, Task] = {}
  for entry in entries:
    fields = dict(entry)
    name, kind = fields["name"], fields.pop("evaluator")
    options = dict(fields.pop("options", {}))
    if name in tasks:
      raise ValueError(
        f"two evaluations of the config are named {name!r}; rename one."
      )
    if not _NAME.fullmatch(name):
      raise ValueError(
        f"an evaluation of the config is named {name!r}, which is to be a"
        " folder; use letters, digits and _ - + . alone."
      )
    if kind not in evaluators:
      raise ValueError(
        f"evaluation {name!r} wants the evaluator {kind!r}; there are"
        f" {sorted(evaluators)}."
      )
    try:
      evaluator = evaluators[kind](**options)
    except (TypeError, ValueError) as error:
      raise ValueError(
        f"evaluation {name!r} has wrong options for {kind!r}: {error}"
      ) from error
    tasks[name] = Task(evaluator=evaluator, options=options, **fields)
  if names is None:
    return tasks
  unknown = [name for name in names if name not in tasks]
  if unknown:
    raise ValueError(
      f"the config has no evaluation {unknown[0]!r}; it has"
      f" {sorted(tasks) or 'none'}."
    )
  return {name: tasks[name] for name in names}
