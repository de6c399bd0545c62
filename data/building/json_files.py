"""Reads annotation files in JSON, one object at a time, in little memory.

Three layouts: a list of objects, an object that has the list under a key, and
JSON Lines. Of a file that breaks off, what came before the break is read. Bytes
that are no UTF-8 become halves of surrogate pairs, so that they spoil the text
they are in and nothing else.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any, TextIO

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


class _Broken(Exception):
  """The JSON ends early or is not JSON from here on."""


def read_objects(path: pathlib.Path, report: DropReport) -> Iterator[Found]:
  """Yields the objects of a JSON list or of JSON Lines, told by the content.

  Counts the file in `report`, and in it UNREADABLE_FILE, TRUNCATED_FILE and
  DATA_AFTER_END. Objects count from 1.
  """
  with _opened(path, report) as text:
    if text is None:
      return
    first = text.peek()
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


class _opened:
  """A `_Text` over the file, or None, counted, where it cannot be read."""

  def __init__(self, path: pathlib.Path, report: DropReport):
    self._path = path
    self._report = report
    self._file: TextIO | None = None

  def __enter__(self) -> "_Text | None":
    self._report.files_read += 1
    try:
      # utf-8-sig: some editors put a mark in front.
      self._file = open(
        self._path, encoding="utf-8-sig", errors="surrogateescape", newline="\n"
      )
      return _Text(self._file)
    except OSError:
      self._report.add(Drop.UNREADABLE_FILE, self._path.name)
      return None

  def __exit__(self, *error: object) -> None:
    if self._file is not None:
      self._file.close()


class _Text:
  """A window on a text file, from the next character that was not taken."""

  def __init__(self, file: TextIO):
    self._file = file
    self._window = ""
    self._at = 0
    self._ended = False

  def _read(self, characters: int) -> None:
    """Drops what was taken and appends what comes next."""
    try:
      new = self._file.read(characters)
    except OSError:
      new = ""
    self._window = self._window[self._at :] + new
    self._at = 0
    self._ended = not new

  def peek(self) -> str:
    """The next character that is no space; "" at the end."""
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
  try:
    if key is None:
      yield from _list(text, name)
    else:
      text.take("{")
      more = text.peek() != "}"
      while more:
        this = text.value()
        text.take(":")
        if this == key and text.peek() == "[":
          found = True
          yield from _list(text, name)
        elif text.peek() == "[":
          for _ in _list(text, name):  # Another list, as long as the wanted.
            pass
        else:
          text.value()
        more = text.peek() == ","
        if more:
          text.take(",")
      text.take("}")
  except _Broken:
    # A page of HTML has nothing that could be lost.
    broken = Drop.TRUNCATED_FILE if found else Drop.UNREADABLE_FILE
    report.add(broken, name)
    return
  if not found:
    report.add(Drop.UNREADABLE_FILE, name)
  elif text.peek():
    report.add(Drop.DATA_AFTER_END, name)


def _list(text: _Text, name: str) -> Iterator[Found]:
  text.take("[")
  if text.peek() == "]":
    text.take("]")
    return
  number = 0
  while True:
    number += 1
    yield f"{name}:item {number}", text.value()
    if text.peek() != ",":
      break
    text.take(",")
  text.take("]")
