"""Boxes of a line, and the phrases of a text they belong to."""

import math
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from data.building import boxes as box_checks
from data.building.boxes import BoxXyxy
from data.building.drops import Drop, Dropped
from data.jsonl import values
from data.jsonl.values import Fault

BOX_FORMATS = ("normalized", "pixels")
BOX_ORDERS = ("xyxy", "xywh")
PHRASE_FIELDS = ("text", "span", "occurrence", "box", "boxes")

# Width and height of an upright picture.
Size = tuple[int, int]


class BoxStyle(NamedTuple):
  """How boxes are written.

  Attributes:
    format: one of `BOX_FORMATS`.
    order: one of `BOX_ORDERS`.
  """

  format: str = BOX_FORMATS[0]
  order: str = BOX_ORDERS[0]


class Boxes(NamedTuple):
  """Normalised boxes, float32 values, and how many were clipped."""

  xyxy: tuple[BoxXyxy, ...]
  num_clipped: int


class Phrase(NamedTuple):
  """A part of a text with its boxes.

  Attributes:
    start, end: characters `text[start:end]` (code points, end exclusive).
    image: number of the picture the boxes are in.
    boxes: at least one.
  """

  start: int
  end: int
  image: int
  boxes: Boxes


def boxes_of(
  fields: dict[str, Any], field: str, style: BoxStyle, size: Size | None
) -> Boxes:
  """The boxes of an object with either `box` or `boxes`.

  Args:
    fields: the object.
    field: what it is called; "" for the line.
    style: how its boxes are written.
    size: of the picture; None where it could not be read, which is a fault
      already: boxes are then checked as far as that goes.

  Raises Fault: MISSING_FIELD, BAD_VALUE, MISPLACED_BOX.
  """
  given = [name for name in ("box", "boxes") if name in fields]
  if len(given) != 1:
    raise Fault(
      Drop.BAD_VALUE if given else Drop.MISSING_FIELD,
      field,
      'expected either "box": [a, b, c, d] or "boxes": [[a, b, c, d], ...],'
      f" found {'both' if given else 'neither'}; write one of them",
    )
  (name,) = given
  field = f"{field}.{name}" if field else name
  given = fields[name]
  if name == "box":
    found = [_box(given, field, style, size)]
  else:
    found = [
      _box(box, f"{field}[{i}]", style, size)
      for i, box in enumerate(values.list_at(given, field, "boxes"))
    ]
  return Boxes(tuple(b for b, _ in found), sum(clipped for _, clipped in found))


def _box(
  value: Any, field: str, style: BoxStyle, size: Size | None
) -> tuple[BoxXyxy, bool]:
  """A normalised box, and whether it was clipped.

  Raises Fault: MISPLACED_BOX.
  """
  names = "x1, y1, x2, y2" if style.order == "xyxy" else "x, y, width, height"
  if (
    not isinstance(value, list)
    or len(value) != 4
    or any(isinstance(v, bool) or not isinstance(v, int | float) for v in value)
    or not all(map(_is_finite, value))
  ):
    raise Fault(
      Drop.MISPLACED_BOX,
      field,
      f"expected four numbers [{names}], found {values.kind_of(value)}; write"
      " each box as a list of its own",
    )
  corners = box_checks.from_xywh(value) if style.order == "xywh" else value
  if style.format == "pixels":
    width, height = size or (1 << 30, 1 << 30)
    corners = box_checks.from_pixels(corners, width=width, height=height)
  try:
    return box_checks.check_box(corners)
  except Dropped as dropped:
    found = f"[{names}] = {values.show(value)}"
    if dropped.reason is Drop.BOX_EMPTY:
      text = f"expected a box with an area, found {found}; {_empty(style)}"
    else:
      text = _outside(found, style, size)
    raise Fault(Drop.MISPLACED_BOX, field, text) from None


def _is_finite(value: int | float) -> bool:
  try:
    return math.isfinite(value)
  except OverflowError:  # An integer of more than 308 digits.
    return False


def _empty(style: BoxStyle) -> str:
  if style.order == "xywh":
    return "width and height are more than 0"
  return (
    "x1 is less than x2 and y1 less than y2; for x, y, width, height say"
    ' "box_order": "xywh"'
  )


def _outside(found: str, style: BoxStyle, size: Size | None) -> str:
  order = (
    ""
    if style.order == "xywh"
    else '; where the last two are width and height, "box_order": "xywh"'
  )
  if style.format == "pixels":
    width, height = size or (0, 0)
    return (
      f"expected a box in the picture of {width} x {height} pixels (as it is"
      f" seen upright), found {found}; correct it{order}"
    )
  return (
    f"expected numbers from 0 to 1, parts of the picture's sides, found"
    f' {found}; for pixels say "box_format": "pixels"{order}'
  )


