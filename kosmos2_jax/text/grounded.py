"""What grounded text is: a text, its phrases and their boxes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from kosmos2_jax.text import location


@dataclasses.dataclass(frozen=True)
class Box:
  """A box and, where a model gave it, a score.

  Attributes:
    xyxy: x1, y1, x2, y2, normalised to 0..1, origin top left; stored as a
      tuple of four floats, whatever it was given as.
    score: between 0 and 1, or None.
  """

  xyxy: location.BoxLike
  score: float | None = None

  def __post_init__(self):
    # Accepts any four numbers, such as a numpy row, and stores plain floats.
    xyxy = tuple(float(value) for value in self.xyxy)
    if len(xyxy) != 4:
      raise ValueError(f"A box has four numbers x1, y1, x2, y2, got {xyxy}.")
    object.__setattr__(self, "xyxy", xyxy)
    if self.score is not None:
      object.__setattr__(self, "score", float(self.score))


@dataclasses.dataclass(frozen=True)
class Phrase:
  """A piece of text that names the things in some boxes.

  Attributes:
    text: the characters of the span; "" for boxes without a phrase.
    span: half-open range of characters.
    boxes: in the order of annotation or generation.
  """

  text: str
  span: tuple[int, int]
  boxes: Sequence[Box]

  def __post_init__(self):
    object.__setattr__(self, "span", tuple(int(i) for i in self.span))
    object.__setattr__(self, "boxes", tuple(self.boxes))


@dataclasses.dataclass(frozen=True)
class GroundedText:
  """A text and its phrases, whose spans count characters of the text."""

  text: str
  phrases: Sequence[Phrase]

  def __post_init__(self):
    object.__setattr__(self, "phrases", tuple(self.phrases))


def box_entry(box: Box, width: int, height: int) -> dict[str, Any]:
  """A box as JSON: `xyxy`, `pixels`, and `score` where it has one.

  Args:
    box: of a picture.
    width: of the picture in pixels.
    height: of it.
  """
  sides = (width, height) * 2
  pixels = [
    round(value * side, 2) for value, side in zip(box.xyxy, sides, strict=True)
  ]
  entry = {"xyxy": list(box.xyxy), "pixels": pixels}
  return entry if box.score is None else entry | {"score": box.score}


def phrase_entries(
  text: GroundedText, width: int, height: int
) -> list[dict[str, Any]]:
  """The phrases of a text as JSON, with their boxes; see `box_entry`."""
  return [
    {
      "text": phrase.text,
      "span": list(phrase.span),
      "boxes": [box_entry(box, width, height) for box in phrase.boxes],
    }
    for phrase in text.phrases
  ]
