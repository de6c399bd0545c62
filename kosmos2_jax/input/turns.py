"""Turns of a dialogue: which messages they are, and those that have room."""

from collections.abc import Sequence
from typing import NamedTuple

from kosmos2_jax.input import documents, packing, text_ops
from kosmos2_jax.input.text_ops import Context, Example

ROLES = ("user", "assistant", "system")


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


def turns_of(example: Example, messages: Sequence[dict]) -> list[range]:
  """Numbers of the messages of each turn: questions, then answers."""
  for k, message in enumerate(messages):
    if message["role"] not in ROLES:
      raise ValueError(
        f"message {k} of {name_of(example)} has the role {message['role']!r};"
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


def write_turns(
  name: str, example: Example, turns: list[list[Piece]], context: Context
) -> Example:
  """Adds `document`: the turns there is room for, or a part of the first."""
  writer, vocab = context.writer(), context.tokenizer.vocab
  images, reasons = example.get("images", ()), list(example["reasons"])
  for number, pieces in enumerate(turns):
    room = context.max_ids - writer.num_ids
    if sum(_length(piece, context) for piece in pieces) > room:
      if number == 0:
        reasons.append("text_cut")
        _write_pieces(writer, pieces, images, context)
        number = 1
      reasons += ["turn_left_out"] * (len(turns) - number)
      break
    _write_pieces(writer, pieces, images, context)
  document = writer.document()
  if not any(document.predicted):
    reasons.append("no_target")
  if writer.num_ids == 1:
    writer.text([vocab.eos_id], False)
    document = writer.document()
  return text_ops.put(name, {**example, "reasons": reasons}, document=document)


def _write_pieces(
  writer: documents.Writer,
  pieces: Sequence[Piece],
  images: Sequence[bytes],
  context: Context,
) -> None:
  """Writes pieces up to the one that has no room; of words, a part of it."""
  for piece in pieces:
    room = context.max_ids - writer.num_ids
    fits = _length(piece, context) <= room
    if piece.picture < 0:
      ids = piece.ids
      if not fits:
        ids, _ = packing.fit(ids, room, context.tokenizer.vocab)
      writer.text(ids, piece.predicted)
    elif fits:
      writer.picture(images[piece.picture])
    if not fits:
      break


def _length(piece: Piece, context: Context) -> int:
  return len(piece.ids) if piece.picture < 0 else context.picture_length


def name_of(example: Example) -> str:
  """How errors call the example."""
  return f"example {example.get('id')!r}"
