"""Noun chunks of a parsed caption that a box could be found for.

The paper takes spaCy's noun chunks and drops the abstract ones. Dropped here,
each for a reason: pronouns; the picture itself ("a photo of a dog"; the dog is
a chunk of its own); what has no letter, is a tag or an address, or stands in
quotation marks (words to be read, not things); and what the lists of `words`
call abstract.

Measures are joined with what they measure: spaCy makes two chunks of "a pair of
shoes", which would ask the grounder for a pair of nothing, and a box of the one
is a box of the other. A cup of coffee stays two: the cup is a thing.
"""

import re
from typing import TYPE_CHECKING, NamedTuple

from data.building.drops import Drop
from data.grit.build import languages, words

if TYPE_CHECKING:
  from data.grit.build.parsing import Doc

_QUOTED = re.compile(
  r'"[^"]+"|“[^”]+”|„[^“”]+[“”]|«[^»]+»|‘[^’]+’(?!\w)|(?<!\w)\'[^\']+\'(?!\w)'
)


class Chunk(NamedTuple):
  """A noun chunk, counted in tokens of its Doc.

  start  of its first token
  end    behind its last token
  heads  its noun; of a measure that noun and the measured one
  """

  start: int
  end: int
  heads: tuple[int, ...]


class Chunks(NamedTuple):
  """The chunks of a Doc, in its order.

  kept     which could be found in a picture
  frames   which name the picture, as "stock photo" does
  dropped  the reason of each that was not kept
  """

  kept: list[Chunk]
  frames: list[Chunk]
  dropped: list[Drop]


def find(doc: "Doc") -> Chunks:
  """The noun chunks of a Doc of `parsing.Parser`."""
  found = Chunks([], [], [])
  text = doc.text  # Put together from the tokens each time it is asked for.
  quotes = _quoted(text)
  for chunk in _joined(doc):
    reason = _reason(doc, chunk, text, quotes)
    if reason is None:
      found.kept.append(chunk)
      continue
    found.dropped.append(reason)
    if reason is Drop.FRAME_CHUNK:
      found.frames.append(chunk)
  return found


def has_word(text: str) -> bool:
  """Whether there is a Latin letter or a digit in it."""
  if text.isascii():
    return any(map(str.isalnum, text))
  return any(
    languages.is_latin(character) or character.isdigit() for character in text
  )


def _joined(doc: "Doc") -> list[Chunk]:
  """spaCy's noun chunks, trimmed, measures with what they measure."""
  result: list[Chunk] = []
  for span in doc.noun_chunks:
    start, end, head = span.start, span.end, span.root.i
    # The parser makes quotes, emoji and foreign words parts of a chunk.
    while start < end and _is_edge(doc[start]):
      start += 1
    while end > start and not has_word(doc[end - 1].text):
      end -= 1
    if start == end:  # Nothing but such: dropped as odd.
      start, end = span.start, span.end
    elif end < len(doc) and doc[end].tag_ == "POS" and doc[end].head.i == head:
      end += 1  # "at McDonald's"
    chunk = Chunk(start, end, (head,))
    measure = result[-1] if result else None
    if measure and _measures(doc, measure, chunk):
      result[-1] = Chunk(measure.start, end, (*measure.heads, head))
    else:
      result.append(chunk)
  return result


def _is_edge(token) -> bool:
  """Whether a chunk cannot begin with it: a mark, "and", "both", "whose"."""
  return (
    token.tag_ in ("CC", "WP", "WP$", "WDT")
    or token.dep_ == "preconj"
    or not has_word(token.text)
  )


def _measures(doc: "Doc", measure: Chunk, chunk: Chunk) -> bool:
  """Whether it is "a pair" before "of" and the chunk."""
  link = measure.end
  return (
    chunk.start == link + 1
    and doc[link].lower_ == "of"
    and doc[link].head.i == measure.heads[-1]
    and doc[chunk.heads[0]].head.i == link
    and words.is_one_of(doc[measure.end - 1].lower_, words.MEASURES)
    and not _is_pronoun(doc, chunk)
  )


