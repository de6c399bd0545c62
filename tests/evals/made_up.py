"""Made-up outcomes: an evaluator that asks nobody, and what it has to tell."""

import types

import numpy as np

from kosmos2_jax.evals.protocol import (
  Evaluator,
  Metric,
  Outcome,
  Published,
  Record,
  Scores,
  View,
)
from kosmos2_jax.text.grounded import Box, Phrase


class MadeUp(Evaluator):
  """Shows records whose `ask` are lines, `truth` and `answer` phrases."""

  name = "made_up"
  version = "3"

  def __init__(self, *published):
    self._published = published

  @property
  def protocol(self):
    return "prompt <p>…</p>, greedy"

  def questions(self, examples):
    return iter(())

  def ask(self, predictor, questions):
    return [None for _ in questions]

  def score(self, records):
    raise NotImplementedError

  def view(self, record):
    return View(
      _phrases(record.answer), _phrases(record.truth), tuple(record.ask)
    )

  def published(self, dataset, split):
    if (dataset, split) != ("shapes", "test"):
      return ()
    return self._published


def _phrases(boxes):
  return tuple(
    Phrase(text, (0, len(text)), tuple(Box(box) for box in those))
    for text, those in boxes.items()
  )


def record(number, answer=None, lines=("a dog", "IoU 0.50"), group=None):
  """A picture of a dog whose true box is its upper left quarter."""
  return Record(
    id=f"r{number}",
    group=f"p{number}" if group is None else group,
    ask=list(lines),
    truth={"a dog": [(0.0, 0.0, 0.5, 0.5)]},
    answer={"a dog": [(0.25, 0.25, 0.75, 0.75)]} if answer is None else answer,
  )


def picture(height=64, width=64, value=255):
  return np.full((height, width, 3), value, np.uint8)


def outcome(
  records=(),
  metrics=None,
  *,
  cases=None,
  pictures=None,
  published=(),
  n=None,
  **scores,
):
  """An outcome; every case has a white picture if nothing else is said."""
  cases = dict(cases or {})
  if pictures is None:
    pictures = {i: (picture(),) for those in cases.values() for i in those}
  metrics = {"accuracy": Metric(0.5)} if metrics is None else metrics
  return Outcome(
    evaluator=MadeUp(*published),
    records=tuple(records),
    scores=Scores(len(records) if n is None else n, metrics, **scores),
    cases=cases,
    pictures=pictures,
  )


def task(dataset="shapes", split="test"):
  return types.SimpleNamespace(dataset=dataset, split=split)


PAPER = Published("accuracy", 52.3, "paper, table 1")
README = Published("accuracy", 60.0, "README")
