"""A line of a file of boxes that were found before, and what is in it.

A line is the object of one pair, in one of two forms; the second is GrIT's:

  {"id": 7, "phrases": [{"phrase": "a dog", "boxes": [[0.1, 0.2, 0.6, 0.8]],
                         "scores": [0.9]}]}
  {"id": 7, "caption": "a dog",
   "noun_chunks": [[0, 5, 0.1, 0.2, 0.6, 0.8, 0.9]]}

A phrase is told by its words, by "start" and "end" (characters of the caption,
end exclusive), or by both. Without scores, boxes have the score 1.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from data.building import samples
from data.building.drops import Dropped
from data.grit.build.grounding import ScoredBox

_SHOWN = 60


class BadLine(Exception):
  """Says what was expected and what was found."""


class Phrase(NamedTuple):
  """Boxes of one phrase.

  span   start and end in the caption, None if they are not told
  words  as `words_of` has them, None if they are not told
  boxes  not checked
  """

  span: tuple[int, int] | None
  words: str | None
  boxes: list[ScoredBox]


def words_of(text: str) -> str:
  """Text to compare by."""
  return " ".join(text.split()).casefold()


def parse(line: bytes) -> tuple[str, list[Phrase]]:
  """Id and phrases of a line. Raises BadLine."""
  try:
    fields = samples.parse_object(line)
  except Dropped:
    raise BadLine(f"expected a JSON object, found {_show(line)}") from None
  try:
    pair_id = samples.id_of(fields, "")
  except Dropped:
    pair_id = ""
  if not pair_id:
    raise BadLine(
      f'expected an "id", a number or a text, found {_show(fields.get("id"))}'
    )
  for name, read in (("phrases", _phrase), ("noun_chunks", _chunk)):
    values = fields.get(name)
    if isinstance(values, list):
      return pair_id, [read(value, fields) for value in values]
    if values is not None:
      raise BadLine(f'expected a list of "{name}", found {_show(values)}')
  raise BadLine(
    f'expected "phrases" or "noun_chunks", found {_show(list(fields))}'
  )


def _phrase(value: Any, fields: Mapping[str, Any]) -> Phrase:
  """Boxes of a phrase in the first form. Raises BadLine."""
  if not isinstance(value, dict):
    raise BadLine(f"expected an object of a phrase, found {_show(value)}")
  words = value.get("phrase")
  if words is not None and not (isinstance(words, str) and words.strip()):
    raise BadLine(f'expected words as "phrase", found {_show(words)}')
  span = None
  if "start" in value or "end" in value:
    span = _span(value.get("start"), value.get("end"), fields)
  elif words is None:
    raise BadLine(
      f'expected "phrase", or "start" and "end", found {_show(list(value))}'
    )
  given = value.get("boxes")
  if not isinstance(given, list):
    raise BadLine(f'expected a list of "boxes", found {_show(given)}')
  corners = [_corners(box) for box in given]
  scores = value.get("scores", [1.0] * len(corners))
  if not isinstance(scores, list) or len(scores) != len(corners):
    raise BadLine(
      f'expected as many "scores" as boxes ({len(corners)}), found'
      f" {_show(scores)}"
    )
  found = [
    ScoredBox(box, _number(score))
    for box, score in zip(corners, scores, strict=True)
  ]
  return Phrase(span, None if words is None else words_of(words), found)


def _chunk(value: Any, fields: Mapping[str, Any]) -> Phrase:
  """The box of one of GrIT's items. Raises BadLine."""
  if not isinstance(value, list) or len(value) != 7:
    raise BadLine(
      "expected [start, end, x1, y1, x2, y2, score] in noun_chunks, found"
      f" {_show(value)}"
    )
  start, end, *corners, score = value
  span = _span(start, end, fields)
  caption = fields.get("caption")
  words = words_of(caption[slice(*span)]) if isinstance(caption, str) else None
  return Phrase(span, words, [ScoredBox(_corners(corners), _number(score))])


def _span(start: Any, end: Any, fields: Mapping[str, Any]) -> tuple[int, int]:
  """Raises BadLine: not a part of the caption, if that is told."""
  caption = fields.get("caption")
  most = len(caption) if isinstance(caption, str) else float("inf")
  whole = all(
    isinstance(v, int | float) and not isinstance(v, bool) and v == v // 1
    for v in (start, end)
  )
  if not (whole and 0 <= start < end <= most):
    raise BadLine(
      "expected start and end of a phrase in the caption, found"
      f" {_show(start)} and {_show(end)}"
    )
  return int(start), int(end)


def _corners(value: Any) -> tuple[float, float, float, float]:
  """Raises BadLine; whether it is in the picture is seen when it is used."""
  if not isinstance(value, list) or len(value) != 4:
    raise BadLine(f"expected a box of four numbers, found {_show(value)}")
  x1, y1, x2, y2 = map(_number, value)
  return x1, y1, x2, y2


def _number(value: Any) -> float:
  """Raises BadLine."""
  if not isinstance(value, bool) and isinstance(value, int | float):
    try:
      return float(value)
    except OverflowError:  # An integer of more than 308 digits.
      pass
  raise BadLine(f"expected a number in a box or as score, found {_show(value)}")


def _show(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
