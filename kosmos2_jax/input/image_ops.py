"""Pictures: decode, crop or squash to a square, augment, normalise.

Pure TensorFlow functions. Decoding gives Pillow's pixels exactly; resampling
(see `resampling`) differs from Pillow's in one value of six, by one level of
255, rarely more.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from jaxtyping import Float32, UInt8

from kosmos2_jax.batch import IMAGE_MEAN, IMAGE_STDDEV
from kosmos2_jax.input import geometry, resampling

# What red, green and blue add to a pixel's brightness (ITU-R BT.601).
_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


def decode(
  encoded: tf.Tensor | bytes,
) -> UInt8[tf.Tensor, "height width 3"]:
  """Decodes a JPEG or PNG to RGB.

  With the exact inverse transform, as Pillow: TensorFlow's default is faster
  and less accurate.
  """
  return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def decode_scaled(
  encoded: tf.Tensor, ratio: tf.Tensor
) -> UInt8[tf.Tensor, "height width 3"]:
  """Decodes a JPEG to 1/ratio of its sides; 1, 2, 4 or 8.

  The inverse transform leaves out the finest waves of each block of 8 x 8
  pixels: about the mean of ratio x ratio pixels, for less work.
  """

  def branch(fixed: int) -> Callable[[], tf.Tensor]:
    return lambda: tf.io.decode_jpeg(
      encoded, channels=3, ratio=fixed, dct_method="INTEGER_ACCURATE"
    )

  index = tf.reduce_sum(tf.cast(ratio >= geometry.DECODE_RATIOS, tf.int32)) - 1
  return tf.switch_case(index, [branch(r) for r in geometry.DECODE_RATIOS])


def decode_or_raise(
  encoded: bytes, name: str
) -> UInt8[np.ndarray, "height width 3"]:
  """Decodes a picture now.

  Args:
    encoded: a JPEG or PNG file.
    name: what to call the picture in an error.

  Raises:
    ValueError: the bytes are no picture.
  """
  try:
    geometry.image_shape(encoded)
    with tf.device("CPU"):
      return decode(encoded).numpy()
  except (ValueError, tf.errors.InvalidArgumentError) as error:
    reason = str(error).splitlines()[0]
    raise ValueError(
      f"{name}: the image is expected to be a whole JPEG or PNG, found "
      f"{len(encoded)} bytes that do not decode ({reason}); prepare the data "
      "set again, or drop the example there"
    ) from error


def view(
  image: UInt8[tf.Tensor, "height width 3"], size: int, how: str
) -> UInt8[tf.Tensor, "size size 3"]:
  """The picture as a square of `size` pixels.

  Args:
    image: the whole picture.
    size: side of the result.
    how: "crop": shorter side to `size`, then the middle (`geometry` says
      where); "squash": both sides to `size`.
  """
  if how not in geometry.VIEWS:
    raise ValueError(f"a view is one of {geometry.VIEWS}, found {how!r}")
  shape = tf.shape(image)[:2]
  # A picture that needs no scaling is cut only, and the same to the last bit.
  longer = tf.reduce_max(shape) if how == "squash" else size
  square = tf.cond(
    tf.logical_and(tf.reduce_min(shape) == size, longer == size),
    lambda: _cut_middle(image, shape, size),
    lambda: _resample(image, shape, size, how),
  )
  return tf.ensure_shape(square, [size, size, 3])


def _cut_middle(image: tf.Tensor, shape: tf.Tensor, size: int) -> tf.Tensor:
  top, left = tf.unstack(_offset(shape, size))
  return image[top : top + size, left : left + size]


def _offset(shape: tf.Tensor, size: int) -> tf.Tensor:
  # tf.round rounds halves to even, as Python's round.
  offset = tf.round(tf.cast(shape - size, tf.float32) / 2.0)
  return tf.cast(offset, tf.int32)


def _resample(
  image: tf.Tensor, shape: tf.Tensor, size: int, how: str
) -> tf.Tensor:
  if how == "crop":
    # Whole-number division equals int(size * longer / shorter), also where
    # the floating-point quotient is rounded.
    target = size * shape // tf.reduce_min(shape)
    offset = tf.cast(_offset(target, size), tf.float32)
  else:
    target = tf.constant([size, size])
    offset = tf.zeros([2])
  pixel = tf.cast(shape, tf.float32) / tf.cast(target, tf.float32)
  return resampling.cut_square(
    image, begin=offset * pixel, end=(offset + size) * pixel, size=size
  )


def augment(
  image: UInt8[tf.Tensor, "height width 3"],
  numbers: Float32[tf.Tensor, " 8"],
  size: int,
) -> UInt8[tf.Tensor, "size size 3"]:
  """A cut of the picture as a square, mirrored and recoloured.

  Brightness is multiplied; contrast and saturation move every pixel away from
  (above 1) or towards (below 1) the grey of the whole cut and the pixel's own.

  Args:
    image: the whole picture.
    numbers: as `augmentation.Draw.numbers` has them.
    size: side of the result.
  """
  extent = tf.cast(tf.shape(image)[:2], tf.float32)
  x1, y1, x2, y2, flip, brightness, contrast, saturation = tf.unstack(numbers)
  square = resampling.cut_square(
    image,
    begin=tf.stack([y1, x1]) * extent,
    end=tf.stack([y2, x2]) * extent,
    size=size,
  )
  square = tf.cond(flip > 0, lambda: tf.reverse(square, [1]), lambda: square)
  unchanged = tf.reduce_all(numbers[5:] == 1.0)
  return tf.cond(
    unchanged,
    lambda: square,
    lambda: _recolour(square, brightness, contrast, saturation),
  )


def _recolour(
  square: tf.Tensor,
  brightness: tf.Tensor,
  contrast: tf.Tensor,
  saturation: tf.Tensor,
) -> tf.Tensor:
  pixels = tf.cast(square, tf.float32) * brightness
  grey = tf.reduce_mean(tf.reduce_sum(pixels * _GREY_WEIGHTS, -1))
  pixels = grey + (pixels - grey) * contrast
  greys = tf.reduce_sum(pixels * _GREY_WEIGHTS, -1, keepdims=True)
  pixels = greys + (pixels - greys) * saturation
  return tf.cast(tf.clip_by_value(tf.round(pixels), 0.0, 255.0), tf.uint8)


def normalize(
  pixels: UInt8[tf.Tensor, "*batch height width 3"],
) -> Float32[tf.Tensor, "*batch height width 3"]:
  """From 0..255 to zero mean and unit variance, by CLIP's statistics."""
  # Constants of a whole picture: subtracting three numbers along the last
  # axis takes TensorFlow ten times as long.
  shape = pixels.shape[-3:]
  mean = np.float32(IMAGE_MEAN) * np.float32(255)
  scale = np.float32(1) / (np.float32(IMAGE_STDDEV) * np.float32(255))
  shifted = tf.cast(pixels, tf.float32) - np.broadcast_to(mean, shape)
  return shifted * np.broadcast_to(scale, shape)
