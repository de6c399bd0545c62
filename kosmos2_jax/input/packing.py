"""Rows: texts of any length made into arrays of one length."""

from collections.abc import Sequence

import numpy as np

from kosmos2_jax.input.documents import Document
from kosmos2_jax.text.vocab import Vocab

Row = dict[str, np.ndarray]


def make_row(document: Document) -> Row:
  """One document as a row: the only place where targets are shifted.

  With one picture, two latents, and a text of three ids, `</s>` included:

      ids          <s>     <image> slot slot     </image> An    image  </s>
      predicted    .       .       .    .        .        T     T      T
      tokens       <s>     <image> slot slot     </image> An    image
      targets      <image> slot    slot </image> An       image </s>
      loss_mask    .       .       .    .        T        T     T
      image_mask   .       .       T    T        .        .     .
      positions    0       1       2    3        4        5     6

  Slots hold the id of `<image>`; it is never a target that counts.

  Returns:
    1-D arrays of one length under the last five keys and `segment_ids` (1).
  """
  ids = np.array(document.ids, np.int32)
  length = document.num_tokens
  return {
    "tokens": ids[:-1],
    "targets": ids[1:],
    "loss_mask": np.array(document.predicted, bool)[1:],
    "image_mask": np.array(document.slots, bool)[:-1],
    "segment_ids": np.ones(length, np.int32),
    "positions": np.arange(length, dtype=np.int32),
  }


def pad_rows(rows: Sequence[Row], seq_len: int, pad_id: int) -> Row:
  """Rows below each other, filled up on the right.

  Padding is `pad_id` in tokens and targets, 0 and False elsewhere.

  Returns:
    The keys of a row, each [len(rows), seq_len].
  """
  result = {}
  for key, first in rows[0].items():
    fill = pad_id if key in ("tokens", "targets") else 0
    array = np.full((len(rows), seq_len), fill, first.dtype)
    for i, row in enumerate(rows):
      array[i, : len(row[key])] = row[key]
    result[key] = array
  return result


def fit(
  ids: Sequence[int], max_length: int, vocab: Vocab
) -> tuple[list[int], bool]:
  """Ends a text with `</s>`, or cuts it to `max_length` ids.

  A text that is too long is cut where no tag is open, so that no phrase loses
  a box; it does not end with `</s>`, because it does not end there. When its
  very first phrase is longer than `max_length`, nothing is left but
  `<grounding>`.

  Args:
    ids: the text without `</s>`.
    max_length: ids there is room for.
    vocab: says which ids are tags.

  Returns:
    The ids and whether they were cut.
  """
  if len(ids) + 1 <= max_length:
    return [*ids, vocab.eos_id], False
  object_id = vocab.object_id
  opening = (vocab.phrase_id, object_id)
  closing = (vocab.phrase_end_id, vocab.object_end_id)
  depth, border = 0, 0
  # A last id of no tag, so that the end of the text is a border as well.
  for i, token_id in enumerate([*ids, vocab.eos_id][: max_length + 1]):
    # Between `</phrase>` and its `<object>` nothing is open, and yet the
    # phrase would lose its boxes there.
    if depth == 0 and token_id != object_id:
      border = i
    depth += (token_id in opening) - (token_id in closing)
  return list(ids[:border]), True
