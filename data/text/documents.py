"""Reads documents from JSONL and plain text; never gives up on a file."""

import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from data.building import files, lines, samples
from data.building.drops import Drop, Dropped, DropReport

JSON_LINES = (".jsonl", ".jsonl.gz", ".jsonl.zip", ".json.gz", ".ndjson")
PLAIN = (".txt", ".txt.gz")
SUFFIXES = (*JSON_LINES, *PLAIN)
# A plain file is in memory as a whole if it is one document.
MAX_BYTES = 256 << 20


class Text(NamedTuple):
  r"""A document or a part of one.

  Attributes:
    id: file and line, and the number of the part if there are several.
    text: at least one character that is not a space; lines end in "\n".
  """

  id: str
  text: str


def read_texts(
  path: pathlib.Path,
  report: DropReport,
  *,
  field: str = "text",
  documents: str = "file",
  max_chars: int = 100_000,
) -> Iterator[Text]:
  """Yields the good texts of a file, in its order.

  Args:
    path: ends in one of `SUFFIXES`.
    report: is told of everything; complete when the iterator is exhausted.
    field: of a line's JSON object, where the text is.
    documents: what a document of a plain file is: the "file", or a
      "paragraph", which ends with a blank line.
    max_chars: longer documents are cut where lines end, see `split_text`.
  """
  plain = path.name.lower().endswith(PLAIN)
  if not plain:
    found = lines.read_lines(path, report)
  elif documents == "paragraph":
    found = _read_paragraphs(path, report)
  else:
    found = _read_whole(path, report)
  folder = files.label(path).removesuffix(files.printable(path.name))
  for where, data in found:
    if not plain and data is not None and not data.strip():
      continue  # A blank line is no record.
    report.records_read += 1
    try:
      if data is None:
        raise Dropped(Drop.TEXT_TOO_LARGE)
      if plain:
        # A mark that some systems put in front belongs to no text.
        text = check_text(data.removeprefix(b"\xef\xbb\xbf"))
      else:
        text = check_text(samples.parse_object(data).get(field))
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    yield from split(folder + where, text, report, max_chars)


def check_text(value: Any) -> str:
  """The value, if it is a text with a word in it.

  Raises Dropped: MISSING_TEXT, BAD_TEXT, EMPTY_TEXT.
  """
  if value is None:
    raise Dropped(Drop.MISSING_TEXT)
  try:
    text = value.decode() if isinstance(value, bytes) else value
    if not isinstance(text, str):
      raise Dropped(Drop.BAD_TEXT)
    text.encode()
  except UnicodeError:  # Other bytes, or half of a surrogate pair.
    raise Dropped(Drop.BAD_TEXT) from None
  if not text.strip():
    raise Dropped(Drop.EMPTY_TEXT)
  return text


def split(
  where: str, text: str, report: DropReport, max_chars: int
) -> Iterator[Text]:
  """The document, or its parts, which are then counted as records."""
  parts = split_text(text, max_chars)
  if len(parts) > 1:
    report.records_read += len(parts) - 1
    report.add(Drop.TEXT_SPLIT, where, len(parts) - 1)
  for number, part in enumerate(parts, start=1):
    yield Text(f"{where}:{number}" if len(parts) > 1 else where, part)


def split_text(text: str, max_chars: int) -> list[str]:
  r"""Parts of at most `max_chars` characters, cut where lines end.

  A line that is longer alone is cut after the last space that fits, or
  without one in the midst of a word. Nothing but parts without a word is
  left out.

  >>> split_text("one two\nthree\nfour", 10)
  ['one two\n', 'three\nfour']
  """
  parts, start = [], 0
  while len(text) - start > max_chars:
    end = start + max_chars
    cut = text.rfind("\n", start, end) + 1
    # Blank lines in front are no reason to stop there.
    if not text[start:cut].strip():
      cut = text.rfind(" ", start, end) + 1
    if not text[start:cut].strip():
      cut = end
    parts.append(text[start:cut])
    start = cut
  parts.append(text[start:])
  return [part for part in parts if part.strip()]


def _read_whole(
  path: pathlib.Path, report: DropReport
) -> Iterator[tuple[str, bytes | None]]:
  kept, size, known = [], 0, report.total("file")
  for _, line in lines.read_lines(path, report):
    size += MAX_BYTES if line is None else len(line) + 1
    if size <= MAX_BYTES:
      kept.append(line)
  if report.total("file") > known and not kept:
    return  # Nothing could be read, and that is counted.
  yield path.name, None if size > MAX_BYTES else b"\n".join(kept)


def _read_paragraphs(
  path: pathlib.Path, report: DropReport
) -> Iterator[tuple[str, bytes | None]]:
  numbered = lines.read_lines(path, report)
  for blank, group in itertools.groupby(numbered, key=_is_blank):
    if not blank:
      yield _join(group)


def _is_blank(numbered: tuple[str, bytes | None]) -> bool:
  return numbered[1] is not None and not numbered[1].strip()


def _join(
  group: Iterable[tuple[str, bytes | None]],
) -> tuple[str, bytes | None]:
  """The paragraph's first line's place, and its lines."""
  places, found = zip(*group, strict=True)
  if None in found or sum(map(len, found)) > MAX_BYTES:
    return places[0], None
  return places[0], b"\n".join(found)
