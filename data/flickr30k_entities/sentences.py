"""Reads the marked sentences of Flickr30k Entities.

A line is `[/EN#283585/people A man] in [/EN#0/notvisual it] .`: phrases in
brackets, each with the number of what it means and one or more types. The
caption is the words, with one space between them.
"""

import dataclasses
import re

from data.building.drops import Drop, Dropped

# A phrase ends with the first word that ends with "]".
_PHRASE = re.compile(r"\[/EN#(\d+)((?:/[^\s/\[\]]+)+) ([^\[]*?)\](?=\s|$)")
# What no caption has, but a phrase that is marked badly.
_MARK = "/EN#"


@dataclasses.dataclass(frozen=True)
class Mention:
  """A phrase of a caption.

  start, end  characters of the caption, end exclusive
  entity_id   number of what it means, the same in all sentences about the
              picture; "0" for phrases that mean nothing visible
  types       people, clothing, bodyparts, animals, vehicles, instruments,
              scene, other, notvisual
  """

  start: int
  end: int
  entity_id: str
  types: tuple[str, ...]


def parse(line: str) -> tuple[str, tuple[Mention, ...]]:
  """The caption of a marked sentence, and its phrases in their order.

  Raises Dropped: BAD_MARKUP, EMPTY_CAPTION.
  """
  line = " ".join(line.split())
  caption = ""
  mentions = []
  at = 0
  for match in _PHRASE.finditer(line):
    entity_id, types, phrase = match.groups()
    caption += line[at : match.start()]
    start = len(caption)
    caption += phrase
    if not phrase.strip():
      raise Dropped(Drop.BAD_MARKUP)
    mentions.append(
      Mention(start, len(caption), entity_id, tuple(types[1:].split("/")))
    )
    at = match.end()
  caption += line[at:]
  if _MARK in caption:
    raise Dropped(Drop.BAD_MARKUP)
  if not caption:
    raise Dropped(Drop.EMPTY_CAPTION)
  return caption, tuple(mentions)
