"""Conversations as people write them, to the prompt that training writes."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from kosmos2_jax.generation.prompting import ImageLike
from kosmos2_jax.text import dialogue
from kosmos2_jax.text.grounded import GroundedText
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.text.vocab import IMAGE

_NAME = "the conversation"

# {"role": "user", "content": text, or a list of texts and pictures}
ChatMessage = Mapping[str, Any]


class ChatPrompt(NamedTuple):
  """What `Predictor.generate` takes of a conversation: ids, and pictures."""

  tokens: list[int]
  images: list[ImageLike]


class _Content(NamedTuple):
  """A message's text with "<image>" for its pictures, and its boxes."""

  text: str
  images: list[ImageLike]
  phrases: list[tuple[int, int, tuple[float, ...]]]


def prompt_of(
  messages: Sequence[ChatMessage], tokenizer: Tokenizer, grounded: bool
) -> ChatPrompt:
  """The prompt of a conversation whose last message is the user's.

  It is what `input.dialogue_ops.write_dialogue` writes of the same messages,
  by the same function, but for `<s>`.

  Args:
    messages: see `Predictor.chat`.
    tokenizer: text to ids.
    grounded: asks for boxes in the answer.

  Raises:
    ValueError: see `Predictor.chat`.
  """
  if not messages:
    raise ValueError("a conversation needs a message; got none.")
  said, images, places = [], [], []
  for k, message in enumerate(messages):
    role, content = _read(message, k)
    if role != "user" and content.images:
      raise ValueError(
        f"pictures are shown by the user; message {k} is of the {role}."
      )
    said.append({"role": role, "text": content.text})
    images += content.images
    places.append(content.phrases)
  if said[-1]["role"] != "user":
    raise ValueError(
      "the last message must be the user's, so that there is something to"
      f" answer; it is of the {said[-1]['role']}."
    )
  chunks = dialogue.chunks_of(said, len(images), _NAME)
  for message, parts, phrases in zip(said, chunks, places, strict=True):
    for start, end, box in phrases:
      # Boxes without words have no place in a text.
      if found := dialogue.holding(parts, message["text"], start, end):
        chunk, span = found
        chunk.phrases.setdefault(span, []).append(box)
  turns, _ = dialogue.write(said, chunks, tokenizer, _NAME, grounded)
  tokens = []
  for piece in (piece for turn in turns for piece in turn):
    is_picture = piece.picture >= 0
    tokens += [tokenizer.vocab.image_id] if is_picture else piece.ids
  return ChatPrompt(tokens, images)


def _read(message: ChatMessage, k: int) -> tuple[str, _Content]:
  if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
    raise ValueError(
      f'message {k} must be {{"role": ..., "content": ...}}; got {message!r}.'
    )
  role, content = message["role"], message["content"]
  if role not in dialogue.ROLES:
    raise ValueError(
      f"message {k} has the role {role!r}; expected one of"
      f" {', '.join(dialogue.ROLES)}."
    )
  parts = content if isinstance(content, list | tuple) else [content]
  text, images, phrases = "", [], []
  for part in parts:
    part = _part(part, k, alone=content is not parts)
    if not isinstance(part, str | GroundedText):
      text += IMAGE
      images.append(part)
      continue
    words = part if isinstance(part, str) else part.text
    if IMAGE in words:
      raise ValueError(
        f"the text of message {k} has {IMAGE!r}, which stands for a picture;"
        ' give the picture as a part of "content" instead.'
      )
    if text and not text.endswith(IMAGE) and not text[-1].isspace():
      text += " "
    if isinstance(part, GroundedText):
      phrases += [
        (len(text) + phrase.span[0], len(text) + phrase.span[1], box.xyxy)
        for phrase in part.phrases
        for box in phrase.boxes
      ]
    text += words
  return role, _Content(text, images, phrases)


def _part(part: Any, k: int, alone: bool) -> str | GroundedText | ImageLike:
  """A text or a picture: as it is, or as {"text": ...} or {"image": ...}."""
  kind, value = "", part
  if isinstance(part, Mapping):
    named = [name for name in ("text", "image") if name in part]
    if len(named) == 1 and set(part) <= {"type", *named}:
      [kind] = named
      value = part[kind]
  if kind == "image":
    # Else a file's name would be a text; `read_image` says what is no picture.
    return pathlib.Path(value) if isinstance(value, str) else value
  pictures = Image.Image | np.ndarray | os.PathLike
  if isinstance(value, str | GroundedText):
    return value
  if not alone and not kind and isinstance(value, pictures):
    return value
  raise ValueError(
    f"the content of message {k} must be a text, or a list of texts and"
    ' pictures, such as ["What is it?", {"image": "scene.png"}]; got'
    f" {type(part).__name__} {str(part)[:80]!r}."
  )
