"""Ops that write documents in which pictures and words take turns.

`parts` are in the order of the document; a picture is a number in `images`:

    {"text": "A page.", "image": -1}, {"text": "", "image": 0}
"""

from collections.abc import Sequence

from kosmos2_jax.input import documents, packing, text_ops
from kosmos2_jax.input.text_ops import Context, Example, Op
from kosmos2_jax.text import sentences

# Sentences that are kept before the first picture and behind the last.
NUM_SENTENCES = 3


def write_interleaved(
  *, max_pictures: int, keep_single_image_probability: float
) -> Op:
  """Adds `document`: pictures and words in their order, and `</s>`.

  Before the first picture only the last three sentences are kept, behind the
  last only the first three; `sentences` says what a sentence is. Pictures
  beyond `max_pictures` are left out with all that follows them, so that the
  words up to there are those behind the last one. The loss counts words, as
  `</image>` predicts them, and `</s>`.

  A document that is too long is cut where it is, without `</s>`; a picture is
  left out where no word would have room behind it.

  The original keeps documents of one picture with a probability of 0.5. A row
  has to hold something: here the others are text alone, all their sentences.

  Args:
    max_pictures: how many a document keeps.
    keep_single_image_probability: of reading a document's only picture.
  """
  if max_pictures < 1:
    raise ValueError(f"max_pictures is 1 or more, found {max_pictures}")
  if not 0 <= keep_single_image_probability <= 1:
    raise ValueError(
      "keep_single_image_probability is 0..1, found"
      f" {keep_single_image_probability}"
    )

  def op(example: Example, context: Context) -> Example:
    name = "write_interleaved"
    given, images, rng = text_ops.get(name, example, "parts", "images", "rng")
    parts, reasons = _joined(given), list(example["reasons"])
    count = sum(isinstance(part, int) for part in parts)
    if count == 1 and rng.random() >= keep_single_image_probability:
      reasons.append("single_picture")
      parts = [part for part in parts if isinstance(part, str)]
      count = 0
    if count > max_pictures:
      reasons += ["picture_left_out"] * (count - max_pictures)
      parts = _up_to_picture(parts, max_pictures)
    if count and (shorter := _near_pictures(parts)) != parts:
      reasons.append("sentence_left_out")
      parts = shorter
    writer, num_written = _written(parts, images, context)
    if num_written == len(parts):
      writer.text([context.tokenizer.vocab.eos_id])
      if not any(isinstance(part, str) for part in parts):
        reasons.append("no_text")
    else:
      left = [part for part in parts[num_written:] if isinstance(part, int)]
      reasons += ["text_cut", *["picture_left_out"] * len(left)]
    return text_ops.put(
      name, {**example, "reasons": reasons}, document=writer.document()
    )

  return op


def _written(
  parts: Sequence[str | int], images: Sequence[bytes], context: Context
) -> tuple[documents.Writer, int]:
  """The parts there is room for, and how many were written wholly."""
  writer = context.writer()
  for number, part in enumerate(parts):
    # One place stays free for what follows: `</s>`, or a word.
    room = context.max_ids - 1 - writer.num_ids
    if isinstance(part, int):
      if context.picture_length > room:
        return writer, number
      writer.picture(images[part])
      continue
    # Not `encode`: that would obey a tag that the text holds by accident.
    ids, _ = context.tokenizer.encode_with_offsets(part)
    if len(ids) > room:
      vocab = context.tokenizer.vocab
      writer.text(packing.fit(ids, room + 1, vocab)[0])
      return writer, number
    writer.text(ids)
  return writer, len(parts)


def _joined(parts: Sequence[dict]) -> list[str | int]:
  """Words and numbers of pictures, words never beside words nor blank.

  Parts of words are lines of one text, so that sentences end with them.
  """
  result: list[str | int] = []
  for part in parts:
    if part["image"] >= 0:
      result.append(part["image"])
    elif words := part["text"].strip():
      if result and isinstance(result[-1], str):
        words = f"{result.pop()}\n{words}"
      result.append(words)
  return result


def _up_to_picture(
  parts: Sequence[str | int], max_pictures: int
) -> list[str | int]:
  """The parts before the picture that is one too many."""
  pictures = [i for i, part in enumerate(parts) if isinstance(part, int)]
  return list(parts[: pictures[max_pictures]])


def _near_pictures(parts: Sequence[str | int]) -> list[str | int]:
  """Parts whose first and last words are the sentences beside a picture."""
  result = list(parts)
  if isinstance(result[0], str):
    result[0] = sentences.last(result[0], NUM_SENTENCES)
  if isinstance(result[-1], str):
    result[-1] = sentences.first(result[-1], NUM_SENTENCES)
  return result
