"""Rows: texts of any length, and several of them, in arrays of one length."""

import math
from collections.abc import Sequence

import numpy as np

from kosmos2_jax.input.documents import Document
from kosmos2_jax.text.vocab import Vocab

Row = dict[str, np.ndarray]

ROW_DTYPES = {
  "tokens": np.int32,
  "targets": np.int32,
  "loss_mask": np.bool_,
  "image_mask": np.bool_,
  "segment_ids": np.int32,
  "positions": np.int32,
  "kinds": np.int32,
}

_FULL = np.iinfo(np.int64).max
# What of its rows' tokens `pack` can be expected to fill with captions.
_FILLED = 0.985


def make_row(document: Document, kind: int = 1) -> Row:
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

  Args:
    document: the example.
    kind: number of its data kind.

  Returns:
    1-D arrays of one length: the last five keys, `segment_ids` (1), `kinds`.
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
    "kinds": np.full(length, kind, np.int32),
  }


def join_rows(rows: Sequence[Row]) -> Row:
  """Rows of one document each behind each other, as segments 1, 2, …

  Targets were shifted inside of each document, so the last token of one never
  predicts the first of the next. No rows make a row without tokens.
  """
  numbered = [
    {**row, "segment_ids": np.full_like(row["segment_ids"], i)}
    for i, row in enumerate(rows, 1)
  ]
  return {
    key: np.concatenate(
      [np.zeros(0, dtype), *(row[key] for row in numbered)], dtype=dtype
    )
    for key, dtype in ROW_DTYPES.items()
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


def pack(
  lengths: Sequence[int],
  pictures: Sequence[int],
  num_rows: int,
  capacity: int,
  max_pictures: int,
) -> list[list[int]]:
  """Puts documents into rows that have room for tokens and for pictures.

  Decreasing best fit: longest first, each into the row it fits best. Two ways
  of fitting are tried. Least room left over fills rows closest, but rows of
  short documents then run out of pictures; leaving as large a part of the
  tokens as of the pictures avoids that.

  Where not all find a place the last are left out, as many as it takes, so
  that chance decides and no length is preferred.

  Args:
    lengths: tokens of every document, none above `capacity`.
    pictures: pictures of every document, none above `max_pictures`.
    num_rows: how many rows there are.
    capacity: tokens a row has room for.
    max_pictures: pictures a row has room for.

  Returns:
    For each row the documents in it, in ascending order.

  Raises:
    ValueError: a document is too large for a row of its own.
  """
  sizes = np.array([lengths, pictures], np.int64).reshape(2, -1)
  limits = np.array([capacity, max_pictures], np.int64)
  if (sizes > limits[:, None]).any():
    raise ValueError(
      f"a row has room for {capacity} tokens and {max_pictures} pictures; "
      f"found documents of up to {sizes[0].max()} and {sizes[1].max()}"
    )
  totals = sizes.cumsum(axis=1)
  count = int((totals <= num_rows * limits[:, None]).all(axis=0).sum())
  while True:
    found = [
      _place(sizes[:, :count], num_rows, limits, even) for even in (True, False)
    ]
    rows, num_left = min(found, key=lambda result: result[1])
    if not num_left:
      return rows
    # Those left over are the shortest: fewer than these need to go.
    count -= (num_left + 1) // 2


def rows_needed(
  mean: float, spread: float, capacity: int, num_groups: int = 1
) -> int:
  """Rows that hold a step's examples in all but a few steps of a hundred.

  Args:
    mean: tokens of a step.
    spread: their standard deviation.
    capacity: tokens a row has room for.
    num_groups: groups that are packed by themselves; each has fewer examples,
      and so relatively larger a spread.

  Returns:
    A multiple of `num_groups`.
  """
  tokens = mean / num_groups + 2 * spread / math.sqrt(num_groups)
  return num_groups * max(1, math.ceil(tokens / (_FILLED * capacity)))


def _place(
  sizes: np.ndarray, num_rows: int, limits: np.ndarray, even: bool
) -> tuple[list[list[int]], int]:
  """Rows of documents, and how many found no place.

  `even` prefers the row where the parts of tokens and of pictures that are
  left come closest to each other; else the one where fewest tokens are left.
  """
  capacity, max_pictures = limits.tolist()
  lengths, pictures = sizes.tolist()
  weights = np.maximum(sizes[0] * max(max_pictures, 1), sizes[1] * capacity)
  order = np.lexsort((-sizes[0], -weights)).tolist()
  room = np.full(num_rows, capacity, np.int64)
  places = np.full(num_rows, max_pictures, np.int64)
  # Whole numbers: the parts times capacity times max_pictures.
  uneven = room * max_pictures - places * capacity
  rows, num_left = [[] for _ in range(num_rows)], 0
  for i in order:
    length, count = lengths[i], pictures[i]
    change = length * max_pictures - count * capacity
    score = np.abs(uneven - change) if even else room.copy()
    score[(room < length) | (places < count)] = _FULL
    row = int(score.argmin())
    if score[row] == _FULL:
      num_left += 1
      continue
    rows[row].append(i)
    room[row] -= length
    places[row] -= count
    uneven[row] -= change
  return [sorted(row) for row in rows], num_left