def _reason(
  doc: "Doc", chunk: Chunk, text: str, quotes: list[tuple[int, int]]
) -> Drop | None:
  """Why the chunk is dropped; None if it is not."""
  last = doc[chunk.end - 1]
  start, end = doc[chunk.start].idx, last.idx + len(last)
  if sum(map(languages.is_latin, text[start:end])) < 2 or words.ADDRESS.search(
    # With what it hangs on: the mark of a tag, the rest of an address.
    text[text.rfind(" ", 0, start) + 1 : end]
  ):
    return Drop.ODD_CHUNK
  if any(opened <= start and end <= closed for opened, closed in quotes):
    return Drop.ODD_CHUNK
  if _is_pronoun(doc, chunk):
    return Drop.PRONOUN_CHUNK
  noun = _noun(doc, chunk)
  if words.is_one_of(noun, words.FRAMES) and _is_frame(doc, chunk):
    return Drop.FRAME_CHUNK
  if words.is_one_of(noun, words.ABSTRACT) or (
    words.is_one_of(noun, words.LOCATIONS) and _is_location(doc, chunk)
  ):
    return Drop.ABSTRACT_CHUNK
  return None


def _noun(doc: "Doc", chunk: Chunk) -> str:
  """The last word in lower case, with what a hyphen ties to it."""
  last = chunk.end - 1
  if doc[last].tag_ == "POS" and last > chunk.start:
    last -= 1
  first = last
  while first - 2 >= chunk.start and doc[first - 1].text == "-":
    first -= 2
  noun = doc[first : last + 1].text.lower()
  following = doc[last + 1].lower_ if last + 1 < len(doc) else ""
  if (noun, following) == ("close", "up"):
    return "closeup"
  return noun


def _is_pronoun(doc: "Doc", chunk: Chunk) -> bool:
  """Whether its head is one: "it", "someone", "the other one"."""
  head = doc[chunk.heads[-1]]
  if head.pos_ == "PRON":
    return True
  # Not "the US".
  return head.pos_ != "PROPN" and doc[chunk.end - 1].lower_ in words.PRONOUNS


def _is_frame(doc: "Doc", chunk: Chunk) -> bool:
  """Whether the picture is meant, not a picture in the picture.

  "A photo of", "this image shows", "in this picture", "stock photo" behind the
  rest; but not "a man holds a photo" nor "a picture on the wall".
  """
  head = doc[chunk.heads[0]]
  if head.dep_ == "conj":
    first = head.head
    while first.dep_ == "conj":
      first = first.head
    if not words.is_one_of(first.lower_, words.FRAMES):
      return False
    head = first
  if head.dep_ in ("dobj", "dative"):
    return False
  if head.dep_ == "pobj":
    if head.head.lower_ == "in":
      return True
    above = head.head.head.lower_
    return head.head.lower_ == "of" and words.is_one_of(above, words.FRAMES)
  after = {child.lower_ for child in head.rights}
  if head.dep_ in ("nsubj", "nsubjpass"):
    return "of" in after or head.head.lower_ in words.SHOWING
  return words.PLACED.isdisjoint(after)


def _is_location(doc: "Doc", chunk: Chunk) -> bool:
  """Whether a part is meant: "the left side", "the back of a truck"."""
  if chunk.end < len(doc) and doc[chunk.end].lower_ == "of":
    return True
  return all(
    doc[index].lower_ in words.PLAIN
    for index in range(chunk.start, chunk.end - 1)
  )


def _quoted(text: str) -> list[tuple[int, int]]:
  """Spans in quotation marks; not marks around nearly all of the text."""
  return [
    match.span()
    for match in _QUOTED.finditer(text)
    if match.end() - match.start() < len(text) - 2
  ]
