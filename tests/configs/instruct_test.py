"""The tuning mix: the published numbers, and smaller ones."""

import pytest

from configs import instruct
from kosmos2_jax.input import recipes


def per_step(config):
  return {kind.name: kind.per_step for kind in config.data.kinds}


def test_published_numbers():
  config = instruct.get_config()
  counts = per_step(config)
  grounded = ("grounded_caption", "referring", "region_description")
  assert sum(counts.pop(name) for name in grounded) == 1404
  assert counts == {
    "language_instruction": 117,
    "instruction": 351,
    "text": 30,
    "interleaved": 15,
  }
  assert config.num_steps == 10_000
  optimizer = config.optimizer
  assert (optimizer.learning_rate, optimizer.warmup_steps) == (1e-5, 375)
  assert (optimizer.schedule, optimizer.power) == ("polynomial", 1.0)
  options = {kind.name: kind.options.to_dict() for kind in config.data.kinds}
  assert {name: given for name, given in options.items() if given} == {
    "grounded_caption": {"mode": "phrase", "tag_probability": 1.0},
    "referring": {"items": "ref_exps"},
    "region_description": {"items": "ref_exps"},
  }
  data = config.data
  assert (data.pack, data.seq_len, data.images_per_row) == (True, 2048, 20)
  # About as many tokens as a step of the published pre-training.
  tokens = config.data.rows_per_step * config.data.seq_len
  assert 400_000 < tokens < 460_000


def test_divided():
  config = instruct.get_config("divide=64,preset=tiny")
  assert per_step(config) == {
    "language_instruction": 1,
    "instruction": 5,
    "grounded_caption": 10,
    "referring": 5,
    "region_description": 5,
    "text": 1,
    "interleaved": 1,
  }
  assert config.data.rows_per_step == 8
  assert config.model.decoder.width == 16


@pytest.mark.parametrize("divide", [0, -1])
def test_divided_by_nothing(divide):
  with pytest.raises(ValueError, match=f"at least 1, found {divide}"):
    instruct.get_config(f"divide={divide}")


def test_every_kind_has_a_recipe_and_files():
  data = instruct.get_config().data
  for kind in data.kinds:
    assert recipes.RECIPES[kind.recipe](**kind.options)
    assert kind.dataset in data.builders
  assert {kind.dataset for kind in data.kinds} == set(data.builders)
