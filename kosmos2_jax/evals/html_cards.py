"""A case as the HTML report shows it: picture, boxes, phrases and texts."""

import base64
import io
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from kosmos2_jax import visualize
from kosmos2_jax.evals.protocol import Outcome, View
from kosmos2_jax.text.grounded import Phrase

# Longer sides are reduced; twice what a card shows, for dense screens.
MAX_SIDE = 640
# Smaller pictures are kept as they are, pixel by pixel.
SMALL_SIDE = 128
JPEG_QUALITY = 85
# Longer texts are folded.
MAX_TEXT = 480
# Side of the drawing that lies over a picture, and a box's smallest side.
CANVAS = 1000
MIN_BOX = 4


class Drawn(NamedTuple):
  """A box over the picture, in units of `CANVAS`."""

  phrase: int
  color: str
  is_true: bool
  x: float
  y: float
  width: float
  height: float
  title: str


class Entry(NamedTuple):
  """A phrase of the list beneath a picture."""

  text: str
  color: str
  said: str
  counts: str


class Card(NamedTuple):
  """A case: its pictures (the last with boxes), phrases and texts."""

  id: str
  quality: str
  pictures: tuple[tuple[str, int, int], ...]
  is_small: bool
  boxes: tuple[Drawn, ...]
  summary: str
  entries: tuple[Entry, ...]
  # A line is its beginning, and the pieces of all of it: text and the number
  # of the phrase it is, or None.
  lines: tuple[tuple[str, tuple[tuple[str, int | None], ...]], ...]


def make_card(outcome: Outcome, index: int) -> Card:
  """The card of a record.

  Args:
    outcome: whose record, with its pictures where it has some.
    index: which record of it.
  """
  record = outcome.records[index]
  quality = outcome.scores.quality
  pictures = outcome.pictures.get(index, ())
  return view_card(
    record.id,
    outcome.evaluator.view(record),
    None if quality is None else float(quality[index]),
    tuple(_data_url(picture) for picture in pictures),
    bool(pictures) and max(pictures[-1].shape[:2]) <= SMALL_SIDE,
  )


def view_card(
  name: str,
  view: View,
  quality: float | None,
  pictures: tuple[tuple[str, int, int], ...] = (),
  is_small: bool = False,
) -> Card:
  """The card of a judged answer.

  Args:
    name: what it is called: the id of its record.
    view: what is shown of it.
    quality: how good it is; None or no number: nobody knows.
    pictures: address, width and height of each.
    is_small: whether the last one is shown pixel by pixel.
  """
  colors = _colors(view)
  numbers = {text: number for number, text in enumerate(colors)}
  ranked = quality is not None and math.isfinite(quality)
  boxes = sorted(
    (
      *_drawn(view.predicted, False, colors, numbers),
      *_drawn(view.annotated, True, colors, numbers),
    ),
    # Small ones on top, where a pointer finds them; true ones above predicted.
    key=lambda box: (-round(box.width * box.height, -3), box.is_true),
  )
  entries = [_entry(text, color, view) for text, color in colors.items()]
  return Card(
    id=name,
    quality=f"{quality:.2f}" if ranked else "",
    pictures=pictures,
    is_small=is_small,
    boxes=tuple(boxes),
    summary="; ".join(f"{entry.text}: {entry.counts}" for entry in entries),
    entries=tuple(entries),
    lines=tuple(
      (_beginning(line), tuple(_pieces(line, numbers))) for line in view.lines
    ),
  )


def _colors(view: View) -> dict[str, str]:
  """Phrase -> colour, the same for what was said and what is true."""
  texts = dict.fromkeys(p.text for p in (*view.predicted, *view.annotated))
  colors = itertools.cycle(visualize.COLORS)
  return {
    text: f"#{red:02x}{green:02x}{blue:02x}"
    for text, (red, green, blue) in zip(texts, colors, strict=False)
  }


