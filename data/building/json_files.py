"""Reads annotation files in JSON, one object at a time, in little memory.

Three layouts: a list of objects, an object that has the list under a key, and
JSON Lines. Of a file that breaks off, what came before the break is read. Bytes
that are no UTF-8 become halves of surrogate pairs, so that they spoil the text
they are in and nothing else.

`load` reads a file whole, where its parts belong together and half of it would
mislead: there a break is an error.
"""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from data.building.drops import Drop, DropReport

# Read at a time; more where an object is longer.
CHUNK = 1 << 20
# An object of more characters is no example of anything read here.
MAX_CHARACTERS = 16 << 20
_SPACE = " \t\r\n"
_AFTER_A_VALUE = frozenset(_SPACE + ",:]}")

# Where an object stands ("file.json:item 7", "file.jsonl:7") and what it is:
# a value that JSON has, or None for a line that is not JSON.
Found = tuple[str, Any]


class BrokenJson(ValueError):
  """A file that is no JSON, or not to its end. Says where."""


class _Broken(Exception):
  """The JSON ends early or is not JSON from here on."""


def load(path: pathlib.Path) -> Any:
  """The content of a JSON file.

  Raises BrokenJson: with file, line and column.
  """
  try:
    with open(path, encoding="utf-8-sig") as file:
      return json.load(file)
  except json.JSONDecodeError as error:
    raise BrokenJson(
      f"{path}, line {error.lineno}, column {error.colno}: expected a complete"
      f" JSON file, found an error: {error.msg}; the file may be cut off, get"
      " it again"
    ) from None
  except (UnicodeDecodeError, RecursionError) as error:
    raise BrokenJson(
      f"{path}: expected a JSON file in UTF-8, found that it cannot be read"
      f" ({error}); get it again"
    ) from None


def read_objects(path: pathlib.Path, report: DropReport) -> Iterator[Found]:
  """Yields the objects of a JSON list or of JSON Lines, told by the content.

  Counts the file in `report`, and in it UNREADABLE_FILE, TRUNCATED_FILE and
  DATA_AFTER_END, with their places. Objects and lines count from 1. Memory is
  that of the longest object.
  """
  with _opened(path, report) as text:
    if text is None:
      return
    try:
      first = text.peek()
    except _Broken:
      first = ""
    if first == "[":
      yield from _items(text, path.name, None, report)
    elif first == "{":
      yield from _lines(text, path.name, report)
    else:
      report.add(Drop.UNREADABLE_FILE, path.name)


def read_list(
  path: pathlib.Path, key: str, report: DropReport
) -> Iterator[Found]:
  """Yields the objects of the list that a JSON object has under `key`.

  Counts as `read_objects` does; a file without such a list is UNREADABLE_FILE.
  """
  with _opened(path, report) as text:
    if text is None:
      return
    yield from _items(text, path.name, key, report)


@contextlib.contextmanager
def _opened(path: pathlib.Path, report: DropReport) -> Iterator["_Text | None"]:
  """A window on the file, or None, counted, where it cannot be opened."""
  report.files_read += 1
  try:
    # utf-8-sig: some editors put a mark in front.
    file = open(  # noqa: SIM115 (only opening may fail here)
      path, encoding="utf-8-sig", errors="surrogateescape", newline="\n"
    )
  except OSError:
    report.add(Drop.UNREADABLE_FILE, path.name)
    yield None
    return
  with file:
    yield _Text(file.read)


