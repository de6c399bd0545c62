"""Checks a picture by decoding all of it, and settles how it is stored.

Pixels are taken as they are stored. An EXIF orientation is only applied on
request (`upright`): the boxes of GrIT and COCO refer to the stored rows and
columns, and the decoders of the input pipeline do not apply it either.
"""

import dataclasses
import io
import warnings

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.building.drops import Drop, Dropped

FORMATS = ("JPEG", "PNG", "WEBP")
# A picture is wholly in memory while it is checked: 3 bytes a pixel.
MAX_PIXELS = 64_000_000
JPEG_QUALITY = 95
# A PNG starts with 8 bytes of signature, the IHDR chunk's length and name (8),
# width and height (8), then the bit depth.
PNG_BIT_DEPTH_AT = 24

ORIENTATION_TAG = 0x0112
# What turns a stored picture upright, by its EXIF orientation. Pillow's
# exif_transpose also writes the EXIF anew, which fails where it is damaged.
_ORIENTATIONS = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


@dataclasses.dataclass(frozen=True)
class Picture:
  """Encoded 8-bit RGB, JPEG or PNG.

  data       the encoded bytes
  width      in pixels, as it is stored
  height     in pixels, as it is stored
  reencoded  whether `data` was given in another form: not 8-bit RGB in a JPEG
             or PNG, or not upright
  resized    whether it was larger when it was given
  """

  data: bytes
  width: int
  height: int
  reencoded: bool
  resized: bool = False


def check_picture(
  data: bytes, *, min_side: int, shorter_side: int = 0, upright: bool = False
) -> Picture:
  """Decodes a JPEG, PNG or WebP completely and returns it ready to store.

  8-bit RGB in a JPEG or PNG passes byte for byte. Everything else (greyscale,
  palette, transparency, CMYK, 16 bits, WebP) is made 8-bit RGB, transparent
  parts on white as img2dataset does, and encoded again: without loss if it was
  a PNG, otherwise as JPEG of quality 95. Only the first frame counts.

  Args:
    data: the encoded picture.
    min_side: shorter side in pixels below which it is dropped.
    shorter_side: where the shorter side is longer, the picture is resized to
      it (bicubic, the shape kept to the nearest pixel) and becomes a JPEG of
      quality 95. Normalised boxes still fit. 0: never.
    upright: apply the EXIF orientation, as viewers do. Boxes that people drew
      on the picture they saw then fit; those of detectors and of data sets
      that took the stored pixels do not.

  Raises Dropped: CORRUPT_PICTURE, PICTURE_TOO_SMALL, PICTURE_TOO_LARGE.
  """
  with warnings.catch_warnings():
    # Pillow warns of oddities (bad EXIF, palettes with transparency) that do
    # not touch the pixels; whatever does is raised.
    warnings.simplefilter("ignore")
    try:
      image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
      raise Dropped(Drop.PICTURE_TOO_LARGE) from None
    except Exception:  # Decoders raise anything on damaged data.
      raise Dropped(Drop.CORRUPT_PICTURE) from None
    width, height = image.size
    if width * height > MAX_PIXELS:
      raise Dropped(Drop.PICTURE_TOO_LARGE)
    if min(width, height) < min_side:
      raise Dropped(Drop.PICTURE_TOO_SMALL)
    try:
      image.load()
      plain = _is_plain(image, data)
      turned = upright and _is_turned(image)
      size = _fitting(image.size, shorter_side)
      stored, encoding = data, image.format
      if size != image.size or turned or not plain:
        pixels = Image.fromarray(_to_rgb(image))
        if turned:
          # The tag is in the picture that was decoded, not in its pixels.
          pixels = pixels.transpose(_ORIENTATIONS[_orientation(image)])
        if size != image.size:
          size = _fitting(pixels.size, shorter_side)
          pixels = pixels.resize(size, Image.Resampling.BICUBIC)
          encoding = "JPEG"
        stored = _encode(pixels, encoding)
        width, height = pixels.size
    except Exception:
      raise Dropped(Drop.CORRUPT_PICTURE) from None
  resized = min(width, height) < min(image.size)
  return Picture(
    stored, width, height, reencoded=turned or not plain, resized=resized
  )


def _fitting(size: tuple[int, int], shorter_side: int) -> tuple[int, int]:
  """The size with its shorter side not above `shorter_side` (0: as it is)."""
  shorter = min(size)
  if not shorter_side or shorter <= shorter_side:
    return size
  width, height = (round(side * shorter_side / shorter) for side in size)
  return width, height


def _orientation(image: Image.Image) -> int:
  """The EXIF orientation, 1 (upright) where there is none that makes sense."""
  try:
    value = image.getexif().get(ORIENTATION_TAG, 1)
  except Exception:  # Damaged EXIF says nothing; the pixels are good.
    return 1
  return value if value in _ORIENTATIONS else 1


def _is_turned(image: Image.Image) -> bool:
  return _orientation(image) != 1


def _is_plain(image: Image.Image, data: bytes) -> bool:
  """Whether every decoder makes the same 8-bit RGB of these bytes."""
  if image.mode != "RGB" or "transparency" in image.info:
    return False
  if image.format == "PNG":
    return data[PNG_BIT_DEPTH_AT] == 8
  return image.format in ("JPEG", "MPO")  # MPO: a JPEG with more behind it.


def _to_rgb(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
  """8-bit RGB of a picture of any mode."""
  if image.mode.startswith("I"):
    # 16-bit grey; Pillow's own conversion would cut at 255 and not scale.
    grey = np.asarray(image).astype(np.uint32)
    grey = ((grey * 255 + 32767) // 65535).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
  if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
    front = image.convert("RGBA")
    paper = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(paper, front)
  return np.asarray(image.convert("RGB"))


def _encode(image: Image.Image, encoding: str | None) -> bytes:
  """Encodes without metadata, which described the picture that was."""
  buffer = io.BytesIO()
  if encoding == "PNG":
    image.save(buffer, "PNG")
  else:
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
  return buffer.getvalue()
