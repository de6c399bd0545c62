"""Reads the json of a GrIT sample: identity, caption, phrases with boxes."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from data.building import boxes
from data.building.drops import Drop, Dropped, DropReport

# Pixels that rounding may add to or take from a side when a picture is resized.
ROUNDING = 2.0


@dataclasses.dataclass(frozen=True)
class Item:
  """One phrase with one box.

  start, end  characters `caption[start:end]` (code points, end exclusive)
  box_xyxy    x1, y1, x2, y2 in 0..1 of the stored picture, float32 values
  score       the detector's confidence, 0..1
  """

  start: int
  end: int
  box_xyxy: tuple[float, float, float, float]
  score: float


@dataclasses.dataclass(frozen=True)
class Record:
  """One picture (encoded 8-bit RGB, JPEG or PNG) with its caption and items."""

  id: str
  image: bytes
  width: int
  height: int
  caption: str
  noun_chunks: tuple[Item, ...]
  ref_exps: tuple[Item, ...]


def check_aspect(fields: Mapping[str, Any], width: int, height: int) -> None:
  """Raises Dropped: ASPECT_CHANGED if img2dataset changed the picture's shape.

  Its resize modes `border` (the default!) and `center_crop` move things in the
  picture, so that boxes of the original no longer fit. The shape shows it;
  `fixed` cannot be told from them and goes the same way.
  """
  original = fields.get("original_width"), fields.get("original_height")
  for side in original:
    if isinstance(side, bool) or not isinstance(side, int | float):
      return  # Not told.
  if not all(math.isfinite(side) and side >= 1 for side in original):
    return
  ratio = original[0] / original[1]
  if abs(width - height * ratio) > ROUNDING * (1 + ratio):
    raise Dropped(Drop.ASPECT_CHANGED)


def items_of(
  fields: Mapping[str, Any], caption: str, report: DropReport, where: str
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
  """The good items of `noun_chunks` and of `ref_exps`, in their order.

  Raises Dropped: MISSING_ITEMS, NO_BOX_LEFT.
  """
  lists = [_as_list(fields.get(name)) for name in ("noun_chunks", "ref_exps")]
  if all(values is None for values in lists):
    raise Dropped(Drop.MISSING_ITEMS)
  kept = []
  for values in lists:
    items = []
    for value in values or ():
      item = report.read_item(lambda v=value: parse_item(v, caption), where)
      if item is not None:
        items.append(item)
    kept.append(tuple(items))
  if not any(kept):
    raise Dropped(Drop.NO_BOX_LEFT)
  return kept[0], kept[1]


def parse_item(value: Any, caption: str) -> tuple[Item, bool]:
  """`[start, end, x1, y1, x2, y2, score]` and whether its box was clipped.

  Raises Dropped with a reason of the level "item".
  """
  if not isinstance(value, list) or len(value) != 7:
    raise Dropped(Drop.BAD_ITEM)
  if any(isinstance(v, bool) or not isinstance(v, int | float) for v in value):
    raise Dropped(Drop.BAD_ITEM)
  try:
    start, end, *corners, score = (float(v) for v in value)
  except OverflowError:  # An integer of more than 308 digits.
    raise Dropped(Drop.NOT_FINITE) from None
  if not all(map(math.isfinite, (start, end, *corners, score))):
    raise Dropped(Drop.NOT_FINITE)
  # Whole numbers as floats are fine: parquet holds an item in one list type.
  if not (start.is_integer() and end.is_integer()):
    raise Dropped(Drop.SPAN_OUTSIDE)
  start, end = int(start), int(end)
  if not 0 <= start < end <= len(caption) or not caption[start:end].strip():
    raise Dropped(Drop.SPAN_OUTSIDE)
  box, clipped = boxes.check_box(corners)
  if not 0 <= score <= 1:
    raise Dropped(Drop.BAD_SCORE)
  return Item(start, end, box, score), clipped


def _as_list(value: Any) -> list[Any] | None:
  """A list, also one written as text (csv input); None if it is neither."""
  if isinstance(value, str):
    try:
      value = json.loads(value)
    except (ValueError, RecursionError):
      return None
  return value if isinstance(value, list) else None
