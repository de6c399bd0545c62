"""An evaluation can be stopped between its batches."""

import io

import pytest

from kosmos2_jax import evals
from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import evaluation, metrics, preemption


class _Evaluator:
  """Says that a batch is done, three times."""

  def __init__(self):
    self.done = []

  def run(self, predictor, examples, *, batch_size, num_samples, on_batch):
    del predictor, examples, batch_size, num_samples
    for count in range(3):
      self.done.append(count)
      on_batch(count)
    return evals.TaskResult(
      evaluator="x",
      version="1",
      protocol="",
      n=3,
      metrics={"score": 1.0},
      counts={},
      samples=(),
    )


def _scores(monkeypatch, evaluator, check):
  monkeypatch.setattr(
    evaluation, "Predictor", lambda *args, **options: object()
  )
  tasks = {"rec": evals.Task("rec", evaluator, "shapes", "test", 3)}
  given = evaluation.Evaluation(
    presets.build(presets.preset("tiny")),
    Tokenizer.small(num_bins=4),
    tasks,
    {"rec": lambda count: [{}] * count},
    1,
    check,
  )
  return given.scorer(metrics.Reporter(None, 10, io.StringIO()), 0)({}, 5)


def test_it_is_looked_at_between_batches(monkeypatch):
  looks = []

  def check():
    looks.append(None)
    if len(looks) == 3:  # before the first batch, and after each
      raise preemption.Preempted("asked to stop")

  evaluator = _Evaluator()
  with pytest.raises(preemption.Preempted):
    _scores(monkeypatch, evaluator, check)
  assert evaluator.done == [0, 1]


def test_nobody_asks(monkeypatch):
  evaluator = _Evaluator()
  found = _scores(monkeypatch, evaluator, lambda: None)
  assert found == {"rec/score": 1.0}
  assert evaluator.done == [0, 1, 2]
