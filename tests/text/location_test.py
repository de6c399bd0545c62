"""The location codec, against vectors from the original's functions."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from kosmos2_jax.text import location

# Box, its bins, the box of these: from the original, 32 x 32 bins.
VECTORS = [
  ((0, 0, 1, 1), (0, 1023), (0.015625, 0.015625, 0.984375, 0.984375)),
  ((0.1, 0.2, 0.3, 0.4), (195, 393), (0.109375, 0.203125, 0.296875, 0.390625)),
  (
    (0.03125, 0.03125, 0.0625, 0.0625),
    (33, 66),
    (0.046875, 0.046875, 0.078125, 0.078125),
  ),
  ((0.5, 0.5, 0.5, 0.5), (528, 528), (0.5, 0.5, 0.53125, 0.53125)),
  ((0.1, 0.1, 0.11, 0.9), (99, 899), (0.09375, 0.09375, 0.125, 0.90625)),
  ((0.9999, 0.9999, 1, 1), (1023, 1023), (0.96875, 0.96875, 1, 1)),
]

coordinates = st.floats(0, 0.9999, allow_subnormal=False)
intervals = st.tuples(coordinates, coordinates).map(sorted)
grids = st.integers(1, 64)


@pytest.mark.parametrize(("box", "bins", "decoded"), VECTORS)
def test_the_original_vectors(box, bins, decoded):
  assert location.box_to_bins(box, 32) == bins
  assert location.bins_to_box(*bins, 32) == decoded


def test_many_boxes_at_once():
  boxes = np.array([box for box, _, _ in VECTORS], np.float64).reshape(2, 3, 4)
  bins = location.boxes_to_bins(boxes, 32)
  assert bins.dtype == np.int64
  assert bins.reshape(-1, 2).tolist() == [list(bins) for _, bins, _ in VECTORS]
  decoded = location.bins_to_boxes(bins, 32)
  assert decoded.dtype == np.float64
  assert decoded.reshape(-1, 4).tolist() == [list(box) for _, _, box in VECTORS]


def test_corners_outside_the_picture_move_to_its_border():
  assert location.box_to_bins((-0.5, -1, 1.5, 2), 8) == (0, 63)


@pytest.mark.parametrize(
  "box",
  [
    (1.0, 0.0, 1.0, 0.5),
    (0.0, 1.2, 0.5, 1.5),
    (-0.5, 0.0, -0.1, 0.5),
    (math.nan, 0.0, 0.5, 0.5),
    (0.0, 0.0, 0.5, math.nan),
    (math.inf, 0.0, 0.5, 0.5),
  ],
)
def test_a_box_without_cells_is_an_error(box):
  with pytest.raises(ValueError, match=r"has no cell in the grid of 8 x 8"):
    location.box_to_bins(box, 8)


@pytest.mark.parametrize("bins", [(0, 64), (-1, 3)])
def test_a_bin_outside_the_grid_is_an_error(bins):
  with pytest.raises(
    ValueError, match=r"(64|-1) is outside .* 8 x 8 .*0 to 63"
  ):
    location.bins_to_box(*bins, 8)


def _original_box_to_bins(box, num_bins):
  """The arithmetic as the original writes it, one number at a time."""
  x1, y1, x2, y2 = box
  cell = 1.0 / num_bins
  left, top = math.floor(max(x1, 0) / cell), math.floor(max(y1, 0) / cell)
  right = math.floor(min(x2, 0.99999) / cell)
  bottom = math.floor(min(y2, 0.99999) / cell)
  return left + top * num_bins, right + bottom * num_bins


@hypothesis.given(
  st.tuples(*[st.floats(0, 0.99998, allow_subnormal=False)] * 4), grids
)
def test_any_grid_uses_the_original_arithmetic(box, num_bins):
  expected = _original_box_to_bins(box, num_bins)
  assert location.box_to_bins(box, num_bins) == expected


@hypothesis.given(intervals, intervals, grids)
def test_a_decoded_corner_is_less_than_a_cell_away(xs, ys, num_bins):
  box = (xs[0], ys[0], xs[1], ys[1])
  bins = location.box_to_bins(box, num_bins)
  decoded = location.bins_to_box(*bins, num_bins)
  # 1e-9 for the divisions of grids whose cell is no power of two.
  assert np.abs(np.subtract(box, decoded)).max() <= 1 / num_bins + 1e-9


@hypothesis.given(
  grids.flatmap(
    lambda n: st.tuples(
      st.just(n), st.integers(0, n * n - 1), st.integers(0, n * n - 1)
    )
  )
)
def test_boxes_of_two_rows_and_columns_keep_their_bins(case):
  num_bins, upper_left, lower_right = case
  rows, columns = np.divmod([upper_left, lower_right], num_bins)
  hypothesis.assume(rows[0] != rows[1] and columns[0] != columns[1])
  box = location.bins_to_box(upper_left, lower_right, num_bins)
  assert location.box_to_bins(box, num_bins) == (upper_left, lower_right)


# Box, its bins when rounded up: floor(x1 * 32) and ceil(x2 * 32 - 1).
CEIL_VECTORS = [
  ((0, 0, 1, 1), (0, 1023)),
  ((0.1, 0.2, 0.3, 0.4), (195, 393)),
  ((0.03125, 0.03125, 0.0625, 0.0625), (33, 33)),  # "floor" says 33, 66
  ((0.5, 0.25, 0.75, 0.5), (272, 503)),
  ((0.1, 0.1, 0.11, 0.9), (99, 899)),
  ((0, 0, 1e-300, 1e-20), (0, 0)),
  ((-0.5, -1, 1.5, 2), (0, 1023)),
]


@pytest.mark.parametrize(("box", "bins"), CEIL_VECTORS)
def test_rounding_up_ends_a_box_before_the_border(box, bins):
  assert location.box_to_bins(box, 32, "ceil") == bins
  assert location.box_to_bins(box, 32, rounding="ceil") == bins


def test_many_boxes_rounded_up_at_once():
  boxes = np.array([box for box, _ in CEIL_VECTORS], np.float64)
  found = location.boxes_to_bins(boxes[:6].reshape(2, 3, 4), 32, "ceil")
  assert found.dtype == np.int64
  assert found.reshape(-1, 2).tolist() == [
    list(bins) for _, bins in CEIL_VECTORS[:6]
  ]


@hypothesis.given(st.tuples(*[st.integers(0, 31)] * 4))
def test_the_two_roundings_differ_on_borders_alone(cells):
  x1, y1, x2, y2 = cells
  hypothesis.assume(x1 < x2 and y1 < y2)
  border = (x1 / 32, y1 / 32, x2 / 32, y2 / 32)
  assert location.box_to_bins(border, 32) == (x1 + 32 * y1, x2 + 32 * y2)
  up = location.box_to_bins(border, 32, "ceil")
  assert up == (x1 + 32 * y1, x2 - 1 + 32 * (y2 - 1))
  inside = (x1 / 32, y1 / 32, (x2 + 0.5) / 32, (y2 + 0.5) / 32)
  assert location.box_to_bins(inside, 32) == location.box_to_bins(
    inside, 32, "ceil"
  )


@hypothesis.given(st.tuples(*[st.floats(0, 1, allow_subnormal=False)] * 4))
@hypothesis.example((0.0, 0.0, 1.0, 1.0))
def test_rounded_up_one_and_many_are_the_same(box):
  hypothesis.assume(box[0] < box[2] and box[1] < box[3])
  [many] = location.boxes_to_bins(np.array([box]), 13, "ceil").tolist()
  assert location.box_to_bins(box, 13, "ceil") == tuple(many)
  right, bottom = many[1] % 13, many[1] // 13
  assert right == max(math.ceil(box[2] * 13 - 1), 0)
  assert bottom == max(math.ceil(box[3] * 13 - 1), 0)


@pytest.mark.parametrize(
  ("box", "message"),
  [
    ((0.5, 0.1, 0.5, 0.2), r"box \[0.5, 0.1, 0.5, 0.2\] has no width"),
    ((0.1, 0.5, 0.2, 0.5), "no width or no height"),
    ((0.5, 0.1, 0.4, 0.2), "x1 < x2"),
    ((math.nan, 0.0, 0.5, 0.5), "no cell in the grid of 8 x 8"),
    ((0.0, 0.0, 0.5, math.nan), "no cell in the grid of 8 x 8"),
    ((1.0, 0.0, 1.5, 0.5), "no cell in the grid of 8 x 8"),
    ((-0.5, 0.0, -0.1, 0.5), "no cell in the grid of 8 x 8"),
  ],
)
def test_boxes_that_cannot_be_rounded_up(box, message):
  with pytest.raises(ValueError, match=message):
    location.box_to_bins(box, 8, "ceil")


def test_other_roundings_are_an_error():
  message = r'"floor" \(the original\) or "ceil" .* got \'round\''
  with pytest.raises(ValueError, match=message):
    location.box_to_bins((0, 0, 1, 1), 8, "round")
  with pytest.raises(ValueError, match=message):
    location.boxes_to_bins(np.zeros((0, 4)), 8, "round")


def test_inverted_bins_give_an_inverted_box():
  assert location.bins_to_box(63, 0, 8) == (0.9375, 0.9375, 0.0625, 0.0625)
