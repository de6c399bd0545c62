"""Pictures beside a JSONL file: where they are, how large, how stored."""

import dataclasses
import io
import os
import pathlib
import posixpath
import re
import warnings

from PIL import Image, ImageOps

from data.building import pictures
from data.building.drops import Drop, Dropped
from data.jsonl import values
from data.jsonl.grounding import Size
from data.jsonl.values import Fault

# What Pillow decodes by itself and without running anything.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
MAX_BYTES = 256 << 20
# What of them a PNG holds as it is.
_PNG_MODES = ("L", "LA", "P", "RGB", "RGBA", "I;16")
_ORIENTATION = 0x0112  # Of EXIF.
# Its values that exchange width and height.
_LYING = (5, 6, 7, 8)


@dataclasses.dataclass(frozen=True)
class PictureFiles:
  """The pictures that the lines of a file name.

  Attributes:
    folder: that names start from.
    allow_absolute: whether names may be absolute paths.
    upright: turn pictures as their EXIF orientation says (TIFF always is).
    min_side: shorter side in pixels below which a picture is too small.
    shorter_side: larger pictures are made so small; 0: kept as they are.
  """

  folder: pathlib.Path
  allow_absolute: bool = False
  upright: bool = True
  min_side: int = 32
  shorter_side: int = 0

  def path(self, name: str, field: str) -> pathlib.Path:
    """The file of a picture. Raises Fault: UNSAFE_NAME, PICTURE_NOT_FOUND."""
    if "\0" in name or ("\\" in name and os.sep == "/"):
      raise Fault(
        Drop.UNSAFE_NAME,
        field,
        f"expected a path with /, found {values.show(name)}; write / for \\",
      )
    if name.startswith("~"):
      raise Fault(
        Drop.UNSAFE_NAME,
        field,
        f"expected a path, found {values.show(name)}; ~ is not read, write the"
        " folder's name",
      )
    if os.path.isabs(name) or re.match("[A-Za-z]:", name):
      if not self.allow_absolute:
        raise Fault(
          Drop.UNSAFE_NAME,
          field,
          "expected a path that starts from the folder of this file, found"
          f" {values.show(name)}; shorten it, or set allow_absolute",
        )
    elif posixpath.normpath(name).split("/")[0] == "..":
      raise Fault(
        Drop.UNSAFE_NAME,
        field,
        "expected a path inside the folder of this file, found"
        f" {values.show(name)}; move the file beside its pictures, or write"
        " absolute paths and set allow_absolute",
      )
    path = self.folder / posixpath.normpath(name)
    if not os.path.isfile(path):
      found = "a folder" if os.path.isdir(path) else "no such file"
      raise Fault(
        Drop.PICTURE_NOT_FOUND,
        field,
        f"expected a picture at {str(path)!r}, found {found}; paths start from"
        " the folder of this file",
      )
    return path

  def measure(self, name: str, field: str) -> Size:
    """Width and height as the boxes see them, from the file's first bytes.

    Raises Fault: UNSAFE_NAME, PICTURE_NOT_FOUND, CORRUPT_PICTURE,
      PICTURE_TOO_LARGE, PICTURE_TOO_SMALL.
    """
    path = self.path(name, field)
    with warnings.catch_warnings():
      # Pillow warns of oddities; of size we judge ourselves.
      warnings.simplefilter("ignore")
      try:
        with Image.open(path, formats=FORMATS) as image:
          width, height = image.size
          turned = self.upright and _is_lying(image)
      except Image.DecompressionBombError:
        raise _fault(Drop.PICTURE_TOO_LARGE, path, field, self) from None
      except Exception:  # Decoders raise anything on damaged data.
        raise _fault(Drop.CORRUPT_PICTURE, path, field, self) from None
    if width * height > pictures.MAX_PIXELS:
      raise _fault(Drop.PICTURE_TOO_LARGE, path, field, self)
    if min(width, height) < self.min_side:
      raise _fault(Drop.PICTURE_TOO_SMALL, path, field, self)
    return (height, width) if turned else (width, height)

  def read(self, name: str, field: str) -> pictures.Picture:
    """The picture as it is stored, wholly decoded once.

    Raises Fault: as `measure`.
    """
    path = self.path(name, field)
    try:
      if path.stat().st_size > MAX_BYTES:
        raise Dropped(Drop.PICTURE_TOO_LARGE)
      return self._check(path.read_bytes())
    except OSError:
      raise _fault(Drop.CORRUPT_PICTURE, path, field, self) from None
    except Dropped as dropped:
      raise _fault(dropped.reason, path, field, self) from None

  def _check(self, data: bytes) -> pictures.Picture:
    """The upright picture. Raises Dropped."""
    known = self._as_known(data)
    picture = pictures.check_picture(
      known,
      min_side=self.min_side,
      shorter_side=self.shorter_side,
      upright=self.upright,
    )
    # A BMP is an RGB picture, too, but is stored in another form.
    reencoded = picture.reencoded or known is not data
    return dataclasses.replace(picture, reencoded=reencoded)

  def _as_known(self, data: bytes) -> bytes:
    """As it is, or, of a kind that is not stored, as an upright PNG."""
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.format in pictures.FORMATS:
          return data
        if image.width * image.height > pictures.MAX_PIXELS:
          raise Dropped(Drop.PICTURE_TOO_LARGE)
        image.load()
        if self.upright:
          image = ImageOps.exif_transpose(image)
        if image.mode not in _PNG_MODES:
          image = image.convert("RGB")
        buffer = io.BytesIO()
        image.save(buffer, "PNG", exif=b"", icc_profile=None)
      except Dropped:
        raise
      except Image.DecompressionBombError:
        raise Dropped(Drop.PICTURE_TOO_LARGE) from None
      except Exception:  # Decoders raise anything on damaged data.
        raise Dropped(Drop.CORRUPT_PICTURE) from None
    return buffer.getvalue()


def _is_lying(image: Image.Image) -> bool:
  """Whether turning it upright exchanges width and height."""
  if image.format == "TIFF":
    return False  # Pillow turns them by itself, and tells the upright size.
  try:
    return image.getexif().get(_ORIENTATION) in _LYING
  except Exception:  # Damaged EXIF says nothing; the pixels are good.
    return False


def _fault(
  reason: Drop, path: pathlib.Path, field: str, files: PictureFiles
) -> Fault:
  wanted, found, advice = {
    Drop.PICTURE_TOO_LARGE: (
      f"at most {pictures.MAX_PIXELS:,} pixels",
      "more",
      "make it smaller",
    ),
    Drop.PICTURE_TOO_SMALL: (
      f"sides of {files.min_side} pixels or more",
      "a shorter one",
      "take a larger picture, or set min_side",
    ),
    Drop.CORRUPT_PICTURE: (
      f"a whole picture ({', '.join(FORMATS)})",
      "a file that does not decode",
      "save it again as JPEG or PNG",
    ),
  }[reason]
  return Fault(
    reason,
    field,
    f"expected {wanted} in {str(path)!r}, found {found}; {advice}",
  )
