"""Dialogues as tokens: the one format of training and of answering.

    <image>..</image> Question: What is it? Answer: a cat </s>
    Question: Where? Answer: on the mat </s>

A user's message is put as the evaluation prompt puts a question, behind the
pictures it begins with; an answer is closed with `</s>`. Texts are data: a tag
in one is spelled out, but "<image>" stands for the next picture.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from kosmos2_jax.text import markup, prompts, tagging
from kosmos2_jax.text import vocab as vocab_lib
from kosmos2_jax.text.tokenizer import Tokenizer

ROLES = ("user", "assistant", "system")
_IMAGE = re.compile(re.escape(vocab_lib.IMAGE))

# With "role", one of ROLES, and "text".
Message = dict[str, Any]


class Piece(NamedTuple):
  """A picture, or words between pictures.

  Attributes:
    picture: its number, or -1.
    ids: of the words.
    predicted: whether the loss counts them.
  """

  picture: int
  ids: Sequence[int] = ()
  predicted: bool = False


class Chunk(NamedTuple):
  """Characters `start` to `end` of a message, between pictures.

  Attributes:
    start: without white space.
    end: without white space.
    picture: number of the last picture before, or -1.
    phrases: boxes by span; spans count characters of the message.
  """

  start: int
  end: int
  picture: int
  phrases: dict[tuple[int, int], list[Any]]


def turns_of(messages: Sequence[Message], name: str) -> list[range]:
  """Numbers of the messages of each turn: questions, then answers.

  Raises:
    ValueError: a role is unknown; `name` says whose messages they are.
  """
  for k, message in enumerate(messages):
    if message["role"] not in ROLES:
      raise ValueError(
        f"message {k} of {name} has the role {message['role']!r};"
        f" expected one of {', '.join(ROLES)}"
      )
  starts = [
    k
    for k, message in enumerate(messages)
    if k == 0 or (message["role"] != "assistant" == messages[k - 1]["role"])
  ]
  ends = [*starts[1:], len(messages)]
  return (
    [range(*turn) for turn in zip(starts, ends, strict=True)] if starts else []
  )


def chunks_of(
  messages: Sequence[Message], num_images: int, name: str
) -> list[list[Chunk]]:
  """What each message is between its pictures; one more than pictures.

  Phrases are left empty, to be placed.

  Raises:
    ValueError: "<image>" stands more or less often than there are pictures.
  """
  result, picture = [], -1
  for message in messages:
    text, start, chunks = message["text"], 0, []
    for match in [*_IMAGE.finditer(text), None]:
      end = match.start() if match else len(text)
      words = text[start:end]
      first = start + len(words) - len(words.lstrip())
      chunks.append(Chunk(first, first + len(words.strip()), picture, {}))
      if match:
        start, picture = match.end(), picture + 1
    result.append(chunks)
  if picture + 1 != num_images:
    raise ValueError(
      f"the messages of {name} have {vocab_lib.IMAGE!r}"
      f" {picture + 1} times, but it has {num_images} pictures; each needs one"
    )
  return result


def holding(
  chunks: Sequence[Chunk], text: str, start: int, end: int
) -> tuple[Chunk, tuple[int, int]] | None:
  """The chunk that a span of a message's text lies in, and the span trimmed.

  None where the span is blank, or no chunk has all of it.
  """
  words = text[start:end] if 0 <= start < end <= len(text) else ""
  if not words.strip():
    return None
  start += len(words) - len(words.lstrip())
  end = start + len(words.strip())
  for chunk in chunks:
    if chunk.start <= start and end <= chunk.end:
      return chunk, (start, end)
  return None


def write(
  messages: Sequence[Message],
  chunks: Sequence[Sequence[Chunk]],
  tokenizer: Tokenizer,
  name: str,
  grounded: bool = False,
) -> tuple[list[list[Piece]], int]:
  """All turns as pictures and tokens, without `<s>`.

  Where a turn has boxes, `<grounding>` stands before its question. Messages of
  a user that follow each other are one question. A system's message is what it
  says. Line ends are spaces.

  Args:
    messages: see `Message`.
    chunks: of each; see `chunks_of`. Their boxes are those of the squares that
      the model sees.
    tokenizer: makes ids of words.
    name: whose messages they are, for errors.
    grounded: asks for boxes in the last turn's answer, whether it has boxes or
      not.

  Returns:
    The pieces of each turn, and how many phrases were left out because the
    tokenizer has no token for them.

  Raises:
    ValueError: see `turns_of`.
  """
  turns, left_out = [], 0
  ranges = turns_of(messages, name)
  for number, turn in enumerate(ranges):
    pieces = []
    asking = next((k for k in turn if messages[k]["role"] == "user"), turn[0])
    with_boxes = any(chunk.phrases for k in turn for chunk in chunks[k])
    with_boxes |= grounded and number == len(ranges) - 1
    for k in turn:
      role = messages[k]["role"]
      near = [messages[i]["role"] if i in turn else "" for i in (k - 1, k + 1)]
      more, bad = _pieces(
        messages[k]["text"],
        chunks[k],
        tokenizer,
        grounded=with_boxes and k == asking,
        before=prompts.QUESTION if role == "user" != near[0] else "",
        after=prompts.ANSWER if role == "user" != near[1] else "",
        is_answer=role == "assistant",
      )
      pieces += more
      left_out += bad
    turns.append(pieces)
  return turns, left_out


def _pieces(
  text: str,
  chunks: Sequence[Chunk],
  tokenizer: Tokenizer,
  *,
  grounded: bool,
  before: str,
  after: str,
  is_answer: bool,
) -> tuple[list[Piece], int]:
  """A message: its pictures and words, and how many phrases are left out.

  Args:
    text: of the message.
    chunks: its parts.
    tokenizer: makes ids of words.
    grounded: whether `<grounding>` comes before its words.
    before: goes before its words, but behind pictures at its beginning.
    after: goes behind its words.
    is_answer: whether it is predicted and closed with `</s>`.
  """
  vocab = tokenizer.vocab
  pieces, left_out = [], 0
  filled = [chunk.start < chunk.end for chunk in chunks]
  opening = filled.index(True) if any(filled) else len(chunks) - 1
  for j, chunk in enumerate(chunks):
    if j:
      pieces.append(Piece(chunk.picture))
    head = before if j == opening else ""
    tail = after if j == len(chunks) - 1 else ""
    shift = len(head) - chunk.start
    words = head + text[chunk.start : chunk.end] + tail
    phrases = []
    for (start, end), boxes in chunk.phrases.items():
      span = start + shift, end + shift
      phrases.append(
        markup.Phrase(
          words[slice(*span)], span, [markup.Box(box) for box in boxes]
        )
      )
    ids, bad = tagging.build_good(words, phrases, tokenizer, grounding=False)
    left_out += bad
    if grounded and j == opening:
      ids = [vocab.grounding_id, *ids]
    if is_answer and j == len(chunks) - 1:
      ids = [*ids, vocab.eos_id]
    if ids:
      pieces.append(Piece(-1, ids, is_answer))
  return pieces, left_out
