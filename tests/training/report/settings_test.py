"""The config as a list, and what a command named of it."""

from kosmos2_jax.training.report import settings
from kosmos2_jax.training.report.settings import Field


def test_fields_by_section():
  config = {
    "seed": 0,
    "data": {"kinds": [{"name": "a", "per_step": 4}], "tokenizer": ""},
    "wandb": "",
    "list": [],
  }
  found = settings.sections(
    config, "train.py '--config.data.kinds[0].per_step=4' --config.wandb="
  )
  assert found == {
    "run": [Field("seed", "0", False), Field("wandb", '""', True)],
    "data": [
      Field("data.kinds.0.name", "a", False),
      Field("data.kinds.0.per_step", "4", True),
      Field("data.tokenizer", '""', False),
    ],
    "list": [Field("list", "[]", False)],
  }


def test_a_section_that_a_command_named():
  (found,) = settings.sections(
    {"evals": {"tasks": []}}, "--config.evals.tasks=()"
  ).values()
  assert found == [Field("evals.tasks", "[]", True)]


def test_a_command_nobody_can_split():
  assert settings.fields_of("train.py 'x") == set()
  assert settings.sections({}, "") == {}
