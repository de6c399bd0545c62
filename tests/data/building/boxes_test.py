"""Boxes of annotations."""

import math

import numpy as np
import pytest

from data.building import boxes
from data.building.drops import Drop, Dropped


def test_boxes_inside_are_kept_in_float32():
  box, clipped = boxes.check_box((0.1, 0.2, 0.3, 1))
  assert box == tuple(map(float, np.float32([0.1, 0.2, 0.3, 1.0])))
  assert not clipped


def test_boxes_slightly_outside_are_clipped():
  assert boxes.check_box((-0.01, 0, 1.01, 1)) == ((0, 0, 1, 1), True)


@pytest.mark.parametrize(
  ("corners", "reason"),
  [
    ((math.nan, 0, 1, 1), Drop.NOT_FINITE),
    ((0, 0, math.inf, 1), Drop.NOT_FINITE),
    ((0, 0, 1.02, 1), Drop.BOX_OUTSIDE),
    ((0, -0.02, 1, 1), Drop.BOX_OUTSIDE),
    ((0.5, 0, 0.5, 1), Drop.BOX_EMPTY),
    ((0.5, 0.6, 0.7, 0.4), Drop.BOX_EMPTY),
    ((0.5, 0, 0.5 + 1e-12, 1), Drop.BOX_EMPTY),
  ],
)
def test_bad_boxes_have_a_reason(corners, reason):
  with pytest.raises(Dropped) as dropped:
    boxes.check_box(corners)
  assert dropped.value.reason is reason


def test_pixels_and_widths_become_corners():
  corners = boxes.from_xywh((32, 24, 64, 48))
  assert corners == (32, 24, 96, 72)
  normal = boxes.from_pixels(corners, width=640, height=480)
  assert normal == (0.05, 0.05, 0.15, 0.15)
  with pytest.raises(Dropped) as dropped:
    boxes.from_pixels(corners, width=0, height=480)
  assert dropped.value.reason is Drop.BAD_ITEM


@pytest.mark.parametrize(
  ("corners", "expected"),
  [
    ((-0.5, 0.25, 0.5, 3), (0, 0.25, 0.5, 1)),
    ((0.5, -9, 9, 0.5), (0.5, 0, 1, 0.5)),
  ],
)
def test_boxes_with_a_part_inside_are_clipped_where_asked(corners, expected):
  assert boxes.check_box(corners, tolerance=math.inf) == (expected, True)
  with pytest.raises(Dropped):
    boxes.check_box(corners)


@pytest.mark.parametrize(
  ("corners", "reason"),
  [
    ((1, 0, 2, 1), Drop.BOX_OUTSIDE),
    ((0, -2, 1, 0), Drop.BOX_OUTSIDE),
    ((2, 0, 1, 1), Drop.BOX_EMPTY),
    ((math.nan, 0, 1, 1), Drop.NOT_FINITE),
  ],
)
def test_boxes_that_no_tolerance_saves(corners, reason):
  with pytest.raises(Dropped) as dropped:
    boxes.check_box(corners, tolerance=math.inf)
  assert dropped.value.reason is reason


def test_four_numbers():
  assert boxes.four_numbers([1, 2.5, 3, 4]) == (1.0, 2.5, 3.0, 4.0)


@pytest.mark.parametrize(
  ("value", "reason"),
  [
    (None, Drop.BAD_BOX),
    ("1234", Drop.BAD_BOX),
    ([1, 2, 3], Drop.BAD_BOX),
    ([1, 2, 3, "4"], Drop.BAD_BOX),
    ([1, 2, 3, True], Drop.BAD_BOX),
    ([1, 2, 3, math.nan], Drop.NOT_FINITE),
    ([1, 2, 3, 10**400], Drop.NOT_FINITE),
  ],
)
def test_what_is_no_box(value, reason):
  with pytest.raises(Dropped) as dropped:
    boxes.four_numbers(value)
  assert dropped.value.reason is reason