def _entry(text: str, color: str, view: View) -> Entry:
  predicted, true = (
    sum(len(phrase.boxes) for phrase in phrases if phrase.text == text)
    for phrases in (view.predicted, view.annotated)
  )
  counts = f"{predicted} predicted, {true} true"
  said = []
  # One of each needs no words, nor what there is none of in the whole picture.
  if view.predicted and view.annotated and (predicted, true) != (1, 1):
    only = {(True, False): "predicted only", (False, True): "true only"}
    said.append(only.get((predicted > 0, true > 0), counts))
  scores = [
    f"{box.score:.2f}"
    for phrase in view.predicted
    for box in phrase.boxes
    if phrase.text == text and box.score is not None
  ]
  if scores:
    said.append(f"score {', '.join(scores)}")
  name = text or "(boxes without a phrase)"
  return Entry(name, color, ", ".join(said), counts)


def _drawn(
  phrases: Sequence[Phrase],
  is_true: bool,
  colors: Mapping[str, str],
  numbers: Mapping[str, int],
) -> Iterator[Drawn]:
  for phrase in phrases:
    for box in phrase.boxes:
      corners = visualize.box_corners(box.xyxy, (CANVAS + 1, CANVAS + 1))
      if corners is None:
        continue
      x1, y1, x2, y2 = corners
      # A box without area would not be seen, nor found by a pointer.
      width, height = max(x2 - x1, MIN_BOX), max(y2 - y1, MIN_BOX)
      score = "" if box.score is None else f", score {box.score:.2f}"
      yield Drawn(
        phrase=numbers[phrase.text],
        color=colors[phrase.text],
        is_true=is_true,
        x=round(min(x1, CANVAS - width), 1),
        y=round(min(y1, CANVAS - height), 1),
        width=round(width, 1),
        height=round(height, 1),
        title=f"{'true' if is_true else 'predicted'}: {phrase.text}{score}",
      )


def _beginning(line: str) -> str:
  """Of a long text what is shown before it is opened; "" if it is short."""
  if len(line) <= MAX_TEXT:
    return ""
  return f"{line[: MAX_TEXT // 3].rsplit(' ', 1)[0]} …"


def _pieces(
  line: str, numbers: Mapping[str, int]
) -> Iterator[tuple[str, int | None]]:
  """A line in pieces; phrases with their number, the longest that fit."""
  texts = sorted((text for text in numbers if text), key=len, reverse=True)
  if not texts:
    yield line, None
    return
  found = "|".join(map(re.escape, texts))
  for piece in re.split(rf"(?<!\w)({found})(?!\w)", line):
    if piece:
      yield piece, numbers.get(piece)


def _data_url(
  picture: UInt8[np.ndarray, "height width 3"],
) -> tuple[str, int, int]:
  """A picture that stands in the file itself, with its width and height."""
  content, kind, (width, height) = encode(picture)
  return data_url(content, kind), width, height


def data_url(content: bytes, kind: str) -> str:
  """An address that holds an encoded picture; `kind` is "png" or "jpeg"."""
  data = base64.b64encode(content).decode("ascii")
  return f"data:image/{kind};base64,{data}"


def encode(
  picture: UInt8[np.ndarray, "height width 3"], max_side: int = MAX_SIDE
) -> tuple[bytes, str, tuple[int, int]]:
  """A picture in few bytes; small ones keep their pixels.

  Args:
    picture: of any size.
    max_side: longer sides are reduced to it.

  Returns:
    The bytes, their kind ("png" or "jpeg"), and width and height.
  """
  image = Image.fromarray(picture)
  image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
  is_small = max(image.size) <= SMALL_SIDE
  encoded = io.BytesIO()
  if is_small:
    image.save(encoded, "PNG", optimize=True)
  else:
    image.save(encoded, "JPEG", quality=JPEG_QUALITY)
  return encoded.getvalue(), "png" if is_small else "jpeg", image.size
