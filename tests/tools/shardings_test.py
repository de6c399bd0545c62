"""No array of a step changes its place unseen."""

import json
import pathlib

import pytest

from kosmos2_jax import activations
from kosmos2_jax.models import presets
from kosmos2_jax.tools import shardings

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def golden():
  return json.loads((ROOT / shardings.GOLDEN).read_text(encoding="utf-8"))


@pytest.mark.parametrize("preset", sorted(presets.PRESETS))
def test_the_file_says_what_is_so(golden, preset):
  assert list(golden[preset]) == list(shardings.MESHES)
  for name, shape in shardings.MESHES.items():
    found = shardings.places_of(
      presets.preset(preset), shape, shardings.LENGTHS[preset]
    )
    lines = list(shardings.differences(found, golden[preset][name], name))
    assert not lines, (
      "\n".join(lines) + "\nIf that is meant: python -m"
      " kosmos2_jax.tools.shardings --write"
    )


def test_every_activation_rule_is_in_the_file(golden):
  found = golden["kosmos2"]["data 4, fsdp 4, tensor 2"]["activations"]
  names = {key.partition(" ")[0] for key in found}
  assert names == set(activations.ACTIVATION_RULES)


def test_an_array_that_moves_is_found(golden, monkeypatch):
  rules = dict(activations.ACTIVATION_RULES)
  rules["residual"] = rules["residual"].update(partitions=("data", None, None))
  monkeypatch.setattr(activations, "ACTIVATION_RULES", rules)
  name = "fsdp 16"
  found = shardings.places_of(
    presets.preset("tiny"), shardings.MESHES[name], shardings.LENGTHS["tiny"]
  )
  [line] = shardings.differences(found, golden["tiny"][name])
  assert line == (
    "activations/residual [32, 128, 16]: the file says bfloat16 (data+fsdp, -,"
    " -); found bfloat16 (data, -, -)"
  )
