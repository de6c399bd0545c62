"""An evaluation can be stopped between its batches."""

import io
import json

import jax.numpy as jnp
import pytest

from kosmos2_jax import evals
from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import evaluation, metrics, preemption
from kosmos2_jax.training.state import TrainState
from tests.evals.samples import Counter, Echo, make_examples


def _evaluation(monkeypatch, evaluator, check=lambda: None):
  monkeypatch.setattr(evaluation, "Predictor", lambda *_, **__: Counter())
  tasks = {
    "rec": evals.Task("rec", evaluator, "shapes", "test", 3, 5),
    "end": evals.Task("end", evaluator, "shapes", "test", 0, 2),
  }
  return evaluation.Evaluation(
    presets.build(presets.preset("tiny")),
    Tokenizer.small(num_bins=4),
    tasks,
    dict.fromkeys(tasks, make_examples),
    1,
    check,
  )


def _scores(monkeypatch, evaluator, check=lambda: None):
  given = _evaluation(monkeypatch, evaluator, check)
  return given.scorer(metrics.Reporter(None, 10, io.StringIO()), 0)({}, 5)


def test_it_is_looked_at_between_batches(monkeypatch):
  looks = []

  def check():
    looks.append(None)
    if len(looks) == 3:  # before the first batch, and after each
      raise preemption.Preempted("asked to stop")

  evaluator = Echo()
  with pytest.raises(preemption.Preempted):
    _scores(monkeypatch, evaluator, check)
  assert len(evaluator.batches) == 2


def test_nobody_asks(monkeypatch):
  evaluator = Echo()
  # Tasks of the end alone are left out.
  assert _scores(monkeypatch, evaluator) == {"rec/accuracy": 1.0}
  assert len(evaluator.batches) == 3


def test_the_end_is_written_and_a_killed_one_goes_on(monkeypatch, tmp_path):
  monkeypatch.setattr(evaluation, "params_hash", lambda params: params["x"])

  def final(evaluator, params, check=lambda: None, num_pictures=3):
    given = _evaluation(monkeypatch, evaluator, check)
    monkeypatch.setattr(evaluation, "averaged_params", lambda state: params)
    state = TrainState(step=jnp.int32(7), params={}, opt_state={})
    monkeypatch.setattr(
      evaluation,
      "Predictor",
      lambda model, params, *_, **__: Fixed(params),
    )
    given.final(state, tmp_path, "c", num_pictures)

  whole = Echo()
  final(whole, {"x": "1"})
  files = {
    path.relative_to(tmp_path).as_posix(): path.read_bytes()
    for path in tmp_path.rglob("*.*")
    if path.is_file()
  }
  names = {"results.json", "evaluation.html", "rec/predictions.jsonl"}
  # That of the run is the reporter's.
  assert names <= set(files) and "report.html" not in files
  content = json.loads(files["results.json"])
  assert (content["step"], content["checkpoint_hash"]) == (7, "1")
  assert [task["n"] for task in content["tasks"].values()] == [5, 2]

  def check():
    path = tmp_path / "rec" / "predictions.jsonl"
    header, *lines = path.read_text().splitlines()
    if json.loads(header)["checkpoint_hash"] == "2" and len(lines) == 3:
      raise preemption.Preempted("asked to stop")

  # Trained further, the answers are thrown away; stopped, they go on.
  with pytest.raises(preemption.Preempted):
    final(Echo(), {"x": "2"}, check)
  second = Echo()
  final(second, {"x": "2"})
  assert len(second.batches) == 4
  # Without pictures there is no report of them.
  final(Echo(), {"x": "1"}, num_pictures=0)
  assert json.loads((tmp_path / "results.json").read_text())["step"] == 7


class Fixed(Counter):
  """A predictor that has parameters."""

  def __init__(self, params):
    super().__init__()
    self.params = params
