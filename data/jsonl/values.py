"""Values of a line: what they should be, and faults that say what they are."""

import difflib
import json
from collections.abc import Collection, Sequence
from typing import Any

from data.building.drops import Drop

# Longer values are cut in messages.
_SHOWN = 60


class Fault(Exception):
  """One thing that is wrong with a line.

  Attributes:
    field: where in the line, such as "phrases[1].boxes[0]"; "" for all of it.
    reason: how it is counted where faulty lines are left out.
    text: what was expected, what was found, what to do.
  """

  def __init__(self, reason: Drop, field: str, text: str):
    """Takes the attributes."""
    super().__init__(f"{field}: {text}" if field else text)
    self.field = field
    self.reason = reason
    self.text = text


def parse_object(line: bytes) -> dict[str, Any]:
  """The JSON object of a line. Raises Fault: BAD_JSON."""

  def fault(text: str) -> Fault:
    return Fault(Drop.BAD_JSON, "", text)

  def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
      raise fault(
        f"expected every field once in an object, found {show(twice[0])}"
        f" {names.count(twice[0])} times; leave one of them"
      )
    return dict(pairs)

  def refuse(name: str) -> Any:
    raise fault(f"expected numbers of JSON, found {name}; write a number")

  try:
    text = line.decode()
  except UnicodeDecodeError as error:
    raise fault(
      f"expected text in UTF-8, found the byte 0x{line[error.start]:02x} at"
      f" position {error.start}; save the file as UTF-8"
    ) from None
  try:
    value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
  except json.JSONDecodeError as error:
    advice = "check quotes, commas and brackets"
    if text.strip() in ("{", "[", "[{", "}", "]"):
      advice = "write each object in one line, and no list around them"
    raise fault(
      f"expected one JSON object, found {show_text(text.strip())}, which is no"
      f" JSON ({error.msg}, character {error.pos + 1}); {advice}"
    ) from None
  except (RecursionError, ValueError):  # Numbers of thousands of digits.
    raise fault(
      "expected one JSON object, found one too deep or long"
    ) from None
  if not isinstance(value, dict):
    raise fault(
      f'expected a JSON object such as {{"image": ..., "caption": ...}}, found'
      f" {kind_of(value)}; write one object in each line"
    )
  return value


def text_at(value: Any, field: str, *, blank: bool = False) -> str:
  """A text; with something in it unless `blank`. Raises Fault: BAD_VALUE."""
  if not isinstance(value, str):
    raise Fault(
      Drop.BAD_VALUE,
      field,
      f"expected a text, found {kind_of(value)}; put it in quotes",
    )
  try:
    value.encode()
  except UnicodeEncodeError:
    raise Fault(
      Drop.BAD_VALUE,
      field,
      "expected a text that UTF-8 can hold, found half of a surrogate pair"
      " (an escape such as \\ud83d alone); write the character itself",
    ) from None
  if not blank and not value.strip():
    raise Fault(
      Drop.BAD_VALUE, field, "expected words, found an empty text; write some"
    )
  return value


def list_at(value: Any, field: str, of: str) -> list[Any]:
  """A list with something in it. Raises Fault: BAD_VALUE."""
  if not isinstance(value, list):
    raise Fault(
      Drop.BAD_VALUE,
      field,
      f"expected a list of {of}, found {kind_of(value)}; put it in brackets",
    )
  if not value:
    raise Fault(
      Drop.BAD_VALUE,
      field,
      f"expected a list of {of}, found an empty one; leave {field!r} out where"
      " there is nothing",
    )
  return value


def object_at(value: Any, field: str, names: Collection[str]) -> dict[str, Any]:
  """An object of these fields. Raises Fault: BAD_VALUE, UNKNOWN_FIELD."""
  if not isinstance(value, dict):
    raise Fault(
      Drop.BAD_VALUE,
      field,
      f"expected an object with {listed(names)}, found {kind_of(value)}; put"
      " it in braces",
    )
  for name in value:
    if name not in names:
      raise unknown(name, field, names)
  return value


def whole_at(value: Any, field: str, below: int) -> int:
  """A whole number from 0 to `below` - 1. Raises Fault: BAD_VALUE."""
  if isinstance(value, bool) or not isinstance(value, int):
    raise Fault(
      Drop.BAD_VALUE,
      field,
      f"expected a whole number, found {kind_of(value)}; count from 0",
    )
  if not 0 <= value < below:
    raise Fault(
      Drop.BAD_VALUE,
      field,
      f"expected a whole number from 0 to {below - 1}, found {value}; count"
      " from 0",
    )
  return value


def choice_at(value: Any, field: str, choices: Sequence[str]) -> str:
  """One of the choices. Raises Fault: BAD_VALUE."""
  if not isinstance(value, str) or value not in choices:
    raise Fault(
      Drop.BAD_VALUE,
      field,
      f"expected {' or '.join(map(show, choices))}, found {show(value)};"
      f"{_nearest(value, choices)} choose one of them",
    )
  return value


def unknown(name: str, field: str, names: Collection[str]) -> Fault:
  """The fault of a name that nothing has."""
  return Fault(
    Drop.UNKNOWN_FIELD,
    f"{field}.{name}" if field else name,
    f"expected one of the fields {listed(names)}, found {show(name)};"
    f"{_nearest(name, names)} rename it or take it out",
  )


def _nearest(name: Any, names: Collection[str]) -> str:
  near = difflib.get_close_matches(str(name).lower(), names, n=1)
  return f" did you mean {show(near[0])}?" if near else ""


def listed(names: Collection[str]) -> str:
  """Names in quotes, with commas."""
  return ", ".join(map(show, names))


def show(value: Any) -> str:
  """A value as JSON, cut where it is long."""
  return show_text(json.dumps(value, ensure_ascii=False))


def show_text(text: str) -> str:
  """A text that can be printed in one line, cut where it is long."""
  text = text.encode("utf-8", "backslashreplace").decode()
  text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
  return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def kind_of(value: Any) -> str:
  """What JSON calls a value, and the value."""
  if value is None or isinstance(value, bool):
    return show(value)
  kinds = {dict: "the object", list: "the list", str: "the text"}
  return f"{kinds.get(type(value), 'the number')} {show(value)}"
