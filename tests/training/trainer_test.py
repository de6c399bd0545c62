"""What a run computes with follows from its devices."""

import pytest

from kosmos2_jax.models import attention, presets
from kosmos2_jax.training import trainer


def _model(monkeypatch, compute):
  """The model of a run, and for which platform its attention was chosen."""
  asked = []

  def choose(name, platform, dtype):
    asked.append((name, platform, dtype))
    return choose.original(name, platform, dtype)

  choose.original = attention.choose
  monkeypatch.setattr(attention, "choose", choose)
  made = trainer.make_trainer(
    presets.preset("tiny"),
    compute,
    optimizer={"learning_rate": 1e-3},
    mesh={"data": -1},
    num_steps=500,
    seed=0,
  )
  return made.model, asked


def test_attention_is_that_of_the_mesh_and_the_dtype(monkeypatch):
  model, asked = _model(monkeypatch, {"attention": "auto", "dtype": "bfloat16"})
  assert asked == [("auto", "cpu", "bfloat16")]
  assert model.decoder.attention == model.vision.attention == "xla"


def test_an_implementation_for_other_devices_is_refused(monkeypatch):
  with pytest.raises(ValueError, match='"splash" runs on platform "tpu"'):
    _model(monkeypatch, {"attention": "splash"})
