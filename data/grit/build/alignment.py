"""Which box of a detector belongs to which phrase.

Detectors are asked for texts and answer, for each of their queries, one box
and how well it fits each text (or each token of one text). Here phrases
become texts and answers become the boxes of phrases, without any model.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from data.grit.build.grounding import ScoredBox

# First and last-plus-one character of each.
Offsets = Sequence[Sequence[int]]


def plain(phrase: str, forbidden: str = "") -> str:
  """The text a detector is asked: lower case, one space between words.

  Args:
    phrase: words of a caption.
    forbidden: characters that mean something else to the detector; each
      becomes a space.
  """
  for character in forbidden:
    phrase = phrase.replace(character, " ")
  return " ".join(phrase.lower().split())


def first_places(texts: Iterable[str]) -> dict[str, int]:
  """Each different text and where it stands first; "" is left out."""
  places: dict[str, int] = {}
  for place, text in enumerate(texts):
    if text:
      places.setdefault(text, place)
  return places


def joined(texts: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
  """One text of all, "a dog. a red ball.", and the characters of each.

  Grounding DINO is trained on such texts; the full stops keep the words of
  different phrases from seeing each other.
  """
  spans, end = [], 0
  for text in texts:
    spans.append((end, end + len(text)))
    end += len(text) + 2
  return "".join(f"{text}. " for text in texts).rstrip(), spans


def token_mask(
  offsets: Offsets, spans: Offsets, length: int
) -> Bool[np.ndarray, "phrases length"]:
  """Which tokens are a phrase's.

  Args:
    offsets: the characters of each token; (0, 0) for those that stand for
      none, such as [CLS].
    spans: the characters of each phrase.
    length: places for tokens, at least as many as there are tokens.
  """
  mask = np.zeros((len(spans), length), bool)
  for row, (start, end) in zip(mask, spans, strict=True):
    for place, (left, right) in enumerate(offsets):
      row[place] = left < right and left < end and start < right
  return mask


def phrase_scores(
  tokens: Float[np.ndarray, "queries length"],
  mask: Bool[np.ndarray, "phrases length"],
  how: str,
) -> Float[np.ndarray, "queries phrases"]:
  """How well each query fits each phrase, from how well it fits its tokens.

  Args:
    tokens: probabilities, 0..1.
    mask: see `token_mask`; each phrase has a token.
    how: "max", the confidence that Grounding DINO's own thresholds are of, or
      "mean", as GLIP and the evaluations on COCO of both score a class.
  """
  reduce = {"max": np.max, "mean": np.mean}[how]
  # Not a product with the mask: 0 times NaN would spoil other phrases.
  return np.stack([reduce(tokens[:, row], axis=1) for row in mask], axis=1)


def packed(sizes: Sequence[int], room: int) -> list[list[int]]:
  """Numbers 0, 1, ... in groups, in order, each with sizes of `room` at most.

  A size that is larger than `room` is alone in its group.
  """
  groups: list[list[int]] = []
  left = 0
  for number, size in enumerate(sizes):
    if not groups or size > left:
      groups.append([])
      left = room
    groups[-1].append(number)
    left -= size
  return groups


def corners(
  boxes_cxcywh: Float[np.ndarray, "queries 4"],
  scale_xy: tuple[float, float] = (1.0, 1.0),
) -> Float[np.ndarray, "queries 4"]:
  """x1, y1, x2, y2 of boxes given by centre, width and height, in the picture.

  What a detector guesses beyond the picture's border is cut off: it regresses
  boxes freely, and nothing is seen there. A box that is all outside becomes
  an empty one at the border; NaN stays.

  Args:
    boxes_cxcywh: as parts of what the detector was shown.
    scale_xy: sides of that, as parts of the picture's sides.
  """
  centre, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
  boxes = np.concatenate([centre - half, centre + half], axis=1)
  return np.clip(boxes * np.asarray([*scale_xy] * 2, boxes.dtype), 0, 1)


def assign(
  scores: Float[np.ndarray, "queries phrases"],
  boxes_xyxy: Float[np.ndarray, "queries 4"],
  threshold: float,
) -> list[list[ScoredBox]]:
  """The boxes of each phrase, best first; equal ones in the queries' order.

  A query belongs to the phrase it fits best (of equals to the first): it
  stands for one thing. It counts with that score, unless the score is
  `threshold` or less; one that is no number is let through, so that it is
  noticed.
  """
  found: list[list[ScoredBox]] = [[] for _ in range(scores.shape[1])]
  best = scores.argmax(axis=1)  # NaN counts as the largest.
  for query, phrase in enumerate(best):
    score = float(scores[query, phrase])
    if not score <= threshold:
      x1, y1, x2, y2 = map(float, boxes_xyxy[query])
      found[phrase].append(ScoredBox((x1, y1, x2, y2), score))
  return [sorted(boxes, key=lambda box: -box.score) for boxes in found]
