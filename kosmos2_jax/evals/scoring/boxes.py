"""Overlap of boxes and one-to-one matching, in numpy and float64.

Boxes are `x1, y1, x2, y2`. Areas are plain products of side lengths: no `+ 1`
for pixels, as in the referring-expression scorer Kosmos-2 was measured with,
so normalised boxes and pixel boxes give the same overlap up to rounding.
"""

import numpy as np
from jaxtyping import Bool, Float, Real


def areas(boxes: Real[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n"]:
  """Returns box areas; a box whose corners are swapped has none."""
  boxes = boxes.astype(np.float64)
  return np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)


def iou(
  a: Real[np.ndarray, "*#n 4"], b: Real[np.ndarray, "*#n 4"]
) -> Float[np.ndarray, "*n"]:
  """Returns intersection over union of `a` and `b`, broadcast together.

  Two boxes without any area have IoU 0, never 0/0: an empty prediction is a
  miss whatever it is compared with.
  """
  a, b = a.astype(np.float64), b.astype(np.float64)
  corners = np.concatenate(
    [
      np.maximum(a[..., :2], b[..., :2]),
      np.minimum(a[..., 2:], b[..., 2:]),
    ],
    axis=-1,
  )
  # A swapped box has no interior, so nothing lies inside both.
  intersection = np.where((areas(a) > 0) & (areas(b) > 0), areas(corners), 0.0)
  union = areas(a) + areas(b) - intersection
  return np.divide(
    intersection, union, out=np.zeros_like(union), where=union > 0
  )


def pairwise_iou(
  a: Real[np.ndarray, "n 4"], b: Real[np.ndarray, "k 4"]
) -> Float[np.ndarray, "n k"]:
  """Returns the IoU of every box of `a` with every box of `b`."""
  return iou(a[:, None], b[None, :])


def count_matches(allowed: Bool[np.ndarray, "n k"]) -> int:
  """Returns the largest number of one-to-one pairs among the allowed ones.

  Augmenting paths (Kuhn): unlike taking best overlaps first, the answer does
  not depend on the order in which boxes are listed, and is never too small.
  """
  partner: dict[int, int] = {}  # column -> row

  def assign(row: int, tried: set[int]) -> bool:
    for column in np.flatnonzero(allowed[row]).tolist():
      if column in tried:
        continue
      tried.add(column)
      if column not in partner or assign(partner[column], tried):
        partner[column] = row
        return True
    return False

  return sum(assign(row, set()) for row in range(allowed.shape[0]))
