"""Reads JSON files: whole ones, and long lists object by object."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

# Characters read at once.
CHUNK = 1 << 20
# An object beyond this is not what annotation files hold; a file that is no
# JSON is found out after as many characters.
MAX_OBJECT = 64 << 20

_SPACE = " \t\r\n"


class BrokenJson(ValueError):
  """A file that is no JSON, or not to its end. Says where."""


def load(path: pathlib.Path) -> Any:
  """The content of a JSON file.

  Raises BrokenJson: with file, line and column.
  """
  try:
    with open(path, encoding="utf-8") as file:
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
      f" ({error})"
    ) from None


def items(path: pathlib.Path) -> Iterator[Any]:
  """Yields the elements of a file that is one JSON list, one at a time.

  Memory is that of the longest element, not of the file. Elements before a
  damage are yielded before the error is raised.

  Raises:
    BrokenJson: the file is no list, or ends early, or is damaged; names the
      file, the line and which element.
  """
  with open(path, encoding="utf-8") as file:
    yield from _Reader(file, path).items()


class _Reader:
  """A window on the text of a file."""

  def __init__(self, file: Any, path: pathlib.Path):
    self._file = file
    self._path = path
    self._text = ""
    self._at = 0
    self._line = 1
    self._ended = False
    self._decoder = json.JSONDecoder()

  def items(self) -> Iterator[Any]:
    if self._next_character() != "[":
      raise self._error(0, "expected '[', the beginning of a list")
    self._at += 1
    count = 0
    if self._next_character() == "]":
      self._at += 1
      self._expect_end(count)
      return
    while True:
      yield self._value(count)
      count += 1
      separator = self._next_character()
      if separator not in ("]", ","):
        raise self._error(count, "expected ',' or ']' after an element")
      self._at += 1
      if separator == "]":
        self._expect_end(count)
        return

  def _value(self, count: int) -> Any:
    """The element that begins at the next character."""
    if not self._next_character():
      raise self._error(count, "expected an element")
    while True:
      try:
        value, end = self._decoder.raw_decode(self._text, self._at)
      except (ValueError, RecursionError) as error:
        too_long = len(self._text) - self._at > MAX_OBJECT
        if too_long or self._ended or isinstance(error, RecursionError):
          raise self._error(count, f"expected an element ({error})") from None
      else:
        # A number that ends with the window may go on behind it.
        if end < len(self._text) or self._ended:
          self._at = end
          return value
      # Twice as much each time: what is read again stays a constant factor.
      self._read(max(CHUNK, len(self._text) - self._at))

  def _next_character(self) -> str:
    """Skips white space; "" at the end of the file."""
    while True:
      while self._at < len(self._text) and self._text[self._at] in _SPACE:
        self._at += 1
      if self._at < len(self._text):
        return self._text[self._at]
      if self._ended:
        return ""
      self._read(CHUNK)

  def _read(self, size: int) -> None:
    """Lets go of what was used and reads more."""
    self._line += self._text.count("\n", 0, self._at)
    try:
      more = self._file.read(size)
    except UnicodeDecodeError as error:
      raise BrokenJson(
        f"{self._path}, after line {self._line}: expected UTF-8, found"
        f" {error.reason}"
      ) from None
    self._ended = not more
    self._text = self._text[self._at :] + more
    self._at = 0

  def _expect_end(self, count: int) -> None:
    if self._next_character():
      raise self._error(count, "expected nothing after the list")

  def _error(self, count: int, expected: str) -> BrokenJson:
    line = self._line + self._text.count("\n", 0, self._at)
    found = self._text[self._at : self._at + 20]
    found = repr(found) if found else "the end of the file"
    return BrokenJson(
      f"{self._path}, line {line}, after {count} element(s): {expected}, found"
      f" {found}; the file may be cut off, get it again"
    )
