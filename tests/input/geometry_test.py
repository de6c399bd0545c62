"""Shapes from headers, and boxes that follow the picture."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.input import geometry


def crop(box, width, height, size=224):
  return geometry.crop_box(box, height=height, width=width, size=size)


@pytest.mark.parametrize(
  ("width", "height", "box", "expected"),
  [
    # The original's own results.
    (640, 480, (0.25, 0.25, 0.75, 0.75), (0.16741, 0.25, 0.83259, 0.75)),
    (480, 640, (0.1, 0.05, 0.9, 0.5), (0.1, 0.0, 0.9, 0.5)),
    (640, 480, (0.0, 0.0, 0.15, 1.0), None),
  ],
)
def test_centre_crop_as_in_the_original(width, height, box, expected):
  result = crop(box, width, height)
  assert result == (expected and pytest.approx(expected, abs=5e-6))


def test_centre_crop_by_hand():
  # 1024 x 693 becomes 330 x 224 (330.98 rounded down) and loses 53 a side.
  x1, y1, x2, y2 = crop((0.25, 0.125, 0.5, 0.5), 1024, 693)
  assert (x1, y1) == ((0.25 * 330 - 53) / 224, 0.125)
  assert (x2, y2) == ((0.5 * 330 - 53) / 224, 0.5)


def test_a_box_needs_a_fifth_of_its_area():
  # 448 x 224: the crop is the middle half, 0.25..0.75.
  assert crop((0.0, 0.0, 0.3125, 1.0), 448, 224) == (0, 0, 0.125, 1)
  assert crop((0.0, 0.0, 0.3124, 1.0), 448, 224) is None


@pytest.mark.parametrize(
  "box",
  [
    (0.5, 0.5, 0.5, 0.9),
    (0.9, 0.2, 0.1, 0.8),
    (0.9, 0.9, 0.1, 0.1),
    (1.2, 0.1, 1.4, 0.9),
    (math.nan, 0.0, 1.0, 1.0),
    (0.0, 0.0, 1.0, math.nan),
  ],
)
def test_boxes_without_area_are_dropped_in_every_view(box):
  assert crop(box, 640, 480) is None
  assert geometry.squash_box(box) is None


def test_squash_cuts_at_the_border():
  assert geometry.squash_box((-0.5, 0.25, 1.5, 0.5)) == (0, 0.25, 1, 0.5)


def test_results_always_have_cells():
  rng = np.random.default_rng(0)
  for box in map(tuple, rng.uniform(-0.5, 1.5, (2000, 4)).tolist()):
    for result in (crop(box, 500, 300, 64), geometry.squash_box(box)):
      if result is not None:
        x1, y1, x2, y2 = result
        assert 0 <= x1 < x2 <= 1
        assert 0 <= y1 < y2 <= 1


@pytest.mark.parametrize(
  ("height", "width", "expected"),
  [
    (480, 640, (224, 298)),
    (693, 1024, (224, 330)),
    (640, 480, (298, 224)),
    (224, 500, (224, 500)),
    (100, 100, (224, 224)),
    (64, 1000, (224, 3500)),
  ],
)
def test_shorter_side_to_size(height, width, expected):
  assert geometry.resized_shape(height, width, 224) == expected


def test_crop_offset_rounds_halves_to_even():
  offsets = [geometry.crop_offset(n, 224) for n in (224, 225, 226, 227, 229)]
  assert offsets == [0, 0, 1, 2, 2]


@pytest.mark.parametrize(
  ("file_format", "options"),
  [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"exif": b"Exif\0\0" + b"\xff\xc0" * 300}),
    ("PNG", {}),
  ],
)
def test_shape_from_the_header(file_format, options):
  buffer = io.BytesIO()
  Image.new("RGB", (37, 21)).save(buffer, file_format, **options)
  assert geometry.image_shape(buffer.getvalue()) == (21, 37)


@pytest.mark.parametrize(
  ("encoded", "message"),
  [
    (b"", "starts with nothing"),
    (b"<html>not found</html>", "not a JPEG or PNG"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", "not a JPEG or PNG"),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF", "no frame in its 10 bytes"),
    (b"\xff\xd8" + b"\0" * 40, "no marker at byte 2"),
  ],
)
def test_what_is_no_picture(encoded, message):
  with pytest.raises(ValueError, match=message):
    geometry.image_shape(encoded)
