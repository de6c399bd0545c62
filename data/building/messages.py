"""Texts and conversations as they come, checked."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from data.building.drops import Drop, Dropped

# Stands in a message's text where a picture is.
IMAGE_TAG = "<image>"

# Of "user", "assistant" or "system", and what was said.
Message = dict[str, str]


def check_text(value: Any) -> str:
  """A text that UTF-8 can hold, without the space around it; may be empty.

  Raises Dropped: BAD_TEXT.
  """
  if not isinstance(value, str):
    raise Dropped(Drop.BAD_TEXT)
  try:
    value.encode()
  except UnicodeEncodeError:  # Half of a surrogate pair.
    raise Dropped(Drop.BAD_TEXT) from None
  return value.strip()


def check_words(value: Any) -> str:
  """The same, with at least one character. Raises Dropped: also EMPTY_TEXT."""
  text = check_text(value)
  if not text:
    raise Dropped(Drop.EMPTY_TEXT)
  return text


def check_messages(messages: Sequence[Message], num_images: int) -> None:
  """Checks roles, words and picture tags of a conversation.

  After one "system" message or none, "user" and "assistant" take turns, the
  user first and the assistant last. Every message has words; a user's may be
  a picture alone.

  Args:
    messages: with texts that `check_text` gave.
    num_images: how many pictures the texts must hold tags for.

  Raises Dropped: BAD_ROLES, EMPTY_TEXT, IMAGE_COUNT.
  """
  turns = list(messages)
  if turns and turns[0]["role"] == "system":
    turns = turns[1:]
  wanted = ("user", "assistant") * (len(turns) // 2)
  if not turns or tuple(turn["role"] for turn in turns) != wanted:
    raise Dropped(Drop.BAD_ROLES)
  if not all(message["text"] for message in messages):
    raise Dropped(Drop.EMPTY_TEXT)
  asked = sum(turn["text"].count(IMAGE_TAG) for turn in turns[::2])
  tags = sum(message["text"].count(IMAGE_TAG) for message in messages)
  # Nobody answers with a picture.
  if asked != num_images or tags != asked:
    raise Dropped(Drop.IMAGE_COUNT)


def content_id(texts: Iterable[str]) -> str:
  """An id for what has none: 16 hexadecimal digits of its content."""
  digest = hashlib.blake2b(digest_size=8)
  for text in texts:
    data = text.encode()
    # With its length, so that no two lists of texts look the same.
    digest.update(len(data).to_bytes(8, "little") + data)
  return digest.hexdigest()
