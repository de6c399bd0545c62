"""Ops that write dialogues, about pictures or without.

A user's message is put as the evaluation prompt puts a question, and the loss
counts what is answered. `messages` are in order:

    {"role": "user", "text": "<image> What is it?"}

"<image>" in a text stands for the next of the example's `images`; roles are
"user", "assistant" and "system". Boxes of phrases are in `message_phrases`:

    {"message": 0, "start": 8, "end": 12, "box_xyxy": (x1, y1, x2, y2)}

`start` and `end` count characters of that message's text. A box is one of the
picture of number `image`, where that is told; else of the last picture before
its phrase, and where there is none, of the first.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from kosmos2_jax.input import geometry, text_ops
from kosmos2_jax.input.text_ops import Context, Example, Op
from kosmos2_jax.input.turns import Piece, name_of, turns_of, write_turns
from kosmos2_jax.text import prompts
from kosmos2_jax.text import vocab as vocab_lib

_IMAGE = re.compile(re.escape(vocab_lib.IMAGE))


class _Chunk(NamedTuple):
  """Characters `start` to `end` of a message, between pictures.

  Attributes:
    start: without white space.
    end: without white space.
    picture: number of the last picture before, or -1.
    phrases: their spans count characters of the message.
  """

  start: int
  end: int
  picture: int
  phrases: dict[tuple[int, int], list[geometry.BoxXyxy]]


def write_dialogue() -> Op:
  """Adds `document`: all turns; the loss counts answers and their `</s>`.

  A user's message is `Question: ... Answer:`. Pictures at its beginning stand
  before that, as in evaluation; all others stay where they are. An answer is
  closed with `</s>`. A system's message is what it says. Where a turn has
  boxes, `<grounding>` stands before its question. Line ends are spaces.

  A turn begins where an answer was before. Turns without room are left out,
  from the end; when the first one has none, it is cut.

  Raises (the op):
    ValueError: a role is unknown, or "<image>" stands in the messages more or
      less often than there are pictures.
  """

  def op(example: Example, context: Context) -> Example:
    messages, images = text_ops.get(
      "write_dialogue", example, "messages", "images"
    )
    chunks = _chunks(example, messages, len(images))
    reasons = _place_phrases(example, messages, chunks, context)
    turns = []
    for turn in turns_of(example, messages):
      pieces = []
      asking = next((k for k in turn if messages[k]["role"] == "user"), turn[0])
      grounded = any(chunk.phrases for k in turn for chunk in chunks[k])
      for k in turn:
        # Messages of a user that follow each other are one question.
        role = messages[k]["role"]
        near = [
          messages[i]["role"] if i in turn else "" for i in (k - 1, k + 1)
        ]
        more, bad = _pieces(
          messages[k]["text"],
          chunks[k],
          context,
          grounded=grounded and k == asking,
          before=prompts.QUESTION if role == "user" != near[0] else "",
          after=prompts.ANSWER if role == "user" != near[1] else "",
          is_answer=role == "assistant",
        )
        pieces += more
        reasons += bad
      turns.append(pieces)
    example = {**example, "reasons": [*example["reasons"], *reasons]}
    return write_turns("write_dialogue", example, turns, context)

  return op


def write_instruction() -> Op:
  """Adds `document`: instructions and outputs, without pictures.

  Every line is closed with `</line>`, as lines of texts are, but the last one
  of an output with `</s>`. The loss counts outputs. What is too long is cut as
  `write_dialogue` does.

  Raises (the op):
    ValueError: a role is unknown, or the example has pictures.
  """

  def op(example: Example, context: Context) -> Example:
    (messages,) = text_ops.get("write_instruction", example, "messages")
    if example.get("images"):
      raise ValueError(
        f"op write_instruction writes text alone, but {name_of(example)} has"
        f" {len(example['images'])} pictures; use the recipe 'instruction'"
      )
    vocab = context.tokenizer.vocab
    turns = []
    for turn in turns_of(example, messages):
      turns.append([])
      for k in turn:
        ids = []
        for line in prompts.lines(messages[k]["text"]):
          ids += [
            *context.tokenizer.encode_with_offsets(line)[0],
            vocab.line_id,
          ]
        is_answer = messages[k]["role"] == "assistant"
        if is_answer:
          ids = [*ids[:-1], vocab.eos_id]
        turns[-1].append(Piece(-1, ids, is_answer))
    return write_turns("write_instruction", example, turns, context)

  return op


def _chunks(
  example: Example, messages: Sequence[dict], num_images: int
) -> list[list[_Chunk]]:
  """What each message is between its pictures; one more than pictures."""
  result, picture = [], -1
  for message in messages:
    text, start, chunks = message["text"], 0, []
    for match in [*_IMAGE.finditer(text), None]:
      end = match.start() if match else len(text)
      words = text[start:end]
      first = start + len(words) - len(words.lstrip())
      chunks.append(_Chunk(first, first + len(words.strip()), picture, {}))
      if match:
        start, picture = match.end(), picture + 1
    result.append(chunks)
  if picture + 1 != num_images:
    raise ValueError(
      f"the messages of {name_of(example)} have {vocab_lib.IMAGE!r}"
      f" {picture + 1} times, but it has {num_images} pictures; each needs one"
    )
  return result


def _place_phrases(
  example: Example,
  messages: Sequence[dict],
  chunks: list[list[_Chunk]],
  context: Context,
) -> list[str]:
  """Adds `message_phrases` to their chunks; returns why some are left out."""
  images, reasons, shapes = example["images"], [], {}
  for item in example.get("message_phrases", ()):
    k, start, end = item["message"], item["start"], item["end"]
    text = messages[k]["text"] if 0 <= k < len(messages) else ""
    words = text[start:end] if 0 <= start < end <= len(text) else ""
    start += len(words) - len(words.lstrip())
    end = start + len(words.strip())
    holding = [
      chunk
      for chunk in (chunks[k] if words.strip() and images else ())
      if chunk.start <= start and end <= chunk.end
    ]
    if not holding:
      reasons.append("bad_span")
      continue
    (chunk,) = holding
    picture = item.get("image", max(chunk.picture, 0))
    if picture not in shapes:
      shapes[picture] = geometry.image_shape(images[picture])
    box = text_ops.box_in_view(item["box_xyxy"], shapes[picture], context)
    if box is None:
      reasons.append(text_ops.why_no_box(item["box_xyxy"]))
    else:
      chunk.phrases.setdefault((start, end), []).append(box)
  return reasons


def _pieces(
  text: str,
  chunks: Sequence[_Chunk],
  context: Context,
  *,
  grounded: bool,
  before: str,
  after: str,
  is_answer: bool,
) -> tuple[list[Piece], list[str]]:
  """A message: its pictures and words, and why phrases are left out.

  Args:
    text: of the message.
    chunks: its parts.
    context: of the stream.
    grounded: whether `<grounding>` comes before its words.
    before: goes before its words, but behind pictures at its beginning.
    after: goes behind its words.
    is_answer: whether it is predicted and closed with `</s>`.
  """
  vocab = context.tokenizer.vocab
  pieces, reasons = [], []
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
      phrases.append(text_ops.phrase(words, span, boxes))
    ids, bad = text_ops.tagged_text(words, phrases, context, grounding=False)
    reasons += bad
    if grounded and j == opening:
      ids = [vocab.grounding_id, *ids]
    if is_answer and j == len(chunks) - 1:
      ids = [*ids, vocab.eos_id]
    if ids:
      pieces.append(Piece(-1, ids, is_answer))
  return pieces, reasons
