"""Reading the plain example dicts that evaluators are given.

An example has `id` (str) and `image` (uint8 [height, width, 3]) and, as its
dataset knows them, `caption` (str), `noun_chunks` and `ref_exps` (lists of
dicts with `start`, `end`, `box_xyxy` and `score`, one for each box), and
`expressions` (a list of dicts with `text` and `box_xyxy`).
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from kosmos2_jax.text.grounded import Box, Phrase

Example = Mapping[str, Any]
T = TypeVar("T")
BoxXyxy = tuple[float, float, float, float]


class Again:
  """Examples that can be read any number of times, from the start each time.

  Args:
    make: returns an iterator of all examples, lazily read; the same ones each
      time.
  """

  def __init__(self, make: Callable[[], Iterable[Example]]):
    self._make = make

  def __iter__(self) -> Iterator[Example]:
    """All examples, in order."""
    return iter(self._make())


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
  """Yields consecutive lists of `size` items; the last may be shorter."""
  iterator = iter(items)
  while batch := list(itertools.islice(iterator, size)):
    yield batch


def field(example: Example, name: str) -> Any:
  """Returns a field of an example.

  Raises:
    ValueError: if the dataset does not have it.
  """
  if name not in example:
    raise ValueError(
      f"this task needs {name!r} in every example; example"
      f" {example.get('id')!r} has {sorted(example)}: choose another dataset"
      " for the task."
    )
  return example[name]


def expressions(example: Example) -> list[tuple[str, BoxXyxy]]:
  """Returns the referring expressions, each with its normalised box."""
  return [
    (item["text"], box_tuple(item["box_xyxy"]))
    for item in field(example, "expressions")
  ]


def phrases(
  example: Example, name: str, score_threshold: float
) -> tuple[list[Phrase], int]:
  """Returns the phrases of a caption, boxes of one span together.

  What training cannot be shown is no truth either: boxes with a low score,
  boxes that have no area inside the picture, and spans that hold no word.

  Args:
    example: a grounded caption.
    name: `noun_chunks` or `ref_exps`.
    score_threshold: boxes with a lower score are left out.

  Returns:
    The phrases in the order of their first box, their boxes as annotated
    (cut at the picture's border), and how many boxes were left out.
  """
  caption = field(example, "caption")
  spans: dict[tuple[int, int], list[Box]] = {}
  left_out = 0
  for item in field(example, name):
    start, end = item["start"], item["end"]
    x1, y1, x2, y2 = (min(max(x, 0.0), 1.0) for x in item["box_xyxy"])
    if (
      item.get("score", score_threshold) >= score_threshold
      and x1 < x2
      and y1 < y2
      and 0 <= start < end <= len(caption)
      and caption[start:end].strip()
    ):
      spans.setdefault((start, end), []).append(Box((x1, y1, x2, y2)))
    else:
      left_out += 1
  return [
    Phrase(caption[start:end], (start, end), tuple(boxes))
    for (start, end), boxes in spans.items()
  ], left_out


def box_tuple(box: Iterable[float]) -> BoxXyxy:
  """Returns the four numbers of a box as Python floats."""
  x1, y1, x2, y2 = map(float, box)
  return x1, y1, x2, y2
