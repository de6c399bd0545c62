"""Asks the questions of a task in batches, keeps the answers, scores them.

Only a window of questions is in memory with their pictures; texts and answers
of all are. Pictures that are shown in a report are fetched at the end, by
going through the examples once more.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kosmos2_jax.evals import batching
from kosmos2_jax.evals.batching import Numbered
from kosmos2_jax.evals.examples import Example
from kosmos2_jax.evals.protocol import (
  Evaluator,
  Outcome,
  Question,
  Record,
  Scores,
)
from kosmos2_jax.evals.store import Memory, Store, check_same, plain

# From scores, records and how many of a kind to which are shown.
Choose = Callable[
  [Scores, Sequence[Record], int], Mapping[str, tuple[int, ...]]
]


class Progress(NamedTuple):
  """How far a task is.

  Attributes:
    examples: done, about: a batch has questions about several.
    questions: done.
    pictures: done.
    kept: those of the questions that were answered in an earlier run.
  """

  examples: int
  questions: int
  pictures: int
  kept: int


class _Counted:
  """Examples, and how many of them were taken."""

  def __init__(self, examples: Iterable[Example]):
    self._examples = iter(examples)
    self.count = 0

  def __iter__(self) -> Iterator[Example]:
    for example in self._examples:
      self.count += 1
      yield example


def run(
  predictor: Any,
  evaluator: Evaluator,
  examples: Iterable[Example],
  *,
  batch_size: int,
  limit: int | None = None,
  store: Store | Memory | None = None,
  choose: Choose | None = None,
  num_pictures: int = 0,
  progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
  """Runs a task.

  Args:
    predictor: a `Predictor`, or anything with the methods that the evaluator
      calls.
    evaluator: makes, asks and scores the questions.
    examples: in order; read lazily, once, and once more for the pictures that
      are shown.
    batch_size: questions asked at once; see `batching`.
    limit: at most this many examples, or questions where the evaluator brings
      its own; None: all that come.
    store: keeps the answers; None: only memory does.
    choose: picks the cases that are shown; None: none are.
    num_pictures: how many of each kind it picks.
    progress: called after each batch.

  Raises:
    ValueError: if two questions have one id, an evaluator gives more or fewer
      answers than it was asked for, the store belongs to something else, or
      pictures are wanted of examples that can be read only once.
  """
  if num_pictures and iter(examples) is examples:
    raise ValueError(
      "pictures of chosen cases need examples that can be read twice; give a"
      " list or examples.Again(function), or num_pictures=0."
    )
  records = _ask_all(
    predictor,
    evaluator,
    _Counted(itertools.islice(examples, limit)),
    limit,
    batch_size,
    store or Memory(),
    progress,
  )
  scores = evaluator.score(records)
  cases: Mapping[str, tuple[int, ...]] = {}
  if choose is not None and num_pictures and records:
    cases = choose(scores, records, num_pictures)
  shown = {index for indices in cases.values() for index in indices}
  pictures: dict[int, tuple[Any, ...]] = {}
  if shown:
    again = itertools.islice(examples, limit)
    for index, question in enumerate(_questions(evaluator, again, limit)):
      if index in shown:
        pictures[index] = tuple(question.images)
      if len(pictures) == len(shown):
        break
  return Outcome(evaluator, records, scores, cases, pictures)


def _questions(
  evaluator: Evaluator, examples: Iterable[Example], limit: int | None
) -> Iterator[Question]:
  if evaluator.reads_examples:
    return evaluator.questions(examples)
  return itertools.islice(evaluator.questions(()), limit)


def _ask_all(
  predictor, evaluator, examples, limit, batch_size, store, progress
):
  """The records of all questions, in their order."""
  kept = store.answers()
  records: dict[int, Record] = {}
  ids: set[str] = set()
  done = Progress(0, 0, 0, 0)

  def questions() -> Iterator[Question]:
    for question in _questions(evaluator, examples, limit):
      if question.id in ids:
        raise ValueError(
          f"two questions have the id {question.id!r}; ids of examples must"
          " be unique in a split."
        )
      ids.add(question.id)
      yield question._replace(
        ask=plain(question.ask), truth=plain(question.truth)
      )

  for window in batching.make_batches(questions(), batch_size, evaluator.cost):
    size = sum(map(len, window))
    before, more = done.examples, examples.count - done.examples
    answered = 0
    # Nothing of it is left when the next window is read.
    while window:
      batch = window.pop(0)
      found, fresh = _answer(predictor, evaluator, batch, kept, store)
      records.update(found)
      answered += len(batch)
      done = Progress(
        before + more * answered // size,
        done.questions + len(batch),
        done.pictures + _count_pictures(batch),
        done.kept + len(batch) - fresh,
      )
      progress(done)
  stray = set(kept) - ids
  if stray:
    raise ValueError(
      f"{store.path} answers {min(stray)!r} and {len(stray) - 1} more that"
      " nobody asks any more; take another folder (--output), or --restart to"
      " throw the answers away."
    )
  return [records[index] for index in range(len(records))]


def _answer(
  predictor: Any,
  evaluator: Evaluator,
  batch: Sequence[Numbered],
  kept: Mapping[str, Record],
  store: Store | Memory,
) -> tuple[dict[int, Record], int]:
  """The records of a batch by number, and how many were asked for now."""
  found = {}
  for index, question in batch:
    if question.id in kept:
      check_same(question, kept[question.id], store.path)
      found[index] = kept[question.id]
  missing = [item for item in batch if item.index not in found]
  if not missing:
    return found, 0
  # All of them again: another batch might have other last digits.
  answers = evaluator.ask(predictor, [item.question for item in batch])
  if len(answers) != len(batch):
    raise ValueError(
      f"the evaluator {evaluator.name!r} was asked {len(batch)} questions and"
      f" gave {len(answers)} answers."
    )
  fresh = {}
  for (index, question), answer in zip(batch, answers, strict=True):
    if index not in found:
      fresh[index] = Record(
        question.id,
        question.group,
        question.ask,
        question.truth,
        plain(answer),
      )
  store.append(list(fresh.values()))
  return found | fresh, len(fresh)


def _count_pictures(batch: Sequence[Numbered]) -> int:
  return len({q.group for _, q in batch if q.images})