def phrase_of(
  value: Any,
  field: str,
  text: str,
  style: BoxStyle,
  sizes: Sequence[Size | None],
) -> Phrase:
  """One of the `phrases` of a text.

  Args:
    value: what the line says.
    field: where it says so.
    text: the caption or message.
    style: how boxes are written.
    sizes: of the example's pictures.

  Raises Fault: BAD_VALUE, UNKNOWN_FIELD, MISSING_FIELD, MISPLACED_PHRASE,
    MISPLACED_BOX.
  """
  fields = values.object_at(value, field, (*PHRASE_FIELDS, "image"))
  start, end = _span(fields, field, text)
  if not sizes:
    raise Fault(
      Drop.MISPLACED_PHRASE,
      field,
      "expected a picture for the boxes, found none; give the line an"
      ' "image", or take the phrase\'s boxes out',
    )
  if "image" in fields:
    image = values.whole_at(fields["image"], f"{field}.image", len(sizes))
  elif len(sizes) == 1:
    image = 0
  else:
    raise Fault(
      Drop.MISSING_FIELD,
      field,
      f'expected "image", the number of the boxes\' picture, as there are'
      f' {len(sizes)}, found none; add "image": 0 for the first',
    )
  # The object's other fields are no boxes' business.
  return Phrase(start, end, image, boxes_of(fields, field, style, sizes[image]))


def _span(fields: dict[str, Any], field: str, text: str) -> tuple[int, int]:
  """Where a phrase is, by its words or its `span`."""
  if "text" not in fields and "span" not in fields:
    raise Fault(
      Drop.MISSING_FIELD,
      field,
      'expected "text", words of the caption, or "span": [start, end], found'
      " neither; add one",
    )
  if "span" not in fields:
    words = values.text_at(fields["text"], f"{field}.text")
    return _find(words, fields.get("occurrence"), field, text)
  if "occurrence" in fields:
    raise Fault(
      Drop.BAD_VALUE,
      f"{field}.occurrence",
      'expected it with "text" alone, found it beside "span"; take one out',
    )
  span = fields["span"]
  if (
    not isinstance(span, list)
    or len(span) != 2
    or any(isinstance(v, bool) or not isinstance(v, int) for v in span)
    or not 0 <= span[0] < span[1] <= len(text)
    or not text[span[0] : span[1]].strip()
  ):
    raise Fault(
      Drop.MISPLACED_PHRASE,
      f"{field}.span",
      "expected [start, end], a part of the caption with words in it: 0 <="
      f" start < end <= {len(text)}, end exclusive, found {values.show(span)};"
      ' count characters, or give the words as "text"',
    )
  start, end = span
  if "text" in fields and fields["text"] != text[start:end]:
    raise Fault(
      Drop.MISPLACED_PHRASE,
      f"{field}.text",
      f"expected the words of the span, {values.show(text[start:end])}, found"
      f" {values.show(fields['text'])}; correct one, or take one out",
    )
  return start, end


def _find(
  words: str, occurrence: Any, field: str, text: str
) -> tuple[int, int]:
  places = []
  place = text.find(words)
  while place >= 0:
    places.append(place)
    place = text.find(words, place + 1)
  if not places:
    raise Fault(
      Drop.MISPLACED_PHRASE,
      f"{field}.text",
      f"expected a part of the caption {values.show(text)}, found"
      f" {values.show(words)}, which is not in it;{_why_not(words, text)} copy"
      " the words as they stand there",
    )
  if occurrence is None:
    if len(places) > 1:
      raise Fault(
        Drop.MISPLACED_PHRASE,
        f"{field}.text",
        f"expected words that are once in the caption, found"
        f' {values.show(words)} {len(places)} times; add "occurrence": 0 for'
        ' the first of them, 1 for the second, or give a "span"',
      )
    occurrence = 0
  number = values.whole_at(occurrence, f"{field}.occurrence", len(places))
  return places[number], places[number] + len(words)


def _why_not(words: str, text: str) -> str:
  """What stands there instead, where that can be said."""
  place = text.casefold().find(words.casefold())
  # Casefolding may change lengths; then the words would not be the right ones.
  near = text[place : place + len(words)] if place >= 0 else ""
  if near and near.casefold() == words.casefold():
    return f" it has {values.show(near)};"

  def normal(value: str) -> str:
    return unicodedata.normalize("NFC", value)

  if normal(words) in normal(text):
    return " its accents are composed in another way (Unicode NFC or NFD);"
  return ""
