"""Boxes and captions on pictures, and pictures in grids.

Everything is drawn with Pillow alone, in a font that comes with it.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from kosmos2_jax.text.markup import GroundedText, Phrase

Color = tuple[int, int, int]
# Text in one colour, or in runs of (text, colour) on one line.
Line = str | Sequence[tuple[str, Color]]

BLACK = (24, 24, 24)
GRAY = (150, 150, 150)
WHITE = (255, 255, 255)

# Told apart by eye on photographs and on white paper (text is drawn in them).
COLORS = (
  (220, 30, 60),
  (20, 105, 225),
  (10, 140, 60),
  (205, 95, 0),
  (140, 50, 200),
  (0, 135, 150),
  (205, 30, 150),
  (125, 90, 30),
)

FONT_SIZE = 14
_LINE_HEIGHT = 18
_MARGIN = 6
_DASH = 6
# Text beneath a narrow picture is not wrapped narrower than this.
_MIN_TEXT_WIDTH = 200
# At full size, lines and text grow with pictures of more than so many pixels
# (the square of this).
_FULL_SIDE = 800


def draw_grounding(
  image: Image.Image | np.ndarray,
  predicted: GroundedText | Sequence[Phrase] = (),
  annotated: GroundedText | Sequence[Phrase] = (),
  lines: Sequence[Line] = (),
  *,
  min_side: int = 256,
  max_side: int = 512,
  full_size: bool = False,
) -> Image.Image:
  """A picture with boxes on it and text beneath.

  Predicted boxes are solid, annotated ones dashed. A phrase has the same
  colour in both, and wherever it stands in a line of plain text; in the line
  that is the predicted text itself, its span alone. A phrase that stands in
  none is written into its first box.

  Args:
    image: a picture, or uint8 [height, width, 3].
    predicted: phrases with normalised boxes.
    annotated: phrases with normalised boxes.
    lines: text beneath, wrapped at the picture's width.
    min_side: pictures with a shorter side are enlarged, by a whole factor so
      that their pixels stay what they are.
    max_side: pictures with a longer side are reduced.
    full_size: nothing is reduced, lines and text grow with the picture, and
      all phrases are written into their boxes.
  """
  spans = {getattr(predicted, "text", None): _phrases(predicted)}
  predicted, annotated = _phrases(predicted), _phrases(annotated)
  texts = dict.fromkeys(p.text for p in (*predicted, *annotated))
  colors = {
    text: COLORS[i % len(COLORS)] for i, text in enumerate(texts) if text
  }
  picture = _to_pil(image)
  scale = 1.0
  if full_size:
    max_side = max(max_side, *picture.size)
    scale = max(scale, math.sqrt(picture.width * picture.height) / _FULL_SIDE)
  picture = _resized(picture, min_side, max_side)
  written = [line for line in lines if isinstance(line, str)]
  draw = ImageDraw.Draw(picture)
  labels = []
  for phrases, dashed in ((annotated, True), (predicted, False)):
    for phrase in phrases:
      color = colors.get(phrase.text, COLORS[0])
      for i, box in enumerate(phrase.boxes):
        corners = box_corners(box.xyxy, picture.size)
        if corners is None:
          continue
        _draw_box(draw, corners, color, dashed, scale)
        shown = full_size or not any(phrase.text in line for line in written)
        # One label is enough: the others have the same colour.
        if phrase.text and shown and i == 0:
          labels.append((phrase.text, corners, color))
  # After all boxes, so that no line crosses a label.
  _draw_labels(draw, labels, picture.size, scale)
  runs = [_colored(line, colors, spans) for line in lines]
  return _with_lines(picture, runs, scale)


def add_lines(
  image: Image.Image | None, lines: Sequence[Line], *, min_width: int = 256
) -> Image.Image:
  """A picture, or white paper, with text beneath as `draw_grounding` writes.

  The text is wrapped at the picture's width, which is `min_width` at least.
  """
  width = max(min_width, 0 if image is None else image.width)
  top = Image.new("RGB", (width, 0 if image is None else image.height), WHITE)
  if image is not None:
    top.paste(image, (0, 0))
  return _with_lines(top, [_colored(line, {}, {}) for line in lines], 1.0)


def framed(image: Image.Image, color: Color) -> Image.Image:
  """The picture on white paper with a frame of the colour."""
  paper = ImageOps.expand(image, _MARGIN, WHITE)
  return ImageOps.expand(paper, 2, color)


def grid(images: Sequence[Image.Image], columns: int) -> Image.Image:
  """Pictures side by side, `columns` in a row, each row as high as it needs.

  Raises:
    ValueError: there is no picture, or no column.
  """
  if not images or columns < 1:
    raise ValueError(
      f"a grid has one or more pictures and columns, found {len(images)} "
      f"pictures and {columns} columns"
    )
  columns = min(columns, len(images))
  rows = [images[i : i + columns] for i in range(0, len(images), columns)]
  width = max(image.width for image in images) + _MARGIN
  heights = [max(image.height for image in row) + _MARGIN for row in rows]
  size = (columns * width + _MARGIN, sum(heights) + _MARGIN)
  canvas = Image.new("RGB", size, WHITE)
  top = _MARGIN
  for row, height in zip(rows, heights, strict=True):
    for i, image in enumerate(row):
      canvas.paste(image, (_MARGIN + i * width, top))
    top += height
  return canvas


def _phrases(grounded: GroundedText | Sequence[Phrase]) -> Sequence[Phrase]:
  return getattr(grounded, "phrases", grounded)


def _to_pil(image: Image.Image | np.ndarray) -> Image.Image:
  if isinstance(image, Image.Image):
    return image.convert("RGB")
  array = np.asarray(image)
  if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
    raise ValueError(
      "a picture is a PIL image or uint8 [height, width, 3], found "
      f"{array.dtype} {list(array.shape)}"
    )
  return Image.fromarray(array)


def _resized(picture: Image.Image, min_side: int, max_side: int) -> Image.Image:
  width, height = picture.size
  factor = math.ceil(min_side / min(width, height))
  if factor > 1 and factor * max(width, height) <= max_side:
    size = (width * factor, height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)
  scale = min(max_side / max(width, height), max(factor, 1))
  if scale == 1:
    return picture.copy()
  size = (max(1, round(width * scale)), max(1, round(height * scale)))
  return picture.resize(size, Image.Resampling.LANCZOS)


def box_corners(
  box_xyxy: Sequence[float], size: tuple[int, int]
) -> tuple[float, float, float, float] | None:
  """A box in pixels of the picture, or None if it holds no numbers."""
  if not all(math.isfinite(value) for value in box_xyxy):
    return None
  (x1, x2), (y1, y2) = (
    # A model may give a box whose corners are in the wrong order.
    sorted(min(max(value, 0.0), 1.0) * (side - 1) for value in values)
    for values, side in zip((box_xyxy[0::2], box_xyxy[1::2]), size, strict=True)
  )
  return x1, y1, x2, y2


def _draw_box(
  draw: ImageDraw.ImageDraw,
  corners: tuple[float, float, float, float],
  color: Color,
  dashed: bool,
  scale: float,
) -> None:
  x1, y1, x2, y2 = corners
  width = round(2 * scale)
  if dashed:
    for start, end in _dashes(x1, y1, x2, y2, _DASH * scale):
      draw.line([start, end], fill=color, width=width)
    return
  # A light line inside keeps the box visible on its own colour.
  draw.rectangle([x1, y1, x2, y2], outline=color, width=width)
  if min(x2 - x1, y2 - y1) > 3 * width:
    inner = [x1 + width, y1 + width, x2 - width, y2 - width]
    draw.rectangle(inner, outline=WHITE, width=round(scale))


def _draw_labels(
  draw: ImageDraw.ImageDraw,
  labels: Sequence[tuple[str, tuple[float, float, float, float], Color]],
  size: tuple[int, int],
  scale: float,
) -> None:
  """Writes labels at the top of their boxes, below those already there."""
  font = ImageFont.load_default(size=(FONT_SIZE - 2) * scale)
  height, gap = FONT_SIZE * scale, 3 * scale
  taken = []
  for text, (x1, y1, _, _), color in labels:
    label = _shortened(text, size[0] - 6 * scale, font)
    width = font.getlength(label)
    # Inside of the picture.
    x = max(min(x1 + 3 * scale, size[0] - width - 3 * scale), 2 * scale)
    lowest = size[1] - height - 2 * scale
    y = min(y1 + scale, lowest)
    # Each in turn moves it down at most once.
    for left, top, right in sorted(taken, key=lambda other: other[1]):
      apart = x + width < left or right < x or abs(top - y) >= height + gap
      if not apart and top + height + gap <= lowest:
        y = top + height + gap
    taken.append((x, y, x + width))
    left, top, right, bottom = draw.textbbox((x, y), label, font=font)
    room = [left - 2 * scale, top - scale, right + 2 * scale, bottom + scale]
    draw.rectangle(room, fill=color)
    draw.text((x, y), label, font=font, fill=WHITE)


def _shortened(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
  if font.getlength(text) <= width:
    return text
  while len(text) > 1 and font.getlength(f"{text}...") > width:
    text = text[:-1]
  return f"{text}..."


def _dashes(
  x1: float, y1: float, x2: float, y2: float, length: float
) -> Iterable[tuple[tuple[float, float], tuple[float, float]]]:
  for x in np.arange(x1, x2, 2 * length):
    end = min(x + length, x2)
    yield (x, y1), (end, y1)
    yield (x, y2), (end, y2)
  for y in np.arange(y1, y2, 2 * length):
    end = min(y + length, y2)
    yield (x1, y), (x1, end)
    yield (x2, y), (x2, end)


def _colored(
  line: Line,
  colors: dict[str, Color],
  spans: dict[str | None, Sequence[Phrase]],
) -> list[tuple[str, Color]]:
  """The runs of a line; phrases in plain text get their colours."""
  if not isinstance(line, str):
    return [(text, tuple(color)) for text, color in line]
  paint = [BLACK] * len(line)
  # Longer phrases first, so that those inside of them stay visible.
  if line in spans:
    for phrase in sorted(spans[line], key=lambda p: len(p.text), reverse=True):
      start, end = phrase.span
      color = colors.get(phrase.text, BLACK)
      paint[start:end] = [color] * len(line[start:end])
  else:
    for text in sorted(colors, key=len, reverse=True):
      at = line.find(text)
      while at >= 0:
        paint[at : at + len(text)] = [colors[text]] * len(text)
        at = line.find(text, at + len(text))
  runs = []
  for char, color in zip(line, paint, strict=True):
    if runs and runs[-1][1] == color:
      runs[-1] = (runs[-1][0] + char, color)
    else:
      runs.append((char, color))
  return runs


def _with_lines(
  picture: Image.Image,
  lines: Sequence[Sequence[tuple[str, Color]]],
  scale: float,
) -> Image.Image:
  """The picture on white paper with the lines beneath, wrapped."""
  if not lines:
    return picture
  font = ImageFont.load_default(size=FONT_SIZE * scale)
  width = max(picture.width, round(_MIN_TEXT_WIDTH * scale))
  rows = [row for line in lines for row in _wrap(line, width, font)]
  margin, line_height = _MARGIN * scale, _LINE_HEIGHT * scale
  height = picture.height + round(margin + len(rows) * line_height)
  canvas = Image.new("RGB", (width, height), WHITE)
  canvas.paste(picture, (0, 0))
  draw = ImageDraw.Draw(canvas)
  for i, row in enumerate(rows):
    x, y = 0.0, picture.height + margin / 2 + i * line_height
    for text, color in row:
      draw.text((x, y), text, font=font, fill=color)
      x += font.getlength(text)
  return canvas


def _wrap(
  line: Sequence[tuple[str, Color]], width: int, font: ImageFont.FreeTypeFont
) -> list[list[tuple[str, Color]]]:
  """Breaks a line before words, or inside of one longer than the width."""
  rows, x = [[]], 0.0
  for text, color in line:
    for piece in _pieces(text, width, font):
      length = font.getlength(piece)
      if x + length > width and rows[-1]:
        rows.append([])
        x, piece = 0.0, piece.lstrip()
        length = font.getlength(piece)
      rows[-1].append((piece, color))
      x += length
  return rows


def _pieces(
  text: str, width: int, font: ImageFont.FreeTypeFont
) -> Iterable[str]:
  """Words with the space before them, none wider than the width."""
  words = text.replace("\n", " ").split(" ")
  for i, word in enumerate(words):
    piece = f" {word}" if i else word
    while font.getlength(piece) > width and len(piece) > 1:
      part = piece
      while font.getlength(part) > width and len(part) > 1:
        part = part[: max(1, len(part) * 3 // 4)]
      yield part
      piece = piece[len(part) :]
    if piece:
      yield piece
