"""A part of a picture as a square: bicubic, antialiased, the same anywhere.

The filter is Pillow's and torchvision's. Pillow's order of work is turned
round (columns first, so that all arithmetic runs along rows), and as there the
result of each of the two passes is rounded to whole numbers.

Both passes are products of matrices, cut into bands because a filter reaches
a few pixels only. Weights are multiples of 2^-14, pixels whole numbers: every
sum is exact in float32, whatever its order, so that the result is the same on
every processor and with any number of threads.
"""

import numpy as np
import tensorflow as tf
from jaxtyping import UInt8

# Rows or columns of the result that are computed at once. More of them read
# fewer pixels twice and multiply with more zeros.
_BAND = 16
# Pixels the filter reaches to each side, at the result's scale.
_SUPPORT = 2.0
# 8 bits of a pixel, 14 of a weight and what a sum of weights may exceed one by
# are 23: float32 has 24.
_WEIGHT_SCALE = 2.0**14


def cut_square(
  image: UInt8[tf.Tensor, "height width 3"],
  *,
  begin: tf.Tensor,
  end: tf.Tensor,
  size: int,
) -> UInt8[tf.Tensor, "size size 3"]:
  """A rectangle of the picture, scaled to a square.

  The filter reads beyond the rectangle where the picture goes on there, as if
  the whole picture were scaled and then cut.

  Args:
    image: the whole picture.
    begin: float32 [2], upper and left edge of the rectangle in pixels.
    end: float32 [2], lower and right edge; above `begin`.
    size: side of the result.
  """
  shape = tf.shape(image)
  rows = _Bands(shape[0], begin[0], end[0], size)
  columns = _Bands(shape[1], begin[1], end[1], size)
  first, last = columns.starts[0], columns.starts[-1] + columns.reach
  width = last - first
  bands = []
  for i in range(rows.count):
    # One band after the other: the floats of a large picture, all at once,
    # would take several times its memory.
    with tf.control_dependencies(bands[-1:]):
      start = rows.starts[i]
      band = image[start : start + rows.reach, first:last]
      band = tf.reshape(band, [rows.reach, width * 3])
      bands.append(rows.weights[i] @ tf.cast(band, tf.float32))
  result = tf.round(tf.concat(bands, 0)[:size])
  result = tf.transpose(tf.reshape(result, [size, width, 3]), [1, 0, 2])
  result = tf.reshape(result, [width, size * 3])
  where = (columns.starts - first)[:, None] + tf.range(columns.reach)
  result = columns.weights @ tf.gather(result, where)
  result = tf.reshape(result, [-1, size, 3])[:size]
  result = tf.round(tf.transpose(result, [1, 0, 2]))
  return tf.cast(tf.clip_by_value(result, 0.0, 255.0), tf.uint8)


class _Bands:
  """The filter along one axis.

  Attributes:
    count: bands of the result.
    reach: pixels that a band is computed from.
    starts: int32 [count], the first of them.
    weights: float32 [count, _BAND, reach]; rows of the last band may lie
      outside of the result.
  """

  def __init__(
    self, length: tf.Tensor, begin: tf.Tensor, end: tf.Tensor, size: int
  ):
    """Spreads `size` pixels over begin..end of `length` pixels."""
    self.count = -(-size // _BAND)
    step = (end - begin) / np.float32(size)
    # Scaled up, the filter has its own width; scaled down, the result's.
    stretch = tf.maximum(step, 1.0)
    support = _SUPPORT * stretch
    reach = tf.math.ceil(step * (_BAND - 1) + 2 * support)
    self.reach = tf.minimum(tf.cast(reach, tf.int32) + 1, length)
    places = np.arange(self.count * _BAND, dtype=np.float32) + np.float32(0.5)
    centres = begin + places.reshape(self.count, _BAND) * step
    starts = tf.math.ceil(centres[:, 0] - support - 0.5)
    self.starts = tf.clip_by_value(
      tf.cast(starts, tf.int32), 0, length - self.reach
    )
    pixels = self.starts[:, None, None] + tf.range(self.reach)
    offsets = tf.cast(pixels, tf.float32) + 0.5 - centres[:, :, None]
    weights = _keys_cubic(tf.abs(offsets / stretch))
    # Pixels outside of the picture count for nothing, as in Pillow.
    total = tf.reduce_sum(weights, -1, keepdims=True)
    weights = tf.math.divide_no_nan(weights * _WEIGHT_SCALE, total)
    self.weights = tf.round(weights) / _WEIGHT_SCALE


def _keys_cubic(distance: tf.Tensor) -> tf.Tensor:
  """The cubic convolution kernel with a = -1/2 (Keys, 1981)."""
  near = (1.5 * distance - 2.5) * distance * distance + 1.0
  far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
  zero = tf.zeros_like(distance)
  return tf.where(distance < 1.0, near, tf.where(distance < 2.0, far, zero))
