"""Boxes as they come, checked and normalised."""

import math
from collections.abc import Sequence

import numpy as np

from data.building.drops import Drop, Dropped

# Boxes may stick out of the picture by this part of its side and are then
# moved onto the border: detectors and annotators round to whole pixels.
TOLERANCE = 0.01

Number = float | int
BoxXyxy = tuple[float, float, float, float]


def check_box(corners: Sequence[Number]) -> tuple[BoxXyxy, bool]:
  """A normalised box inside the picture, and whether it had to be clipped.

  Args:
    corners: x1, y1, x2, y2, as parts of the picture's sides.

  Returns:
    The box in the precision it is stored in (float32 values), so that no
    stored box is empty.

  Raises Dropped: NOT_FINITE, BOX_OUTSIDE, BOX_EMPTY.
  """
  if not all(map(math.isfinite, corners)):
    raise Dropped(Drop.NOT_FINITE)
  if min(corners) < -TOLERANCE or max(corners) > 1 + TOLERANCE:
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
