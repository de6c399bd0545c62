"""What the page refuses, and in which words."""

import zlib

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.generation.prompting import prepare_image
from kosmos2_jax.page import limits as limits_lib
from kosmos2_jax.page.limits import Limits

LIMITS = Limits(
  picture_bytes=100_000, picture_pixels=10_000, text_chars=9, new_tokens=64
)


@pytest.fixture
def picture(tmp_path):
  pixels = np.random.default_rng(0).integers(256, size=(40, 50, 3))
  path = tmp_path / "a.png"
  Image.fromarray(pixels.astype(np.uint8)).save(path)
  return path


def test_a_picture_is_seen_as_the_predictor_sees_the_file(picture):
  opened = limits_lib.open_picture(str(picture), 16, LIMITS)
  assert (opened.name, opened.width, opened.height) == ("a.png", 50, 40)
  np.testing.assert_array_equal(
    prepare_image(opened.seen, 16), prepare_image(picture, 16)
  )
  assert opened.url.startswith("data:image/jpeg;base64,")


def test_what_is_no_picture_is_named_without_its_folder(tmp_path):
  path = tmp_path / "notes.txt"
  path.write_text("no picture")
  with pytest.raises(ValueError, match="not a readable picture") as caught:
    limits_lib.open_picture(str(path), 16, LIMITS)
  assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
  ("size", "message"),
  [
    ((101, 100), "101 x 100 = 10,100 pixels and the limit is 10,000"),
    ((60_000, 60_000), "far too large: the limit is 10,000 pixels"),
  ],
)
def test_a_large_picture_is_not_decoded(tmp_path, monkeypatch, size, message):
  path = tmp_path / "a.png"
  Image.new("1", (8, 8)).save(path)
  data = bytearray(path.read_bytes())
  # Only the head says how large it is; Pillow checks its sum, so write it.
  data[16:24] = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
  data[29:33] = _crc(bytes(data[12:29]))
  path.write_bytes(data)
  monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
  with pytest.raises(ValueError, match=message):
    limits_lib.open_picture(str(path), 16, LIMITS)


def _crc(data):
  return zlib.crc32(data).to_bytes(4, "big")


def test_a_large_file_is_not_opened(picture):
  small = Limits(picture_bytes=10)
  with pytest.raises(ValueError, match="bytes and the limit is 10:"):
    limits_lib.open_picture(str(picture), 16, small)


def test_words():
  assert limits_lib.words(" a cup ", "a question", LIMITS) == "a cup"
  for empty in ("", "  ", None):
    with pytest.raises(ValueError, match="Type a question first"):
      limits_lib.words(empty, "a question", LIMITS)
  with pytest.raises(ValueError, match="10 characters and the limit is 9"):
    limits_lib.words("x" * 10, "a question", LIMITS)


def test_boxes():
  assert limits_lib.box("0, 0.25,0.5 , 1") == (0, 0.25, 0.5, 1)
  for wrong in ("", None, "a", "1,2,3", "0,0,0.5,2", "nan,0,1,1", "0,0,1,1,1"):
    with pytest.raises(ValueError, match="Draw a box on the picture"):
      limits_lib.box(wrong)
  with pytest.raises(ValueError, match="no area"):
    limits_lib.box("0.5, 0, 0.5, 1")


def test_sampling():
  drawn = limits_lib.sampling(0.5, 0.9, 5, 1, 32, LIMITS)
  assert drawn == {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "seed": 1,
    "max_new_tokens": 32,
  }
  greedy = limits_lib.sampling(0, 0.9, 5, 1, 32, LIMITS)
  assert (greedy["top_p"], greedy["top_k"]) == (1.0, 0)
  for wrong in ((9, 1, 0, 0, 1), (0, 1, 0, -1, 1), (0, 1, 0, 0, 65)):
    with pytest.raises(ValueError, match="must be a number from"):
      limits_lib.sampling(*wrong, LIMITS)
  with pytest.raises(ValueError, match="got None"):
    limits_lib.sampling(None, 1, 0, 0, 1, LIMITS)
