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

from collections.abc import Sequence

from kosmos2_jax.input import geometry, text_ops
from kosmos2_jax.input.text_ops import Context, Example, Op
from kosmos2_jax.input.turns import name_of, write_turns
from kosmos2_jax.text import dialogue, prompts
from kosmos2_jax.text.dialogue import Piece


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
    name = name_of(example)
    chunks = dialogue.chunks_of(messages, len(images), name)
    reasons = _place_phrases(example, messages, chunks, context)
    turns, left_out = dialogue.write(messages, chunks, context.tokenizer, name)
    reasons += ["bad_span"] * left_out
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
    for turn in dialogue.turns_of(messages, name_of(example)):
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


def _place_phrases(
  example: Example,
  messages: Sequence[dict],
  chunks: list[list[dialogue.Chunk]],
  context: Context,
) -> list[str]:
  """Adds `message_phrases` to their chunks; returns why some are left out."""
  images, reasons, shapes = example["images"], [], {}
  for item in example.get("message_phrases", ()):
    k, start, end = item["message"], item["start"], item["end"]
    found = None
    if images and 0 <= k < len(messages):
      found = dialogue.holding(chunks[k], messages[k]["text"], start, end)
    if found is None:
      reasons.append("bad_span")
      continue
    chunk, span = found
    picture = item.get("image", max(chunk.picture, 0))
    if picture not in shapes:
      shapes[picture] = geometry.image_shape(images[picture])
    box = text_ops.box_in_view(item["box_xyxy"], shapes[picture], context)
    if box is None:
      reasons.append(text_ops.why_no_box(item["box_xyxy"]))
    else:
      chunk.phrases.setdefault(span, []).append(box)
  return reasons