class _Text:
  """A window on a text file, from the next character that was not taken."""

  def __init__(self, read: Callable[[int], str]):
    self._file_read = read
    self._window = ""
    self._at = 0
    self._ended = False
    self._lines_before = 0

  def line_number(self) -> int:
    """Of the next character, from 1."""
    return self._lines_before + self._window.count("\n", 0, self._at) + 1

  def _read(self, characters: int) -> None:
    """Drops what was taken, appends what comes next. Raises _Broken."""
    try:
      new = self._file_read(characters)
    except OSError:
      raise _Broken from None
    self._lines_before += self._window.count("\n", 0, self._at)
    self._window = self._window[self._at :] + new
    self._at = 0
    self._ended = not new

  def peek(self) -> str:
    """The next character that is no space; "" at the end. Raises _Broken."""
    while True:
      while self._at < len(self._window):
        if self._window[self._at] not in _SPACE:
          return self._window[self._at]
        self._at += 1
      if self._ended:
        return ""
      self._read(CHUNK)

  def take(self, character: str) -> None:
    """Takes one character. Raises _Broken where another one stands."""
    if self.peek() != character:
      raise _Broken
    self._at += 1

  def value(self) -> Any:
    """Takes one JSON value. Raises _Broken."""
    self.peek()
    while True:
      try:
        value, end = _DECODER.raw_decode(self._window, self._at)
        # A number may go on: behind the window, or with a point or power.
        if self._ended or self._window[end : end + 1] in _AFTER_A_VALUE:
          self._at = end
          return value
      except (ValueError, RecursionError):
        length = len(self._window) - self._at
        if self._ended or length > MAX_CHARACTERS:
          raise _Broken from None
      # Twice as much each time: reading stays linear.
      self._read(max(CHUNK, len(self._window) - self._at))

  def line(self) -> str:
    """Takes the rest of a line; "" only at the end. Raises _Broken."""
    while True:
      end = self._window.find("\n", self._at) + 1
      length = len(self._window) - self._at
      if end or self._ended:
        line = self._window[self._at : end or len(self._window)]
        self._at += len(line)
        return line
      if length > MAX_CHARACTERS:
        raise _Broken
      self._read(max(CHUNK, length))


_DECODER = json.JSONDecoder()


def _lines(text: _Text, name: str, report: DropReport) -> Iterator[Found]:
  number = 1
  try:
    while line := text.line():
      if line.strip():
        try:
          value = json.loads(line)
        except (ValueError, RecursionError):
          value = None
        yield f"{name}:{number}", value
      number += 1
  except _Broken:
    report.add(Drop.TRUNCATED_FILE, f"{name}:{number}")


def _items(
  text: _Text, name: str, key: str | None, report: DropReport
) -> Iterator[Found]:
  """The items of a list, which is the file's or under `key` in its object."""
  found = key is None
  number = 0
  try:
    if key is None:
      for number, value in _list(text):
        yield f"{name}:item {number}", value
    else:
      text.take("{")
      more = text.peek() != "}"
      while more:
        this = text.value()
        text.take(":")
        if this == key and text.peek() == "[":
          found = True
          for number, value in _list(text):
            yield f"{name}:item {number}", value
        elif text.peek() == "[":
          for _ in _list(text):  # Another list, as long as the wanted.
            pass
        else:
          text.value()
        more = text.peek() == ","
        if more:
          text.take(",")
      text.take("}")
    rest = text.peek()
  except _Broken:
    # A page of HTML has nothing that could be lost.
    broken = Drop.TRUNCATED_FILE if found else Drop.UNREADABLE_FILE
    report.add(broken, _place(text, name, number))
    return
  if not found:
    report.add(Drop.UNREADABLE_FILE, name)
  elif rest:
    report.add(Drop.DATA_AFTER_END, _place(text, name, number))


def _list(text: _Text) -> Iterator[tuple[int, Any]]:
  """Takes a list; yields numbers, from 1, and values. Raises _Broken."""
  text.take("[")
  if text.peek() == "]":
    text.take("]")
    return
  number = 0
  while True:
    number += 1
    yield number, text.value()
    if text.peek() != ",":
      break
    text.take(",")
  text.take("]")


def _place(text: _Text, name: str, number: int) -> str:
  """Where a file breaks: the line, and after which item of the list."""
  after = f":after item {number}" if number else ""
  return f"{name}:line {text.line_number()}{after}"
