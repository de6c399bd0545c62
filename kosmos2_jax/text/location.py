"""Boxes to location bins and back: the original's arithmetic, for any grid.

A box is `x1, y1, x2, y2`, normalised to 0..1 with the origin at the top left.
It is written as two cells of a `num_bins` x `num_bins` grid, numbered row by
row: the one that holds its upper left and the one that holds its lower right
corner. Going back, a corner is the centre of its cell, except where the two
cells share a row or a column: then the box spans the cells from edge to edge.
That is why coding a decoded box again may move such a box by one cell.

Where the lower right corner lies exactly on the border of two cells, there are
two readings, `rounding`. "floor" is the original's, and the default: the corner
is in the cell that begins there. "ceil" is that of Hugging Face's processor:
the box ends with the cell before. Anywhere else both name the same cells.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

# One box: four numbers, as a tuple or as a row of an array.
BoxLike = Sequence[float | int] | Float[np.ndarray, "4"]

ROUNDINGS = ("floor", "ceil")

# The lower right corner of a box that reaches the border must fall into the
# last cell, not behind it.
_LAST = 0.99999


def box_to_bins(
  box_xyxy: BoxLike, num_bins: int, rounding: str = "floor"
) -> tuple[int, int]:
  """Returns the upper left and the lower right bin of one box.

  Corners above or left of the picture move to its first cell and corners
  below or right of it to its last, but only in the direction in which clipped
  boxes need it: `x1, y1` are not limited from above, nor `x2, y2` from below.

  Args:
    box_xyxy: normalised.
    num_bins: cells per side.
    rounding: "floor" or "ceil", see above.

  Raises:
    ValueError: for a coordinate that is not a number, or a box that lies
      outside the picture so far that its corner has no cell; with "ceil" for
      a box without width or height, as Hugging Face does: it would end before
      it begins. Or for another `rounding`.
  """
  if rounding != "floor":
    bins = boxes_to_bins(np.array(box_xyxy, np.float64), num_bins, rounding)
    return int(bins[0]), int(bins[1])
  # Python's floats: the same arithmetic as the arrays of `boxes_to_bins`, and
  # for a single box ten times as fast.
  x1, y1, x2, y2 = map(float, box_xyxy)
  cell = 1.0 / num_bins
  corners = max(x1, 0.0), max(y1, 0.0), min(x2, _LAST), min(y2, _LAST)
  cells = [corner / cell for corner in corners]
  # Written so that a NaN is caught, too.
  if not all(0 <= value < num_bins for value in cells):
    raise ValueError(_outside([x1, y1, x2, y2], num_bins))
  left, top, right, bottom = map(int, cells)
  return left + num_bins * top, right + num_bins * bottom


def bins_to_box(
  upper_left: int, lower_right: int, num_bins: int
) -> tuple[float, float, float, float]:
  """Returns the box of two bins.

  The order is not checked: where `lower_right` is above or left of
  `upper_left` the box comes out inverted, as in the original.

  Raises:
    ValueError: for a bin that the grid does not have.
  """
  bins = np.asarray([upper_left, lower_right], np.int64)
  x1, y1, x2, y2 = bins_to_boxes(bins, num_bins).tolist()
  return x1, y1, x2, y2


def boxes_to_bins(
  boxes_xyxy: Float[np.ndarray, "*batch 4"],
  num_bins: int,
  rounding: str = "floor",
) -> Int64[np.ndarray, "*batch 2"]:
  """Vectorised `box_to_bins`, float64 arithmetic.

  Raises:
    ValueError: as `box_to_bins`; names the first wrong box.
  """
  boxes = np.asarray(boxes_xyxy, np.float64)
  first, last = np.maximum(boxes[..., :2], 0.0), boxes[..., 2:]
  if rounding == "floor":
    # Division by the cell and multiplication with the number of bins are not
    # the same in floating point; each side has its own.
    cell = 1.0 / num_bins
    lower = np.floor(np.minimum(last, _LAST) / cell)
    columns_rows = np.concatenate([np.floor(first / cell), lower], -1)
  elif rounding == "ceil":
    flat = (boxes[..., :2] >= last).any(-1)
    if flat.any():
      raise ValueError(
        f"box {boxes[flat][0].tolist()} has no width or no height; with"
        ' rounding="ceil" x1 < x2 and y1 < y2 (rounding="floor" takes it).'
      )
    lower = np.ceil(np.minimum(last, 1.0) * num_bins - 1)
    # A positive corner so near to 0 that the subtraction swallows it.
    lower = np.where((last > 0) & (lower < 0), 0.0, lower)
    columns_rows = np.concatenate([np.floor(first * num_bins), lower], -1)
  else:
    raise ValueError(
      f'rounding is "floor" (the original) or "ceil" (Hugging Face); got'
      f" {rounding!r}."
    )
  # Written so that a NaN is caught, too.
  outside = ~((columns_rows >= 0) & (columns_rows < num_bins)).all(-1)
  if outside.any():
    raise ValueError(_outside(boxes[outside][0].tolist(), num_bins))
  cells = columns_rows.astype(np.int64)
  return cells[..., 0::2] + num_bins * cells[..., 1::2]


def bins_to_boxes(
  bins: Int[np.ndarray, "*batch 2"], num_bins: int
) -> Float64[np.ndarray, "*batch 4"]:
  """Vectorised `bins_to_box`.

  Raises:
    ValueError: for a bin that the grid does not have.
  """
  bins = np.asarray(bins, np.int64)
  if ((bins < 0) | (bins >= num_bins**2)).any():
    wrong = bins[(bins < 0) | (bins >= num_bins**2)][0]
    raise ValueError(
      f"Location bin {wrong} is outside the grid of {num_bins} x {num_bins}"
      f" cells; expected 0 to {num_bins**2 - 1}."
    )
  cell = 1.0 / num_bins
  rows, columns = np.divmod(bins, num_bins)
  cells = np.stack([columns, rows], -1).reshape(*bins.shape[:-1], 4)
  thin = (columns[..., 0] == columns[..., 1]) | (rows[..., 0] == rows[..., 1])
  centres = cells * cell + cell / 2
  edges = (cells + np.array([0, 0, 1, 1])) * cell
  return np.where(thin[..., None], edges, centres)


def _outside(box: list[float], num_bins: int) -> str:
  return (
    f"Box {box} has no cell in the grid of {num_bins} x {num_bins};"
    " expected x1, y1, x2, y2 normalised to 0..1 that overlap the picture."
  )
