"""Overlap arithmetic, written out, and one-to-one matching."""

import itertools

import numpy as np
import pytest

from kosmos2_jax.evals.scoring import boxes


def iou(a, b):
  return boxes.iou(np.array([a]), np.array([b]))[0]


def test_iou_is_the_arithmetic_without_plus_one():
  # Two 2x2 squares sharing a 1x1 corner: 1 / (4 + 4 - 1).
  assert iou([0, 0, 2, 2], [1, 1, 3, 3]) == 1 / 7
  # With pixel-style +1 this would be 4 / 14; it must not be.
  assert iou([0, 0, 2, 2], [1, 1, 3, 3]) != 4 / 14
  # A 4x2 box holding a 1x2 one: 2 / 8.
  assert iou([0, 0, 4, 2], [1, 0, 2, 2]) == 0.25
  # Exactly one half: 1x1 inside 2x1, the value that still counts as a hit.
  assert iou([0, 0, 1, 1], [0, 0, 2, 1]) == 0.5


@pytest.mark.parametrize(
  ("a", "b"),
  [
    ([0, 0, 1, 1], [1, 0, 2, 1]),  # touching along an edge
    ([0, 0, 1, 1], [2, 2, 3, 3]),  # apart
    ([0, 0, 0, 0], [0, 0, 0, 0]),  # both empty: 0, not 0/0
    ([0, 0, 0, 0], [0, 0, 1, 1]),  # the box scored when none was predicted
    ([2, 2, 0, 0], [0, 0, 2, 2]),  # corners swapped
    ([2, 2, 0, 0], [2, 2, 0, 0]),  # swapped on both axes: product is positive
  ],
)
def test_iou_is_zero_without_a_common_area(a, b):
  with np.errstate(all="raise"):
    assert iou(a, b) == 0.0


def test_iou_is_symmetric_and_does_not_change_with_scale():
  rng = np.random.default_rng(0)
  a, b = np.sort(rng.random((2, 50, 2, 2)), axis=2).reshape(2, 50, 4)
  np.testing.assert_array_equal(boxes.iou(a, b), boxes.iou(b, a))
  np.testing.assert_allclose(
    boxes.iou(a * 640, b * 640), boxes.iou(a, b), rtol=1e-12
  )
  np.testing.assert_array_equal(boxes.iou(a, a), np.ones(50))


def test_pairwise_iou_has_one_row_per_first_box():
  a = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6]])
  b = np.array([[0, 0, 2, 2], [0, 0, 1, 2]])
  np.testing.assert_array_equal(
    boxes.pairwise_iou(a, b), [[1, 0.5], [1 / 7, 0], [0, 0]]
  )
  assert boxes.pairwise_iou(np.zeros((0, 4)), b).shape == (0, 2)
  assert boxes.pairwise_iou(a, np.zeros((0, 4))).shape == (3, 0)


def test_count_matches_reassigns_when_the_first_choice_blocks():
  # Row 0 may take either column, row 1 only the first: both find a partner,
  # although serving row 0 first with column 0 would leave row 1 alone.
  assert boxes.count_matches(np.array([[True, True], [True, False]])) == 2
  # Two predictions on one true box count once.
  assert boxes.count_matches(np.array([[True], [True]])) == 1
  assert boxes.count_matches(np.zeros((0, 3), bool)) == 0
  assert boxes.count_matches(np.zeros((3, 0), bool)) == 0


def test_count_matches_equals_trying_every_assignment():
  rng = np.random.default_rng(1)
  for _ in range(100):
    allowed = rng.random((4, 4)) < 0.4
    best = max(
      sum(allowed[row, column] for row, column in enumerate(order))
      for order in itertools.permutations(range(4))
    )
    assert boxes.count_matches(allowed) == best
