"""Augmentation: pictures cut, mirrored and recoloured; boxes and words follow.

The numbers are drawn here, from the example's own random numbers, and go to
TensorFlow beside the encoded picture (`image_ops.augment`). For recipes an
augmented picture is a square picture: boxes and words of the example are moved
before the first op sees them.
"""

import dataclasses
import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from kosmos2_jax.input import geometry
from kosmos2_jax.text import mirror

# What a mirrored example may hold. Where there is anything else in it (turns of
# a dialogue, parts of a document), words there may speak of left and right.
_FLIPPABLE = frozenset(
  (
    "id",
    "image",
    "images",
    "image_shape",
    "caption",
    "noun_chunks",
    "ref_exps",
    "expressions",
    "question",
    "answers",
  )
)
# Further keys with text of their own.
_TEXTS = ("question", "answers")
# Items that have a text of their own instead of a span of the caption.
_ITEM_TEXT = "text"


class Draw(NamedTuple):
  """What happens to one picture.

  Attributes:
    part_xyxy: what is cut out, 0..1 of the picture; it becomes the square.
    flip: whether it is mirrored.
    brightness: factor; 1 leaves the pixels as they are.
    contrast: the same.
    saturation: the same.
  """

  part_xyxy: geometry.BoxXyxy = (0.0, 0.0, 1.0, 1.0)
  flip: bool = False
  brightness: float = 1.0
  contrast: float = 1.0
  saturation: float = 1.0

  @property
  def numbers(self) -> tuple[float, ...]:
    """As `image_ops.augment` takes them."""
    return (*self.part_xyxy, float(self.flip), *self[2:])


NUM_NUMBERS = len(Draw().numbers)


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """What may be drawn; the defaults change nothing.

  Attributes:
    crop_area: smallest and largest part of the picture's area that is cut
      out; () leaves the view as it is.
    crop_aspect: smallest and largest width / height of the cut, times that of
      the picture where the view is "squash".
    flip_probability: how often a picture is mirrored, if its words allow it.
    brightness: factors are drawn from 1 - brightness .. 1 + brightness.
    contrast: the same.
    saturation: the same.
  """

  crop_area: Sequence[float] = ()
  crop_aspect: Sequence[float] = (3 / 4, 4 / 3)
  flip_probability: float = 0.0
  brightness: float = 0.0
  contrast: float = 0.0
  saturation: float = 0.0

  def __post_init__(self):
    """Raises ValueError for a number outside of its range."""
    area, aspect = tuple(self.crop_area), tuple(self.crop_aspect)
    if area and not (len(area) == 2 and 0 < area[0] <= area[1] <= 1):
      raise ValueError(
        "augmentation.crop_area is () or two parts 0 < smallest <= largest <="
        f" 1, found {area}"
      )
    if not (len(aspect) == 2 and 0 < aspect[0] <= aspect[1]):
      raise ValueError(
        "augmentation.crop_aspect is two quotients 0 < smallest <= largest,"
        f" found {aspect}"
      )
    for name in ("flip_probability", "brightness", "contrast", "saturation"):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(
          f"augmentation.{name} is 0..1, found {getattr(self, name)}"
        )

  @property
  def is_on(self) -> bool:
    """Whether anything can be drawn."""
    return bool(
      tuple(self.crop_area)
      or self.flip_probability
      or self.brightness
      or self.contrast
      or self.saturation
    )

  def draw(
    self, rng: random.Random, *, shape: tuple[int, int], size: int, view: str
  ) -> Draw:
    """What happens to a picture.

    Always takes eight numbers from `rng`, so that one option does not change
    what is drawn for another.

    Args:
      rng: of the example.
      shape: height and width of the picture.
      size: side of the square it becomes.
      view: see `geometry`; the part where there is no `crop_area`.
    """
    drawn = [rng.random() for _ in range(8)]
    if tuple(self.crop_area):
      part = self._part(drawn[:4], shape, view)
    else:
      part = geometry.view_xyxy(*shape, size, view)
    limits = (self.brightness, self.contrast, self.saturation)
    factors = [
      1 + limit * (2 * number - 1)
      for limit, number in zip(limits, drawn[5:], strict=True)
    ]
    return Draw(part, drawn[4] < self.flip_probability, *factors)

  def _part(
    self, drawn: Sequence[float], shape: tuple[int, int], view: str
  ) -> geometry.BoxXyxy:
    """A rectangle of the drawn area and aspect, anywhere in the picture.

    Smaller than drawn where the picture is too narrow for it: the aspect is
    kept.
    """
    height, width = shape
    small, large = self.crop_area
    area = (small + (large - small) * drawn[0]) * height * width
    low, high = map(math.log, self.crop_aspect)
    aspect = math.exp(low + (high - low) * drawn[1])
    if view == "squash":
      aspect *= width / height
    part_width = math.sqrt(area * aspect)
    part_height = math.sqrt(area / aspect)
    fit = min(1.0, width / part_width, height / part_height)
    part_width = min(part_width * fit / width, 1.0)
    part_height = min(part_height * fit / height, 1.0)
    left = drawn[2] * (1 - part_width)
    top = drawn[3] * (1 - part_height)
    return left, top, left + part_width, top + part_height


