"""Files, PIL images and arrays as RGB pictures, and what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps

from kosmos2_jax.generation import pictures, prompting

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)


def read(image):
  return np.asarray(pictures.read_image(image))


def png_without_data(width, height):
  """A PNG that says how large it is, and holds no pixel."""

  def chunk(kind, data):
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check

  header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  return b"".join(
    [
      b"\x89PNG\r\n\x1a\n",
      chunk(b"IHDR", header),
      chunk(b"IDAT", b""),
      chunk(b"IEND", b""),
    ]
  )


def test_kinds_of_pictures_are_the_same_picture(tmp_path):
  path = tmp_path / "picture.png"
  Image.fromarray(PICTURE).save(path)
  rgba = Image.fromarray(PICTURE).convert("RGBA")
  for picture in (path, str(path), PICTURE, Image.fromarray(PICTURE), rgba):
    np.testing.assert_array_equal(read(picture), PICTURE)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode, tmp_path):
  picture = Image.new("RGBA", (2, 1), (200, 10, 30, 255))
  picture.putpixel((1, 0), (200, 10, 30, 0))
  picture.convert(mode).save(tmp_path / "a.png")
  left, right = read(tmp_path / "a.png")[0].tolist()
  assert right == [255, 255, 255]
  assert left != right


def test_rarer_ways_of_transparency_are_white_too():
  clear = Image.new("RGBA", (1, 1), (200, 10, 30, 0)).convert("RGBa")
  for picture in (clear, Image.new("PA", (1, 1), (0, 0))):
    assert read(picture).tolist() == [[[255, 255, 255]]]


def test_one_colour_may_be_the_transparent_one(tmp_path):
  path = tmp_path / "a.png"
  Image.fromarray(PICTURE).save(
    path, transparency=tuple(PICTURE[0, 0].tolist())
  )
  expected = PICTURE.copy()
  expected[0, 0] = 255
  np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize(
  ("mode", "value", "rgb"),
  [
    ("1", 1, [255, 255, 255]),
    ("L", 77, [77, 77, 77]),
    ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
    ("CMYK", (0, 0, 0, 255), [0, 0, 0]),
    ("YCbCr", (128, 128, 128), [128, 128, 128]),
    ("HSV", (0, 255, 255), [255, 0, 0]),
    ("RGBX", (1, 2, 3, 0), [1, 2, 3]),
  ],
)
def test_other_modes_have_exact_colours(mode, value, rgb):
  assert read(Image.new(mode, (3, 2), value))[1, 2].tolist() == rgb


def test_the_a_of_lab_is_a_colour_and_not_transparency():
  # A level of rounding, of the profiles' fixed-point numbers.
  for lab, wanted in (
    ((255, 128, 128), (255, 255, 255)),
    ((128, 128, 128), (119, 119, 119)),
    (0, (0, 59, 195)),  # all bytes are 0, the one that pads them, too
  ):
    [[rgb]] = read(Image.new("LAB", (1, 1), lab)).tolist()
    assert np.abs(np.subtract(rgb, wanted)).max() <= 1


@pytest.mark.parametrize("name", ["a.png", "a.pgm", "a.tif", "a.jp2"])
def test_gray_of_16_bits_is_scaled_and_not_clipped(name, tmp_path):
  values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
  path = tmp_path / name
  Image.fromarray(values).save(path)
  assert read(path)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_gray_of_16_bits_in_memory_and_with_a_transparent_value(tmp_path):
  values = np.array([[0, 514, 65535]], np.uint16)
  picture = Image.fromarray(values)
  assert read(picture)[0].tolist() == [[0] * 3, [2] * 3, [255] * 3]
  big = Image.frombytes("I;16B", (3, 1), values.astype(">u2").tobytes())
  assert read(big)[0, :, 2].tolist() == [0, 2, 255]
  picture.save(tmp_path / "a.png", transparency=514)
  assert read(tmp_path / "a.png")[0, :, 1].tolist() == [0, 255, 255]


@pytest.mark.parametrize("mode", ["F", "I", "La"])
def test_modes_of_unknown_range_are_refused_by_name(mode, tmp_path):
  picture = Image.new(mode, (2, 2))
  with pytest.raises(ValueError, match=rf"PIL image has the mode '{mode}'"):
    pictures.read_image(picture)
  if mode != "La":
    picture.save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a.tif' has the mode '{mode}'"):
      pictures.read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_files_are_turned_upright(orientation, name, tmp_path):
  exif = Image.Exif()
  exif[0x0112] = orientation
  path = tmp_path / name
  more = {"lossless": True} if name == "a.webp" else {}
  Image.fromarray(PICTURE).save(path, exif=exif, **more)
  stored = Image.fromarray(PICTURE)
  stored.getexif()[0x0112] = orientation
  wanted = np.asarray(ImageOps.exif_transpose(stored))
  np.testing.assert_array_equal(read(path), wanted)
  if orientation == 6:  # a camera turned to the left: top is on the right
    assert wanted.shape == (4, 6, 3)
    np.testing.assert_array_equal(wanted[:, -1], PICTURE[0])


def test_pil_images_are_not_turned(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6
  path = tmp_path / "a.png"
  Image.fromarray(PICTURE).save(path, exif=exif)
  with Image.open(path) as opened:
    np.testing.assert_array_equal(read(opened), PICTURE)


def test_broken_exif_is_no_broken_picture(tmp_path):
  path = tmp_path / "a.png"
  Image.fromarray(PICTURE).save(path, exif=b"Exif\0\0nonsense")
  np.testing.assert_array_equal(read(path), PICTURE)


def test_large_files_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
  path = tmp_path / "bomb.png"
  path.write_bytes(png_without_data(8000, 6250))
  message = (
    r"bomb.png' is too large a picture to decode: 8000 x 6250 are 50,000,000"
    r" pixels and the limit is 40,000,000: make it smaller, or open it yourself"
  )
  with pytest.raises(ValueError, match=message):
    pictures.read_image(path)
  # Where Pillow itself would warn, and where it would refuse.
  for side in (12_000, 60_000):
    path.write_bytes(png_without_data(side, side))
    with pytest.raises(ValueError, match="too large a picture .*40,000,000"):
      pictures.read_image(path)
  # At the limit it is decoded, and found to hold nothing.
  path.write_bytes(png_without_data(8000, 5000))
  with pytest.raises(ValueError, match="not a readable image"):
    pictures.read_image(path)
  monkeypatch.setattr(pictures, "MAX_FILE_PIXELS", 23)
  Image.fromarray(PICTURE).save(path)
  with pytest.raises(ValueError, match="4 x 6 are 24 pixels"):
    pictures.read_image(path)
  # The limit is one of files.
  np.testing.assert_array_equal(read(PICTURE), PICTURE)
  np.testing.assert_array_equal(read(Image.fromarray(PICTURE)), PICTURE)


def test_postscript_is_not_run(tmp_path, monkeypatch):
  def run(*_, **__):
    raise AssertionError("Pillow starts Ghostscript")

  monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
  path = tmp_path / "a.png"
  Image.fromarray(PICTURE).save(path, "EPS")
  with pytest.raises(ValueError, match="is PostScript, a program"):
    pictures.read_image(path)


@pytest.mark.parametrize(
  ("picture", "found"),
  [
    (np.zeros((0, 5, 3), np.uint8), r"pixels; got \[0, 5, 3\]"),
    (np.zeros((5, 0, 3), np.uint8), r"pixels; got \[5, 0, 3\]"),
    (Image.new("RGB", (0, 5)), "PIL image has no pixels: it is 0 x 5"),
    (Image.new("L", (5, 0)), "PIL image has no pixels: it is 5 x 0"),
    (np.zeros((6, 6, 3)), r"uint8 .* got float64 \[6, 6, 3\]"),
    (np.zeros((6, 6, 3), np.float32), r"uint8 .* got float32 \[6, 6, 3\]"),
    (np.zeros((6, 6), np.uint8), r"got uint8 \[6, 6\]"),
    (np.zeros((6, 6, 4), np.uint8), r"got uint8 \[6, 6, 4\]"),
    (np.zeros((1, 6, 6, 3), np.uint8), r"got uint8 \[1, 6, 6, 3\]"),
  ],
)
def test_what_is_no_picture_in_memory_says_so(picture, found):
  with pytest.raises(ValueError, match=found):
    pictures.read_image(picture)


def test_what_is_no_picture_file_says_so(tmp_path):
  path = tmp_path / "notes.png"
  with pytest.raises(FileNotFoundError, match=r"'.*notes.png': it does not"):
    pictures.read_image(path)
  with pytest.raises(FileNotFoundError, match="it is a folder"):
    pictures.read_image(tmp_path)
  path.write_text("this is text")
  with pytest.raises(ValueError, match=r"notes.png' is not a readable image"):
    pictures.read_image(path)
  path.write_bytes(b"")
  with pytest.raises(ValueError, match=r"notes.png' is not a readable image"):
    pictures.read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_half_a_file_is_not_readable(kind, tmp_path):
  whole = io.BytesIO()
  noise = RNG.integers(0, 256, (64, 64, 3), np.uint8)
  Image.fromarray(noise).save(whole, kind)
  path = tmp_path / "half"
  path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
  with pytest.raises(ValueError, match=r"half' is not a readable image"):
    pictures.read_image(path)
  if kind != "WEBP":  # whose header is not read without the rest
    with (
      Image.open(path) as opened,
      pytest.raises(ValueError, match="the PIL image is not a readable image"),
    ):
      pictures.read_image(opened)


# Pillow warns of the tags of a TIFF that it cannot read.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "PPM", "SGI", "TIFF", "BMP"])
def test_damage_is_an_error_or_a_picture(kind, tmp_path):
  rng = np.random.default_rng(1)
  whole = io.BytesIO()
  Image.fromarray(PICTURE).save(whole, kind)
  path = tmp_path / "damaged"
  refused = 0
  for _ in range(200):
    data = bytearray(whole.getvalue())
    for place in rng.integers(0, min(len(data), 200), 4):
      data[place] = rng.integers(0, 256)
    path.write_bytes(data)
    try:
      assert pictures.read_image(path).mode == "RGB"
    except ValueError as error:
      assert "damaged' " in str(error)  # ours, which name the file
      refused += 1
  assert refused


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
  red, blue = (Image.new("RGB", (3, 3), c) for c in ("#ff0000", "#0000ff"))
  red.save(tmp_path / "a.gif", save_all=True, append_images=[blue])
  assert (read(tmp_path / "a.gif") == [255, 0, 0]).all()


@pytest.mark.parametrize("shape", [(1, 5000, 3), (5000, 1, 3)])
def test_thin_pictures_are_squashed_like_others(shape):
  picture = np.full(shape, 255, np.uint8)
  picture[: shape[0] // 2 or None, : shape[1] // 2 or None] = 0
  prepared = prompting.prepare_image(picture, 8)
  assert prepared.shape == (8, 8, 3)
  along = prepared[0] if shape[1] > 1 else prepared[:, 0]
  across = prepared if shape[1] > 1 else prepared.transpose(1, 0, 2)
  np.testing.assert_array_equal(across, np.broadcast_to(along, across.shape))
  assert (along[0] < along[-1]).all()
