"""Checks a picture by decoding all of it, and settles how it is stored.

Pixels are taken as they are stored. An EXIF orientation is not applied: the
boxes of GrIT refer to the stored rows and columns, and the decoders of the
input pipeline do not apply it either.
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


@dataclasses.dataclass(frozen=True)
class Picture:
  """Encoded 8-bit RGB, JPEG or PNG.

  data       the encoded bytes
  width      in pixels
  height     in pixels
  reencoded  whether `data` differs from what was given
  """

  data: bytes
  width: int
  height: int
  reencoded: bool


def check_picture(data: bytes, *, min_side: int) -> Picture:
  """Decodes a JPEG, PNG or WebP completely and returns it ready to store.

  8-bit RGB in a JPEG or PNG passes byte for byte. Everything else (greyscale,
  palette, transparency, CMYK, 16 bits, WebP) is made 8-bit RGB, transparent
  parts on white as img2dataset does, and encoded again: without loss if it was
  a PNG, otherwise as JPEG of quality 95. Only the first frame counts.

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
      stored = data if plain else _encode(_to_rgb(image), image.format)
    except Exception:
      raise Dropped(Drop.CORRUPT_PICTURE) from None
  return Picture(stored, width, height, reencoded=not plain)


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


def _encode(
  pixels: UInt8[np.ndarray, "height width 3"], source: str | None
) -> bytes:
  """Encodes without metadata, which described the picture that was."""
  buffer = io.BytesIO()
  image = Image.fromarray(pixels)
  if source == "PNG":
    image.save(buffer, "PNG")
  else:
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
  return buffer.getvalue()
