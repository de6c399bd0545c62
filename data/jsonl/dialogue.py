"""The turns of a conversation: roles, and where its pictures stand."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from data.building.drops import Drop
from data.jsonl import values
from data.jsonl.grounding import Phrase
from data.jsonl.values import Fault

ROLES = ("system", "user", "assistant")
# Where a picture stands in a message.
IMAGE_TAG = "<image>"


class Message(NamedTuple):
  """A turn of a conversation."""

  role: str
  text: str
  phrases: tuple[Phrase, ...] = ()


def turn_of(value: Any, field: str) -> tuple[str, str, dict[str, Any]]:
  """Role, text and all fields of a message.

  Raises Fault: BAD_VALUE, UNKNOWN_FIELD, MISSING_FIELD.
  """
  fields = values.object_at(value, field, ("role", "content", "phrases"))
  for name in ("role", "content"):
    if name not in fields:
      raise Fault(
        Drop.MISSING_FIELD,
        field,
        f"expected {values.show(name)} in every message, found"
        f" {values.listed(fields) or 'an empty object'}; add it",
      )
  role = values.choice_at(fields["role"], f"{field}.role", ROLES)
  return role, values.text_at(fields["content"], f"{field}.content"), fields


def check_roles(roles: Sequence[str]) -> None:
  """Raises Fault: BAD_VALUE, unless user and assistant take turns."""
  first = 1 if roles[0] == "system" else 0
  turns = roles[first:]
  wanted = ["user", "assistant"] * (len(turns) // 2)
  if not turns or list(turns) != wanted:
    raise Fault(
      Drop.BAD_VALUE,
      "messages",
      'expected "user" and "assistant" in turns, the last "assistant", after'
      f' one "system" at most, found {values.listed(roles)}; the assistant\'s'
      " answers are what is learnt",
    )


def place_pictures(
  turns: Sequence[tuple[str, str, Any]], texts: list[str], num_images: int
) -> dict[int, int]:
  """Checks where pictures stand; puts them in front where no message says.

  Returns:
    By how many characters the text of a message was moved.

  Raises Fault: BAD_VALUE.
  """
  tags = sum(text.count(IMAGE_TAG) for text in texts)
  elsewhere = [
    i
    for i, (role, text, _) in enumerate(turns)
    if role != "user" and IMAGE_TAG in text
  ]
  if elsewhere:
    raise Fault(
      Drop.BAD_VALUE,
      f"messages[{elsewhere[0]}].content",
      f'expected "{IMAGE_TAG}" in messages of the user alone, found it in one'
      f" of the {turns[elsewhere[0]][0]}; move it",
    )
  if tags == num_images:
    return {}
  if tags:
    raise Fault(
      Drop.BAD_VALUE,
      "messages",
      f'expected "{IMAGE_TAG}" as often as there are pictures, {num_images},'
      f" found it {tags} times; add or take out some, or all (then the pictures"
      " stand before the first message of the user)",
    )
  first = next((i for i, turn in enumerate(turns) if turn[0] == "user"), None)
  if first is None:
    return {}  # Which is a fault of the roles.
  texts[first] = IMAGE_TAG * num_images + texts[first]
  return {first: len(IMAGE_TAG) * num_images}
