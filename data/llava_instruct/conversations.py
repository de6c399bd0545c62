r"""Reads LLaVA's instruction files: conversations about a picture.

A list (or lines) of

  {"id": "000000033471", "image": "000000033471.jpg", "conversations": [
    {"from": "human", "value": "<image>\nWhat is on the bus?"},
    {"from": "gpt", "value": "An advertisement."}]}
"""

import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from data.building import json_files, messages
from data.building.drops import Drop, Dropped, DropReport

ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
# LLaVA sets the picture off from the words by line breaks.
_TAG_ON_ITS_LINE = re.compile(r"\n*<image>\n*")

# The bytes of a picture by its name and the place it is named at, ready to
# store; raises Dropped.
Load = Callable[[str, str], bytes]
Example = tuple[str, dict[str, Any]]


def read_conversations(
  path: pathlib.Path, report: DropReport, load: Load
) -> Iterator[Example]:
  """Yields id and features of every good conversation of a file.

  Args:
    path: JSON or JSON Lines.
    report: is told of everything; complete when the iterator is exhausted.
    load: gives the pictures.
  """
  for where, fields in json_files.read_objects(path, report):
    report.records_read += 1
    try:
      example = read_conversation(fields, where, load)
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    yield example


def read_conversation(fields: Any, where: str, load: Load) -> Example:
  """Id and features of one conversation.

  LLaVA numbers conversations by their picture, and many are about the same:
  the id is the given one and a hash of what is said.

  Raises Dropped: BAD_JSON, BAD_ID, BAD_ROLES, BAD_TEXT, EMPTY_TEXT,
    IMAGE_COUNT, and what `load` raises.
  """
  if not isinstance(fields, dict):
    raise Dropped(Drop.BAD_JSON)
  names = _picture_names(fields.get("image"))
  said = _messages(fields.get("conversations"))
  messages.check_messages(said, len(names))
  given = _id(fields.get("id"))
  content = messages.content_id(
    [*names, *(text for m in said for text in (m["role"], m["text"]))]
  )
  record_id = f"{given}-{content}" if given else content
  return record_id, {
    "id": record_id,
    "images": [load(name, where) for name in names],
    "messages": said,
  }


def _picture_names(value: Any) -> list[str]:
  """One name, several or none. Raises Dropped: BAD_TEXT, EMPTY_TEXT."""
  if value is None:
    return []
  names = value if isinstance(value, list) else [value]
  return [messages.check_words(name) for name in names]


def _messages(value: Any) -> list[messages.Message]:
  """Raises Dropped: BAD_ROLES, BAD_TEXT."""
  if not isinstance(value, list):
    raise Dropped(Drop.BAD_ROLES)
  said = []
  for turn in value:
    speaker = turn.get("from") if isinstance(turn, dict) else None
    if not isinstance(speaker, str) or speaker not in ROLES:
      raise Dropped(Drop.BAD_ROLES)
    text = messages.check_text(turn.get("value"))
    text = _TAG_ON_ITS_LINE.sub(messages.IMAGE_TAG, text)
    said.append({"role": ROLES[speaker], "text": text})
  return said


def _id(value: Any) -> str:
  """The given id as text, "" for none. Raises Dropped: BAD_ID."""
  if value is None:
    return ""
  if isinstance(value, bool) or not isinstance(value, int | str):
    raise Dropped(Drop.BAD_ID)
  try:
    return messages.check_text(str(value))
  except (Dropped, ValueError):  # Thousands of digits.
    raise Dropped(Drop.BAD_ID) from None
