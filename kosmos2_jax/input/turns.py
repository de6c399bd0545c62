"""Turns of a dialogue: those that a row has room for."""

from collections.abc import Sequence

from kosmos2_jax.input import documents, packing, text_ops
from kosmos2_jax.input.text_ops import Context, Example
from kosmos2_jax.text.dialogue import Piece


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
