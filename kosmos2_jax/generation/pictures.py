"""Pictures as people have them: files, PIL images, arrays; RGB comes out.

A file may come from anywhere, so it is looked at before it is decoded: how
large it says it is, and what kind it is. What people hold in memory already
is taken as it is.
"""

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

# Larger files are not decoded: 40 million pixels are 120 MB as RGB, and the
# vision encoder sees a square of 224 x 224 of them.
MAX_FILE_PIXELS = 40_000_000

ImageLike = Image.Image | np.ndarray | str | os.PathLike

_ADVICE = (
  "make it smaller, or open it yourself and give the PIL image or the array"
)
_ALPHA = ("RGBA", "RGBa", "LA", "PA")
_KEYED = ("1", "L", "P", "RGB")  # may name a colour that is transparent
_CONVERTIBLE = (*_KEYED, "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
# Formats whose wide integers ("I") are 16 bits by definition.
_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")
_ORIENTATION = 0x0112  # of EXIF
_UPRIGHT = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


def read_image(image: ImageLike) -> Image.Image:
  """Returns an RGB picture; what is transparent becomes white.

  A file is turned upright where its EXIF orientation says so: boxes belong to
  the picture as people see it. PIL images and arrays are never turned. Of an
  animation the first frame is taken. Greyscale of 16 bits keeps its upper
  eight, rounded, where Pillow would clip it to white.

  Raises:
    FileNotFoundError: for a path that is no file.
    ValueError: for a file that is no picture, or one of more than
      `MAX_FILE_PIXELS`; a picture without pixels; a mode whose range is not
      known, such as "F"; or an array that is not uint8 [height, width, 3].
    TypeError: for anything that is not a picture, an array or a path.
  """
  if isinstance(image, Image.Image):
    return _to_rgb(image, "the PIL image")
  if isinstance(image, np.ndarray):
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
      raise ValueError(
        "an image array must be uint8 [height, width, 3]; got"
        f" {image.dtype} {list(image.shape)}."
      )
    if not image.size:
      raise ValueError(f"an image array needs pixels; got {list(image.shape)}.")
    return Image.fromarray(image)
  if isinstance(image, str | os.PathLike):
    return _read_file(os.fspath(image))
  raise TypeError(
    "an image must be a PIL image, a uint8 array or a path; got"
    f" {type(image).__name__}."
  )


def _read_file(name: str) -> Image.Image:
  if not Path(name).is_file():
    kind = "is a folder" if Path(name).is_dir() else "does not exist"
    raise FileNotFoundError(f"there is no image file {name!r}: it {kind}.")
  what = f"the file {name!r}"
  try:
    with warnings.catch_warnings():
      # Pillow's own limits are higher; where it warns, we refuse below.
      warnings.simplefilter("ignore", Image.DecompressionBombWarning)
      opened = Image.open(name)
  except Image.DecompressionBombError as error:
    raise ValueError(
      f"{what} is too large a picture to decode ({error}); the limit is"
      f" {MAX_FILE_PIXELS:,} pixels: {_ADVICE}."
    ) from error
  # Pillow raises any of these for damaged headers.
  except (OSError, SyntaxError, ValueError) as error:
    raise _unreadable(what) from error
  with opened:
    if opened.format == "EPS":
      # Pillow would start another program to run it.
      raise ValueError(
        f"{what} is PostScript, a program that draws a picture; give the"
        " picture, as a PNG or a JPEG."
      )
    width, height = opened.size
    if width * height > MAX_FILE_PIXELS:
      raise ValueError(
        f"{what} is too large a picture to decode: {width} x {height} are"
        f" {width * height:,} pixels and the limit is {MAX_FILE_PIXELS:,}:"
        f" {_ADVICE}."
      )
    _load(opened, what)
    upright = _UPRIGHT.get(_orientation(opened))
    picture = _to_rgb(opened, what)
  return picture.transpose(upright) if upright is not None else picture


def _load(picture: Image.Image, what: str) -> None:
  try:
    picture.load()
  except (OSError, SyntaxError, ValueError) as error:
    raise _unreadable(what) from error


def _unreadable(what: str) -> ValueError:
  return ValueError(
    f"{what} is not a readable image; give a JPEG, a PNG or another picture"
    " that Pillow opens."
  )


def _orientation(picture: Image.Image) -> int | None:
  # After decoding: Pillow turns TIFFs itself, and takes the tag away.
  try:
    return picture.getexif().get(_ORIENTATION)
  except (OSError, SyntaxError, ValueError):
    return None  # The camera's notes are broken; the picture is not.


def _to_rgb(picture: Image.Image, what: str) -> Image.Image:
  if not picture.width or not picture.height:
    raise ValueError(
      f"{what} has no pixels: it is {picture.width} x {picture.height}."
    )
  _load(picture, what)
  wide = picture.mode == "I" and picture.format in _SIXTEEN_BIT_FORMATS
  if picture.mode.startswith("I;16") or wide:
    return _from_16_bits(picture)
  # Dropping alpha would show whatever colour lies under the transparency. The
  # A of LAB is a colour.
  if picture.mode in _ALPHA or (
    picture.mode in _KEYED and "transparency" in picture.info
  ):
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
  if picture.mode not in _CONVERTIBLE:
    raise ValueError(
      f"{what} has the mode {picture.mode!r}, whose range of values is not"
      " known here; convert it to 'RGB' or 'L' first."
    )
  return picture.convert("RGB")


def _from_16_bits(picture: Image.Image) -> Image.Image:
  values = np.asarray(picture).astype(np.int64)
  gray = ((values + 128) // 257).astype(np.uint8)  # 65535 is white
  clear = picture.info.get("transparency")
  if isinstance(clear, int):
    gray[values == clear] = 255
  return Image.fromarray(gray).convert("RGB")
