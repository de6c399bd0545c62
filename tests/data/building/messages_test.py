"""Roles, words and tags of conversations; ids of their content."""

import pytest

from data.building import messages
from data.building.drops import Drop, Dropped


def said(*turns):
  """Messages from "role: text"."""
  pairs = (turn.split(":", 1) for turn in turns)
  return [{"role": role, "text": text} for role, text in pairs]


@pytest.mark.parametrize(
  ("turns", "num_images"),
  [
    (("user:a", "assistant:b"), 0),
    (("system:s", "user:a", "assistant:b"), 0),
    (("user:<image>", "assistant:b", "user:c<image>", "assistant:d"), 2),
  ],
)
def test_good(turns, num_images):
  messages.check_messages(said(*turns), num_images)


@pytest.mark.parametrize(
  ("turns", "num_images", "reason"),
  [
    ((), 0, Drop.BAD_ROLES),
    (("system:s",), 0, Drop.BAD_ROLES),
    (("user:a",), 0, Drop.BAD_ROLES),
    (("assistant:b", "user:a"), 0, Drop.BAD_ROLES),
    (("user:a", "user:a", "assistant:b"), 0, Drop.BAD_ROLES),
    (("user:a", "assistant:b", "user:c"), 0, Drop.BAD_ROLES),
    (("user:a", "assistant:b", "system:s"), 0, Drop.BAD_ROLES),
    (("user:", "assistant:b"), 0, Drop.EMPTY_TEXT),
    (("system:", "user:a", "assistant:b"), 0, Drop.EMPTY_TEXT),
    (("user:a", "assistant:"), 0, Drop.EMPTY_TEXT),
    (("user:a", "assistant:b"), 1, Drop.IMAGE_COUNT),
    (("user:<image>", "assistant:b"), 0, Drop.IMAGE_COUNT),
    (("user:a", "assistant:<image>"), 1, Drop.IMAGE_COUNT),
    (("user:<image>", "assistant:<image>"), 1, Drop.IMAGE_COUNT),
    (("system:<image>", "user:a", "assistant:b"), 1, Drop.IMAGE_COUNT),
  ],
)
def test_bad(turns, num_images, reason):
  with pytest.raises(Dropped) as dropped:
    messages.check_messages(said(*turns), num_images)
  assert dropped.value.reason is reason


def test_texts():
  assert messages.check_words(" a\n") == "a"
  assert messages.check_text(" \n") == ""
  for value, reason in (
    (None, Drop.BAD_TEXT),
    (1, Drop.BAD_TEXT),
    ("\ud83d", Drop.BAD_TEXT),
    (" ", Drop.EMPTY_TEXT),
  ):
    with pytest.raises(Dropped) as dropped:
      messages.check_words(value)
    assert dropped.value.reason is reason


def test_content_id():
  texts = [["a", "b"], ["ab"], ["a", "b", ""], ["b", "a"], []]
  ids = [messages.content_id(text) for text in texts]
  assert len(set(ids)) == len(texts)
  assert messages.content_id(["a", "b"]) == ids[0]
  assert all(len(i) == 16 for i in ids)
