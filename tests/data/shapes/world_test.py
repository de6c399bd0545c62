"""Words are true, false or unclear exactly where the README says."""

import pytest

from data.shapes import world


def _at(x: float, y: float, size: float = 16.0) -> world.SceneObject:
  """A square with its centre at (x, y)."""
  return world.SceneObject("square", "red", size, x - size / 2, y - size / 2)


@pytest.mark.parametrize(
  ("step", "expected"),
  [
    ((-9, 0), True),
    ((-9, 9), True),
    ((-9, -9), True),
    ((-8.9, 0), None),  # Too close to be sure.
    ((-9, 9.1), None),  # More below than left.
    ((-2.1, 0), None),
    ((-2, 0), False),
    ((0, 30), False),
    ((30, 0), False),
  ],
)
def test_relations(step, expected):
  x, y = step
  turned = {
    "left of": (x, y),
    "right of": (-x, y),
    "above": (y, x),
    "below": (y, -x),
  }
  for relation, (right, down) in turned.items():
    first = _at(32 + right, 32 + down)
    assert world.relation_truth(relation, first, _at(32, 32)) is expected


@pytest.mark.parametrize(
  ("size", "word", "small", "big"),
  [
    (17.0, "small", True, False),
    (17.1, None, None, False),
    (19.1, None, None, None),
    (22.0, None, False, None),
    (23.9, None, False, None),
    (24.0, "big", False, True),
  ],
)
def test_sizes(size, word, small, big):
  item = _at(32, 32, size)
  assert world.size_word(item) == word
  assert world.size_truth("small", item) is small
  assert world.size_truth("big", item) is big