def move(
  example: dict[str, Any], draw: Draw, size: int
) -> tuple[dict[str, Any], Draw]:
  """Boxes and words of an example with one picture, as `draw` leaves it.

  Args:
    example: has `image` and maybe captions, questions and lists of items with
      `box_xyxy`.
    draw: what happens to the picture.
    size: side of the square it becomes.

  Returns:
    The example, with the square as `image_shape`, and what is to happen to
    the picture: it is not mirrored where the words do not allow it.
  """
  mirrored = _mirror_words(example) if draw.flip else None
  if mirrored is None:
    draw = draw._replace(flip=False)
  result = {**(mirrored or example), "image_shape": (size, size)}
  for key, value in result.items():
    if has_boxes(value):
      result[key] = [
        {
          **item,
          "box_xyxy": geometry.box_in_part(
            tuple(item["box_xyxy"]), draw.part_xyxy, flip=draw.flip
          ),
        }
        for item in value
      ]
  return result, draw


def has_boxes(value: Any) -> bool:
  """Whether a value of an example is a list of items with boxes."""
  return (
    isinstance(value, list)
    and bool(value)
    and isinstance(value[0], dict)
    and "box_xyxy" in value[0]
  )


def _holds(value: Any) -> bool:
  """False for the lists and texts of a record that are empty."""
  return not isinstance(value, list | tuple | str) or bool(value)


def _mirror_words(example: dict[str, Any]) -> dict[str, Any] | None:
  """The example with the words of its mirror image, if there are such."""
  if not _FLIPPABLE.issuperset(k for k, v in example.items() if _holds(v)):
    return None
  result = dict(example)
  if not _mirror_caption(result):
    return None
  for key in _TEXTS:
    if key in result:
      texts = result[key]
      many = [texts] if isinstance(texts, str) else texts
      found = [mirror.mirror(text) for text in many]
      if None in found:
        return None
      words = [text for text, _ in found]
      result[key] = words[0] if isinstance(texts, str) else words
  for key, value in result.items():
    if has_boxes(value) and _ITEM_TEXT in value[0]:
      found = [mirror.mirror(item[_ITEM_TEXT]) for item in value]
      if None in found:
        return None
      result[key] = [
        {**item, _ITEM_TEXT: text}
        for item, (text, _) in zip(value, found, strict=True)
      ]
  return result


def _mirror_caption(example: dict[str, Any]) -> bool:
  """Mirrors the caption and the spans in it; False if that is not safe."""
  if "caption" not in example:
    return True
  lists = {
    key: value
    for key, value in example.items()
    if has_boxes(value) and "start" in value[0]
  }
  spans = [(i["start"], i["end"]) for items in lists.values() for i in items]
  found = mirror.mirror(example["caption"], spans)
  if found is None:
    return False
  example["caption"], moved = found
  spans = iter(moved)
  for key, items in lists.items():
    example[key] = [
      {**item, "start": start, "end": end}
      for item, (start, end) in zip(items, spans, strict=False)
    ]
  return True
