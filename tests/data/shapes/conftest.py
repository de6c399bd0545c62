"""Scenes that several tests look at, sampled once."""

import functools
from collections.abc import Callable

import pytest

from data.shapes import scenes

NUM_SCENES = {
  "train": 2000,
  "validation": 500,
  "test": 500,
  "test_unseen_pairs": 1000,
}


@pytest.fixture(scope="session")
def sampled() -> Callable[[str], list[scenes.Scene]]:
  """The first scenes of a split, with small pictures: for their facts."""

  @functools.cache
  def sample(split: str) -> list[scenes.Scene]:
    return [
      scenes.sample_scene(0, index, split=split, image_size=16)
      for index in range(NUM_SCENES[split])
    ]

  return sample
