"""The phrases of a caption that have boxes, as phrase grounding asks them."""

import collections
from typing import NamedTuple

from kosmos2_jax.evals import examples as reading
from kosmos2_jax.evals import locating
from kosmos2_jax.evals.examples import Example, field


class CaptionPhrase(NamedTuple):
  """A phrase with its boxes.

  Attributes:
    text: the characters of the phrase.
    start: where it begins in the caption.
    boxes: x1, y1, x2, y2, at least one.
    types: such as "people"; none where the annotations do not tell.
  """

  text: str
  start: int
  boxes: list[list[float]]
  types: list[str]


def read(example: Example) -> tuple[list[CaptionPhrase], list[float], int]:
  """Reads Flickr30k Entities' phrases, else noun chunks.

  Args:
    example: with `caption`; with `mentions`, `mention_boxes`, `width` and
      `height`, or with `noun_chunks`.

  Returns:
    The phrases in their order, width and height of the picture in the unit of
    the boxes (pixels as they are annotated, or 1, 1 for normalised ones), and
    how many boxes are left out because they are none.

  Raises:
    ValueError: for an example that lacks one of these.
  """
  caption = field(example, "caption")
  if "mentions" not in example:
    found, left_out = reading.phrases(example, "noun_chunks", 0.0)
    phrases = [
      CaptionPhrase(p.text, p.span[0], [list(box.xyxy) for box in p.boxes], [])
      for p in found
    ]
    return phrases, [1.0, 1.0], left_out
  # Pixels as they are annotated, because those are what the original scores:
  # it takes nothing off although they count from 1.
  boxes: dict[int, list[list[float]]] = collections.defaultdict(list)
  for item in field(example, "mention_boxes"):
    boxes[int(item["mention"])].append(locating.box_list(item["box_pixels"]))
  phrases = [
    CaptionPhrase(
      caption[mention["start"] : mention["end"]],
      int(mention["start"]),
      boxes[number],
      [name for name in str(mention["types"]).split("/") if name],
    )
    for number, mention in enumerate(example["mentions"])
    if number in boxes
  ]
  return phrases, [float(field(example, s)) for s in ("width", "height")], 0
