"""Which checkpoint is used: the newest, or of a run with patience the best."""

import json

import pytest

from kosmos2_jax.training import checkpoint, choosing


def _scored(folder, scores):
  for step, value in scores.items():
    place = folder / "checkpoints" / str(step)
    place.mkdir(parents=True)
    if value is not None:
      (place / "metrics").mkdir()
      text = json.dumps({"rec/accuracy": value})
      (place / "metrics" / "metrics").write_text(text)
  (folder / "checkpoints" / "9.orbax-checkpoint-tmp").mkdir()


def test_the_first_of_the_best(tmp_path):
  _scored(tmp_path, {2: 0.5, 4: 0.7, 6: 0.7, 8: 0.6, 10: None})
  assert choosing.best_step(tmp_path, "rec/accuracy") == 4
  assert choosing.best_step(tmp_path, "rec/accuracy", "min") == 2
  assert choosing.best_step(tmp_path, "other") is None
  assert choosing.best_step(tmp_path / "empty", "rec/accuracy") is None


@pytest.mark.parametrize(("patience", "step"), [(0, None), (3, 4)])
def test_a_run_with_patience_is_used_where_it_was_best(
  tmp_path, patience, step
):
  assert choosing.chosen_step(tmp_path) is None
  _scored(tmp_path, {2: 0.5, 4: 0.7, 6: 0.6})
  section = {
    "patience": patience,
    "best_metric": "rec/accuracy",
    "best_mode": "max",
  }
  config = json.dumps({"checkpoint": section})
  (tmp_path / "config.json").write_text(config)
  assert choosing.chosen_step(tmp_path) == step
  # Configs from before there was patience.
  (tmp_path / "config.json").write_text('{"checkpoint": {"keep": 1}}')
  assert choosing.chosen_step(tmp_path) is None


@pytest.mark.parametrize("given", [{"patience": -1}, {"patience": 2}])
def test_patience_needs_a_score(tmp_path, given):
  with pytest.raises(ValueError, match=r"needs a checkpoint\.best_metric"):
    checkpoint.Checkpointer(tmp_path, **given)
