"""Which pictures are stored as they are, and what the others become."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from data.building import pictures
from data.building.drops import Drop, Dropped
from data.building.pictures import check_picture


def encode(image, encoding="JPEG", **options):
  buffer = io.BytesIO()
  image.save(buffer, encoding, **options)
  return buffer.getvalue()


def decode(data):
  image = Image.open(io.BytesIO(data))
  assert image.mode == "RGB"
  return np.asarray(image).astype(int), image.format


@pytest.fixture
def picture(maker):
  return maker.picture()


@pytest.mark.parametrize(
  ("encoding", "options"),
  [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"subsampling": 0}),
    ("PNG", {}),
  ],
)
def test_rgb_passes_byte_for_byte(picture, encoding, options):
  data = encode(picture, encoding, **options)
  checked = check_picture(data, min_side=1)
  assert checked.data == data
  assert not checked.reencoded
  assert (checked.width, checked.height) == (48, 40)


def test_exif_orientation_is_not_applied(picture):
  exif = Image.Exif()
  exif[0x0112] = 6  # Shown turned by a quarter.
  data = encode(picture, exif=exif)
  checked = check_picture(data, min_side=1)
  assert checked.data == data
  assert (checked.width, checked.height) == (48, 40)
  # Nor when the picture has to be encoded again; the tag is then gone.
  again = check_picture(encode(picture.convert("L"), exif=exif), min_side=1)
  image = Image.open(io.BytesIO(again.data))
  assert image.size == (48, 40)
  assert 0x0112 not in image.getexif()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "WEBP"])
def test_upright_is_what_a_viewer_shows(picture, orientation, encoding):
  exif = Image.Exif()
  exif[0x0112] = orientation
  data = encode(picture, encoding, exif=exif)
  checked = check_picture(data, min_side=1, upright=True)
  shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
  pixels, _ = decode(checked.data)
  assert (checked.width, checked.height) == shown.size
  assert pixels.shape == (shown.height, shown.width, 3)
  assert np.abs(pixels - np.asarray(shown.convert("RGB"))).mean() < 2
  assert 0x0112 not in Image.open(io.BytesIO(checked.data)).getexif() or (
    orientation == 1
  )
  turned = orientation != 1
  assert checked.reencoded == (turned or encoding == "WEBP")
  assert (checked.data == data) == (not checked.reencoded)
  assert not checked.resized


def test_upright_with_exif_that_makes_no_sense(picture):
  exif = Image.Exif()
  exif[0x0112] = 99
  data = encode(picture, exif=exif)
  assert check_picture(data, min_side=1, upright=True).data == data
  damaged = data.replace(b"Exif\0\0MM", b"Exif\0\0xx")
  damaged = damaged.replace(b"Exif\0\0II", b"Exif\0\0xx")
  assert damaged != data
  assert check_picture(damaged, min_side=1, upright=True).data == damaged


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (61, 200)])
def test_larger_pictures_are_resized(maker, size):
  picture = maker.picture(*size)
  checked = check_picture(encode(picture), min_side=1, shorter_side=30)
  factor = 30 / min(size)
  expected = tuple(round(side * factor) for side in size)
  pixels, encoding = decode(checked.data)
  assert (checked.width, checked.height) == expected
  assert pixels.shape == (expected[1], expected[0], 3)
  assert encoding == "JPEG"
  assert checked.resized
  assert not checked.reencoded
  small = np.asarray(picture.resize(expected, Image.Resampling.BICUBIC))
  assert np.abs(pixels - small).mean() < 4


def test_small_enough_pictures_are_kept_byte_for_byte(picture):
  data = encode(picture)
  for shorter_side in (40, 41):
    checked = check_picture(data, min_side=1, shorter_side=shorter_side)
    assert checked.data == data
    assert not checked.resized
  assert check_picture(data, min_side=1, shorter_side=39).height == 39


def test_min_side_is_of_what_was_given(picture):
  with pytest.raises(Dropped) as dropped:
    check_picture(encode(picture), min_side=41, shorter_side=30)
  assert dropped.value.reason is Drop.PICTURE_TOO_SMALL
  assert check_picture(encode(picture), min_side=40, shorter_side=30).resized


def test_resized_upright_and_of_another_mode(picture):
  exif = Image.Exif()
  exif[0x0112] = 6
  data = encode(picture.convert("P"), "PNG", exif=exif)
  checked = check_picture(data, min_side=1, shorter_side=20, upright=True)
  assert (checked.width, checked.height) == (20, 24)
  assert (checked.reencoded, checked.resized) == (True, True)
  assert decode(checked.data)[1] == "JPEG"


def test_grey_and_palette_png_without_loss(picture):
  for mode in ("L", "P", "1"):
    other = picture.convert(mode)
    checked = check_picture(encode(other, "PNG"), min_side=1)
    pixels, encoding = decode(checked.data)
    assert checked.reencoded
    assert encoding == "PNG"
    assert (pixels == np.asarray(other.convert("RGB"))).all()


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpeg_of_another_mode(picture, mode):
  data = encode(picture.convert(mode))
  checked = check_picture(data, min_side=1)
  pixels, encoding = decode(checked.data)
  expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
  assert checked.reencoded
  assert encoding == "JPEG"
  # Quality 95 without chroma subsampling: a few of 256 steps.
  assert np.abs(pixels - expected).mean() < 2


def test_webp_becomes_jpeg(picture):
  checked = check_picture(encode(picture, "WEBP"), min_side=1)
  pixels, encoding = decode(checked.data)
  assert encoding == "JPEG"
  assert np.abs(pixels - np.asarray(picture)).mean() < 8


def test_sixteen_bits_are_scaled():
  ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
  checked = check_picture(encode(Image.fromarray(ramp), "PNG"), min_side=1)
  pixels, encoding = decode(checked.data)
  assert (encoding, checked.reencoded) == ("PNG", True)
  assert np.abs(pixels[..., 0] - ramp / 257).max() <= 0.5
  assert (pixels[0, 0, 0], pixels[-1, -1, 2]) == (0, 255)


def test_sixteen_bit_rgb_png():
  def chunk(name, data):
    crc = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

  rows = b"".join(b"\0" + b"\x80\x01\x40\x02\xff\xff" * 8 for _ in range(8))
  data = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(rows))
    + chunk(b"IEND", b"")
  )
  checked = check_picture(data, min_side=1)
  assert checked.reencoded
  assert (decode(checked.data)[0] == (128, 64, 255)).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_on_white(mode):
  image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
  image.paste((0, 0, 0, 255), (20, 0, 40, 40))
  checked = check_picture(encode(image.convert(mode), "PNG"), min_side=1)
  pixels, _ = decode(checked.data)
  assert (pixels[:, :20] == 255).all()
  assert (pixels[:, 20:] == 0).all()


def test_transparent_colour_of_an_rgb_png():
  image = Image.new("RGB", (40, 40), (255, 0, 0))
  image.paste((0, 0, 255), (20, 0, 40, 40))
  data = encode(image, "PNG", transparency=(255, 0, 0))
  pixels, _ = decode(check_picture(data, min_side=1).data)
  assert (pixels[:, :20] == 255).all()
  assert (pixels[:, 20:] == (0, 0, 255)).all()


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "WEBP"])
def test_decoded_to_the_last_row(picture, encoding):
  data = encode(picture.resize((200, 200)), encoding)
  for cut in (5, len(data) // 2, len(data) - len(data) // 10):
    with pytest.raises(Dropped) as dropped:
      check_picture(data[:cut], min_side=1)
    assert dropped.value.reason is Drop.CORRUPT_PICTURE


@pytest.mark.parametrize("encoding", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_no_pictures(picture, encoding):
  with pytest.raises(Dropped) as dropped:
    check_picture(encode(picture, encoding), min_side=1)
  assert dropped.value.reason is Drop.CORRUPT_PICTURE


def test_too_large_is_not_decoded(picture, monkeypatch):
  monkeypatch.setattr(pictures, "MAX_PIXELS", 48 * 40 - 1)
  data = encode(picture)
  monkeypatch.setattr(
    ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded")
  )
  with pytest.raises(Dropped) as dropped:
    check_picture(data, min_side=1)
  assert dropped.value.reason is Drop.PICTURE_TOO_LARGE


@pytest.mark.parametrize("side", [10_000, 20_000])  # Pillow warns, raises.
def test_bomb(side):
  bomb = encode(Image.new("1", (side, side)), "PNG")
  with pytest.raises(Dropped) as dropped:
    check_picture(bomb, min_side=1)
  assert dropped.value.reason is Drop.PICTURE_TOO_LARGE
