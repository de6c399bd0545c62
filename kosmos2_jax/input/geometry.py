"""How a picture is looked at, and where its boxes go.

Two views of a picture as a square of `size` pixels: "crop" scales the shorter
side to `size` and cuts out the middle (training); "squash" scales both sides
(evaluation). Plain Python numbers: an example has a handful of boxes, and the
arithmetic is the original's, operation by operation.
"""

import struct

BoxXyxy = tuple[float, float, float, float]

# A box of which the crop keeps less than this part of its area is dropped.
MIN_AREA_KEPT = 0.2

# What a JPEG decoder can divide the sides by while it decodes.
DECODE_RATIOS = (1, 2, 4, 8)

VIEWS = ("crop", "squash")

# JPEG markers that start a frame and so carry height and width: all of SOF0
# to SOF15 but the three that define tables (DHT, JPG, DAC).
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# JPEG markers that stand alone, without a length.
_BARE_MARKERS = frozenset(range(0xD0, 0xD9)) | {0x01}


def image_shape(encoded: bytes) -> tuple[int, int]:
  """Height and width of a JPEG or PNG, read from its header.

  Raises ValueError when the bytes are neither.
  """
  if encoded[:8] == b"\x89PNG\r\n\x1a\n" and len(encoded) >= 24:
    width, height = struct.unpack(">II", encoded[16:24])
    return height, width
  if encoded[:2] == b"\xff\xd8":
    return _jpeg_shape(encoded)
  start = encoded[:8].hex(" ") or "nothing"
  raise ValueError(f"not a JPEG or PNG picture: it starts with {start}")


def _jpeg_shape(encoded: bytes) -> tuple[int, int]:
  at = 2
  while at + 9 <= len(encoded):
    if encoded[at] != 0xFF:
      raise ValueError(f"damaged JPEG: no marker at byte {at}")
    marker = encoded[at + 1]
    if marker == 0xFF:  # Fill byte before a marker.
      at += 1
    elif marker in _BARE_MARKERS:
      at += 2
    elif marker in _START_OF_FRAME:
      return struct.unpack(">HH", encoded[at + 5 : at + 9])
    else:
      at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
  raise ValueError(f"damaged JPEG: no frame in its {len(encoded)} bytes")


def resized_shape(height: int, width: int, size: int) -> tuple[int, int]:
  """Shape after the shorter side is scaled to `size`.

  The longer side is rounded down; a picture whose shorter side is `size`
  already stays as it is.
  """
  if min(height, width) == size:
    return height, width
  if height <= width:
    return size, int(size * width / height)
  return int(size * height / width), size


def crop_offset(length: int, size: int) -> int:
  """First pixel of the middle `size` pixels of `length`, as torchvision."""
  return round((length - size) / 2.0)


def crop_box(
  box_xyxy: BoxXyxy, *, height: int, width: int, size: int
) -> BoxXyxy | None:
  """A box of the picture as a box of its centre crop.

  The original subtracts the crop's offset as a fraction while pixels are cut
  at whole ones; up to half a pixel of difference, kept.

  Args:
    box_xyxy: corners, 0..1 of the whole picture.
    height: of the whole picture.
    width: of the whole picture.
    size: side of the crop.

  Returns:
    Corners, 0..1 of the crop, or None when less than `MIN_AREA_KEPT` of the
    box is inside or the box is empty.
  """
  height, width = resized_shape(height, width, size)
  left, top = (width - size) / 2, (height - size) / 2
  x1, y1, x2, y2 = box_xyxy
  x1, x2 = x1 * width - left, x2 * width - left
  y1, y2 = y1 * height - top, y2 * height - top
  area = (x2 - x1) * (y2 - y1)
  x1, x2 = min(max(x1, 0), size), min(max(x2, 0), size)
  y1, y2 = min(max(y1, 0), size), min(max(y2, 0), size)
  # Written so that a NaN in the box drops it as well.
  if not (x2 > x1 and y2 > y1 and area > 0):
    return None
  if (x2 - x1) * (y2 - y1) / area < MIN_AREA_KEPT:
    return None
  return x1 / size, y1 / size, x2 / size, y2 / size


def decode_ratio(
  encoded: bytes, shape: tuple[int, int], part_xyxy: BoxXyxy, size: int
) -> int:
  """How many times smaller a picture may be decoded: 1, 2, 4 or 8.

  The largest at which a part of it still has `size` pixels a side; a PNG is
  always decoded whole.
  """
  if encoded[:2] != b"\xff\xd8":
    return 1
  height, width = shape
  x1, y1, x2, y2 = part_xyxy
  # A millionth of a pixel, because a part may be a quotient rounded down.
  pixels = min((x2 - x1) * width, (y2 - y1) * height) + 1e-6
  fitting = [ratio for ratio in DECODE_RATIOS if pixels >= ratio * size]
  return max(fitting, default=1)


def view_xyxy(height: int, width: int, size: int, how: str) -> BoxXyxy:
  """The part of a picture that a view shows, 0..1 of the picture."""
  if how == "squash":
    return 0.0, 0.0, 1.0, 1.0
  height, width = resized_shape(height, width, size)
  left, top = crop_offset(width, size), crop_offset(height, size)
  right, bottom = left + size, top + size
  return left / width, top / height, right / width, bottom / height


def box_in_part(
  box_xyxy: BoxXyxy, part_xyxy: BoxXyxy, *, flip: bool = False
) -> BoxXyxy:
  """A box of the picture as a box of a part of it, neither cut nor dropped.

  Args:
    box_xyxy: corners, 0..1 of the whole picture.
    part_xyxy: the part, 0..1 of the whole picture.
    flip: whether the part is mirrored.

  Returns:
    Corners where 0..1 is the part. A box that is inverted or holds a NaN stays
    so.
  """
  left, top, right, bottom = part_xyxy
  width, height = right - left, bottom - top
  x1, y1, x2, y2 = box_xyxy
  x1, x2 = (x1 - left) / width, (x2 - left) / width
  if flip:
    x1, x2 = 1 - x2, 1 - x1
  return x1, (y1 - top) / height, x2, (y2 - top) / height


def squash_box(box_xyxy: BoxXyxy) -> BoxXyxy | None:
  """The box inside the picture, or None when nothing of it is."""
  x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in box_xyxy)
  if not (x2 > x1 and y2 > y1):
    return None
  return x1, y1, x2, y2


def is_empty(box_xyxy: BoxXyxy) -> bool:
  """True when a box has no area, is inverted or is not made of numbers."""
  x1, y1, x2, y2 = box_xyxy
  return not (x2 > x1 and y2 > y1)
