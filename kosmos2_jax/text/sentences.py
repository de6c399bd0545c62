"""Where sentences end, by rules that need no model.

A sentence ends

* behind `.`, `!`, `?` or `…`, however many, and the quotes and brackets that
  close there, where white space follows;
* behind `。`, `！`, `？` or `｡` and what closes there, with or without space;
* behind other scripts' full stops, `।` and `۔` and `؟`, as behind `.`;
* at the end of a line.

A full stop does not end one before a small letter, behind a single capital
("J. Smith"), or behind one of a few English abbreviations ("Dr. Smith").
"""

import re

_CLOSING = "\"'”’»)\\]}」』）】》"
_END = re.compile(
  rf"(?P<wide>[。！？｡]+[{_CLOSING}]*)"
  rf"|(?P<narrow>[.!?…।۔؟]+[{_CLOSING}]*)(?=\s|$)"
  r"|(?P<line>[\r\n]+)"
)
_LAST_WORD = re.compile(r"(\w[\w.]*)\.$")
_ABBREVIATIONS = frozenset(
  ("dr", "e.g", "fig", "i.e", "jr", "mr", "mrs", "ms", "prof", "sr", "st", "vs")
)


def spans(text: str) -> list[tuple[int, int]]:
  """Half-open ranges of a text's sentences, without outer white space."""
  found, start = [], 0
  for match in _END.finditer(text):
    if match["narrow"] and not _is_end(text, match):
      continue
    found.append((start, match.end()))
    start = match.end()
  found.append((start, len(text)))
  return [span for span in (_trimmed(text, *s) for s in found) if span]


def first(text: str, count: int) -> str:
  """The first `count` sentences (all, if fewer), as they stand in the text."""
  found = spans(text)[:count]
  return text[found[0][0] : found[-1][1]] if found else ""


def last(text: str, count: int) -> str:
  """The last `count` sentences (all, if fewer), as they stand in the text."""
  found = spans(text)[-count:] if count else []
  return text[found[0][0] : found[-1][1]] if found else ""


def _is_end(text: str, match: re.Match) -> bool:
  """Whether a full stop before white space ends a sentence."""
  if not match["narrow"].startswith("."):
    return True
  if text[match.end() :].lstrip()[:1].islower():
    return False
  word = _LAST_WORD.search(text, 0, match.start() + 1)
  if word is None:
    return True
  name = word[1]
  is_initial = len(name) == 1 and name.isupper() and name != "I"
  return not is_initial and name.lower() not in _ABBREVIATIONS


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
  words = text[start:end]
  if not words.strip():
    return None
  start += len(words) - len(words.lstrip())
  return start, start + len(words.strip())
