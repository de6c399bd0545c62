"""Grows noun chunks to referring expressions over the dependency tree.

Kosmos-2, section 2.1: of a noun chunk, "recursively traverse its children in
the dependency tree and concatenate children tokens": "a dog" becomes "a dog in
a field of flowers". Chunks with conjuncts ("a man and a woman in a boat") do
not grow, for "in a boat" may be of one or of both. And of the phrases that have
boxes those are kept that are contained in no other.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from data.building.drops import Drop
from data.grit.build import chunks

if TYPE_CHECKING:
  from data.grit.build.parsing import Doc

# An expression ends before these: tags, brackets, asides.
_STOPS = frozenset((*"#@()[]{}|*•…", "..."))
# Tags of words that lead on to what was cut off.
_LEADING = frozenset(("CC", "DT", "IN", "PRP$", "TO"))
_CLOSING = {'"': '"', "“": "”", "„": "“”", "«": "»", "‘": "’", "'": "'"}


class Phrase(NamedTuple):
  """What a grounder is asked for.

  chunk       (start, end) of the noun chunk, characters of the caption
  expression  (start, end) of what it grows to; starts where the chunk does
  """

  chunk: tuple[int, int]
  expression: tuple[int, int]


class Phrases(NamedTuple):
  """All of a caption.

  phrases  in the order of the caption; their chunks do not overlap
  dropped  the reason of each noun chunk that is none of them
  """

  phrases: tuple[Phrase, ...]
  dropped: tuple[Drop, ...]


def phrases(doc: "Doc") -> Phrases:
  """The phrases of a Doc of `parsing.Parser`."""
  found = chunks.find(doc)
  stops = {frame.start for frame in found.frames}
  result = []
  for chunk in found.kept:
    start = doc[chunk.start].idx
    result.append(
      Phrase(
        (start, _end_char(doc, chunk.end)),
        (start, _end_char(doc, expand(doc, chunk, stops))),
      )
    )
  return Phrases(tuple(result), tuple(found.dropped))


def expand(
  doc: "Doc", chunk: chunks.Chunk, stops: frozenset[int] | set[int]
) -> int:
  """Index of the token behind the chunk's expression.

  The expression is one piece: it goes on as long as each next token is below
  the chunk's head in the tree. It ends before a token of `stops`, before a mark
  that sets off an aside, and before an apposition, since the parser does not
  tell "Rex, a dog" from the words of a list. Marks at its end, and words that
  led on to what was cut off, are not of it.
  """
  head = doc[chunk.heads[0]]
  if not head.n_rights or any(_has_conjunct(doc[i]) for i in chunk.heads):
    return chunk.end
  below = {}
  for token in head.subtree:
    below[token.i] = token
  stops = set(stops)
  for token in below.values():
    if token.dep_ == "appos":
      stops.add(token.left_edge.i)
  end = chunk.end
  while end in below and end not in stops and doc[end].text not in _STOPS:
    end += 1
  was_cut = end in below
  while end > chunk.end and (
    not chunks.has_word(doc[end - 1].text)
    or doc[end - 1].tag_ == "CC"
    or (was_cut and doc[end - 1].tag_ in _LEADING)
  ):
    if _closes(doc, chunk.start, end - 1):
      break
    end -= 1
  return end


def outermost(spans: Sequence[tuple[int, int]]) -> list[bool]:
  """Whether each (start, end) is contained in no other.

  Of equal ones the first is kept; those that overlap otherwise all are.
  """
  result = [False] * len(spans)
  reached = -1
  # Whatever could contain a span comes before it.
  for index in sorted(
    range(len(spans)), key=lambda i: (spans[i][0], -spans[i][1], i)
  ):
    end = spans[index][1]
    if end > reached:
      result[index] = True
      reached = end
  return result


def _has_conjunct(token) -> bool:
  """Whether it is one of "a man and a woman"."""
  return token.dep_ == "conj" or any(
    child.dep_ == "conj" for child in token.rights
  )


def _closes(doc: "Doc", start: int, index: int) -> bool:
  """Whether the token closes a quotation that began behind `start`."""
  mark = doc[index].text
  between = [doc[i].text for i in range(start, index)]
  for opening, closing in _CLOSING.items():
    if mark in closing:
      if opening == closing:
        return between.count(mark) % 2 == 1
      if opening in between:
        return True
  return False


def _end_char(doc: "Doc", end: int) -> int:
  last = doc[end - 1]
  return last.idx + len(last)
