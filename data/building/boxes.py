"""Boxes as they come, checked and normalised."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from data.building.drops import Drop, Dropped

# Boxes may stick out of the picture by this part of its side and are then
# moved onto the border: detectors and annotators round to whole pixels.
TOLERANCE = 0.01

Number = float | int
BoxXyxy = tuple[float, float, float, float]


def four_numbers(value: Any) -> tuple[float, float, float, float]:
  """The numbers of a box, of whatever a file has in its place.

  Raises Dropped: BAD_BOX, NOT_FINITE.
  """
  if not isinstance(value, list | tuple) or len(value) != 4:
    raise Dropped(Drop.BAD_BOX)
  if any(isinstance(v, bool) or not isinstance(v, int | float) for v in value):
    raise Dropped(Drop.BAD_BOX)
  try:
    a, b, c, d = map(float, value)
  except OverflowError:  # An integer of more than 308 digits.
    raise Dropped(Drop.NOT_FINITE) from None
  if not all(map(math.isfinite, (a, b, c, d))):
    raise Dropped(Drop.NOT_FINITE)
  return a, b, c, d


def check_box(
  corners: Sequence[Number], *, tolerance: float = TOLERANCE
) -> tuple[BoxXyxy, bool]:
  """A normalised box inside the picture, and whether it had to be clipped.

  Args:
    corners: x1, y1, x2, y2, as parts of the picture's sides.
    tolerance: how far it may stick out; infinity clips every box of which a
      part is inside.

  Returns:
    The box in the precision it is stored in (float32 values), so that no
    stored box is empty.

  Raises Dropped: NOT_FINITE, BOX_OUTSIDE, BOX_EMPTY.
  """
  if not all(map(math.isfinite, corners)):
    raise Dropped(Drop.NOT_FINITE)
  if min(corners) < -tolerance or max(corners) > 1 + tolerance:
    raise Dropped(Drop.BOX_OUTSIDE)
  if tolerance > TOLERANCE and _is_outside(*corners):
    raise Dropped(Drop.BOX_OUTSIDE)
  x1, y1, x2, y2 = (float(np.float32(min(max(v, 0.0), 1.0))) for v in corners)
  if x2 <= x1 or y2 <= y1:
    raise Dropped(Drop.BOX_EMPTY)
  return (x1, y1, x2, y2), min(corners) < 0 or max(corners) > 1


def from_pixels(
  xyxy: Sequence[Number], *, width: Number, height: Number
) -> tuple[Number, Number, Number, Number]:
  """Corners in pixels as parts of the sides.

  Raises Dropped: BAD_ITEM, for a picture without pixels.
  """
  if not (width > 0 and height > 0):
    raise Dropped(Drop.BAD_ITEM)
  x1, y1, x2, y2 = xyxy
  return x1 / width, y1 / height, x2 / width, y2 / height


def from_xywh(xywh: Sequence[Number]) -> tuple[Number, Number, Number, Number]:
  """Corners of a box given as its upper left corner, width and height."""
  x, y, width, height = xywh
  return x, y, x + width, y + height


def _is_outside(x1: Number, y1: Number, x2: Number, y2: Number) -> bool:
  """Whether a box that is not empty has no part in the picture."""
  not_empty = x1 < x2 and y1 < y2
  return not_empty and (x1 >= 1 or y1 >= 1 or x2 <= 0 or y2 <= 0)
