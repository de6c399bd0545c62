"""Pixels: decoded as Pillow does, resampled nearly so, and normalised."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kosmos2_jax import batch as batch_lib
from kosmos2_jax.input import geometry, image_ops


def smooth_picture(height, width):
  """Waves of several lengths: no detail finer than 20 pixels."""
  y, x = np.mgrid[:height, :width]
  waves = [np.sin(x / 9), np.cos(y / 11), np.sin((x + y) / 15)]
  return (127.5 + 120 * np.stack(waves, -1)).astype(np.uint8)


def encode(pixels, file_format):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, file_format)
  return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_decodes_exactly_as_pillow(file_format):
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (33, 46, 3), np.uint8)
  encoded = encode(noise, file_format)
  expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
  np.testing.assert_array_equal(image_ops.decode(encoded), expected)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P"])
def test_every_png_becomes_rgb(mode):
  picture = Image.fromarray(smooth_picture(20, 30)).convert(mode)
  buffer = io.BytesIO()
  picture.save(buffer, "PNG")
  np.testing.assert_array_equal(
    image_ops.decode(buffer.getvalue()), picture.convert("RGB")
  )


@pytest.mark.parametrize(
  ("height", "width", "size"),
  [(120, 160, 56), (161, 120, 56), (56, 81, 56), (40, 53, 56), (173, 256, 56)],
)
@pytest.mark.parametrize("how", ["crop", "squash"])
def test_views_are_those_of_pillow(height, width, size, how):
  pixels = smooth_picture(height, width)
  picture = Image.fromarray(pixels)
  if how == "crop":
    rows, columns = geometry.resized_shape(height, width, size)
    picture = picture.resize((columns, rows), Image.Resampling.BICUBIC)
    top = geometry.crop_offset(rows, size)
    left = geometry.crop_offset(columns, size)
    picture = picture.crop((left, top, left + size, top + size))
  else:
    picture = picture.resize((size, size), Image.Resampling.BICUBIC)
  result = image_ops.view(tf.constant(pixels), size, how).numpy()
  assert result.dtype == np.uint8
  difference = np.abs(result.astype(int) - np.asarray(picture, int))
  # Both round to whole levels between their two passes, which come in the
  # other order.
  assert difference.max() <= 2
  assert np.mean(difference > 1) < 1e-3
  assert np.mean(difference > 0) < 0.25


@pytest.mark.parametrize("how", ["crop", "squash"])
def test_a_picture_of_the_right_size_is_left_alone(how):
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (56, 56, 3), np.uint8)
  np.testing.assert_array_equal(
    image_ops.view(tf.constant(noise), 56, how), noise
  )


@pytest.mark.parametrize("shape", [(56, 81), (90, 56)])
def test_a_picture_of_the_right_shorter_side_is_only_cut(shape):
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (*shape, 3), np.uint8)
  top, left = (geometry.crop_offset(side, 56) for side in shape)
  np.testing.assert_array_equal(
    image_ops.view(tf.constant(noise), 56, "crop"),
    noise[top : top + 56, left : left + 56],
  )
  squashed = image_ops.view(tf.constant(noise), 56, "squash")
  assert (squashed != noise[top : top + 56, left : left + 56]).numpy().any()


def test_columns_first_is_pillow_in_two_steps():
  rng = np.random.default_rng(0)
  pixels = smooth_picture(150, 201)
  noise = rng.integers(-20, 20, pixels.shape)
  pixels = np.clip(pixels + noise, 40, 215).astype(np.uint8)
  picture = Image.fromarray(pixels)
  for size in ((201, 64), (64, 64)):
    picture = picture.resize(size, Image.Resampling.BICUBIC)
  result = image_ops.view(tf.constant(pixels), 64, "squash").numpy()
  difference = np.abs(result.astype(int) - np.asarray(picture, int))
  # Weights of 14 bits against Pillow's 22: ties fall differently.
  assert difference.max() <= 1
  assert np.mean(difference > 0) < 0.03


def test_normalised_as_clip_does():
  pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
  result = image_ops.normalize(tf.constant(pixels)).numpy()
  assert result.dtype == np.float32
  mean = (0.48145466, 0.4578275, 0.40821073)
  stddev = (0.26862954, 0.26130258, 0.27577711)
  expected = (pixels / 255 - mean) / stddev
  # float32 against float64, values up to 2.
  np.testing.assert_allclose(result, expected, atol=5e-7)
  np.testing.assert_array_equal(batch_lib.denormalize(result), pixels)


@pytest.mark.parametrize("cut", [0, 20, 400])
def test_what_does_not_decode_is_named(cut):
  encoded = encode(smooth_picture(60, 60), "JPEG")[:cut]
  with pytest.raises(
    ValueError, match=r"^example 'x': the image .* whole JPEG"
  ):
    image_ops.decode_or_raise(encoded, "example 'x'")
