"""Rows: shifting, padding, cutting."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from kosmos2_jax.input import documents, packing
from kosmos2_jax.text.vocab import Vocab

VOCAB = Vocab(num_pieces=50, num_bins=4)


def document(text, predicted=True):
  writer = documents.Writer(VOCAB, 2)
  writer.text(text, predicted)
  return writer.document()


def test_row_as_drawn_in_its_docstring():
  image, end = VOCAB.image_id, VOCAB.image_end_id
  writer = documents.Writer(VOCAB, 2)
  writer.picture(b"picture")
  writer.text([10, 11, VOCAB.eos_id])
  row = packing.make_row(writer.document(), kind=3)
  expected = {
    "tokens": [VOCAB.bos_id, image, image, image, end, 10, 11],
    "targets": [image, image, image, end, 10, 11, VOCAB.eos_id],
    "loss_mask": [0, 0, 0, 0, 1, 1, 1],
    "image_mask": [0, 0, 1, 1, 0, 0, 0],
    "segment_ids": [1] * 7,
    "positions": range(7),
    "kinds": [3] * 7,
  }
  assert list(row) == list(expected)
  for key, values in expected.items():
    np.testing.assert_array_equal(row[key], list(values), err_msg=key)


def test_text_mask_marks_targets():
  row = packing.make_row(document([5, 10, 11, 2], [False, False, True, False]))
  predicted = row["targets"][row["loss_mask"]]
  np.testing.assert_array_equal(predicted, [11])


def test_padding():
  rows = [
    packing.make_row(document(text)) for text in ([10, 2], [10, 11, 12, 2])
  ]
  padded = packing.pad_rows(rows, 5, VOCAB.pad_id)
  pad = VOCAB.pad_id
  np.testing.assert_array_equal(
    padded["tokens"], [[0, 10, pad, pad, pad], [0, 10, 11, 12, pad]]
  )
  np.testing.assert_array_equal(
    padded["targets"], [[10, 2, pad, pad, pad], [10, 11, 12, 2, pad]]
  )
  np.testing.assert_array_equal(
    padded["segment_ids"], [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]]
  )
  np.testing.assert_array_equal(
    padded["positions"], [[0, 1, 0, 0, 0], [0, 1, 2, 3, 0]]
  )
  assert not padded["loss_mask"][:, 4].any()
  assert padded["loss_mask"].dtype == bool
  assert padded["tokens"].dtype == np.int32


def tagged(*words, boxes=1):
  pair = [VOCAB.location_id(0), VOCAB.location_id(5)]
  places = pair + (boxes - 1) * [VOCAB.delimiter_id, *pair]
  phrase = [VOCAB.phrase_id, *words, VOCAB.phrase_end_id]
  return [*phrase, VOCAB.object_id, *places, VOCAB.object_end_id]


def test_a_text_that_fits_ends_with_eos():
  ids = [VOCAB.grounding_id, *tagged(10), 11]
  length = len(ids) + 1
  assert packing.fit(ids, length, VOCAB) == ([*ids, VOCAB.eos_id], False)
  assert packing.fit(ids, length - 1, VOCAB) == (ids, True)


def test_cuts_never_open_a_phrase():
  first, second = tagged(10, boxes=2), tagged(11, *tagged(12), 13)
  ids = [VOCAB.grounding_id, *first, 14, 15, *second, 16, 17, 18]
  borders = {1, 1 + len(first), 2 + len(first), 3 + len(first)}
  borders |= {3 + len(first + second) + n for n in range(4)}
  for length in range(1, len(ids)):
    cut, was_cut = packing.fit(ids, length, VOCAB)
    assert was_cut
    expected = max(border for border in borders if border <= length)
    assert cut == ids[:expected]


def test_plain_text_is_cut_anywhere():
  ids = list(range(10, 30))
  assert packing.fit(ids, 7, VOCAB) == (ids[:7], True)


def test_documents_in_a_row_are_segments():
  first, second = document([10, 11, 2]), document([12, 2])
  row = packing.join_rows(
    [packing.make_row(first, kind=2), packing.make_row(second)]
  )
  expected = {
    "tokens": [VOCAB.bos_id, 10, 11, VOCAB.bos_id, 12],
    "targets": [10, 11, 2, 12, 2],
    "loss_mask": [1] * 5,
    "image_mask": [0] * 5,
    "segment_ids": [1, 1, 1, 2, 2],
    "positions": [0, 1, 2, 0, 1],
    "kinds": [2, 2, 2, 1, 1],
  }
  assert list(row) == list(expected)
  for key, values in expected.items():
    np.testing.assert_array_equal(row[key], values, err_msg=key)
    assert row[key].dtype == packing.ROW_DTYPES[key]


def test_a_row_without_documents_is_padding():
  rows = [packing.join_rows([]), packing.make_row(document([10, 2]))]
  padded = packing.pad_rows(rows, 3, VOCAB.pad_id)
  np.testing.assert_array_equal(padded["tokens"][0], [VOCAB.pad_id] * 3)
  for key in ("loss_mask", "image_mask", "segment_ids", "positions", "kinds"):
    assert not padded[key][0].any()
    assert padded[key].dtype == packing.ROW_DTYPES[key]


SIZES = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 4)), max_size=60)


@given(SIZES, st.integers(1, 8), st.integers(50, 120), st.integers(4, 9))
def test_packed_rows_hold_what_they_can(sizes, num_rows, capacity, pictures):
  lengths = [length for length, _ in sizes]
  counts = [count for _, count in sizes]
  rows = packing.pack(lengths, counts, num_rows, capacity, pictures)
  assert len(rows) == num_rows
  placed = sorted(i for row in rows for i in row)
  # Each once at most, and those without a place are the last.
  assert placed == list(range(len(placed)))
  for row in rows:
    assert row == sorted(row)
    assert sum(lengths[i] for i in row) <= capacity
    assert sum(counts[i] for i in row) <= pictures
  assert rows == packing.pack(lengths, counts, num_rows, capacity, pictures)
  if len(placed) < len(sizes):
    # Nobody is sent away while a row is empty.
    assert all(rows)


def test_who_is_left_out_does_not_depend_on_length():
  rows = packing.pack([5, 9, 1, 10, 1], [0] * 5, 1, 16, 1)
  # 10 would fit beside 5 and 1, and so would the last 1: but they are later.
  assert rows == [[0, 1, 2]]


def test_only_as_many_are_left_out_as_it_takes():
  # All would be 18 of 20 tokens, but two never share a row.
  assert packing.pack([6, 6, 6], [0] * 3, 2, 10, 1) == [[0], [1]]
  assert packing.pack([6] * 7, [0] * 7, 4, 10, 1) == [[0], [1], [2], [3]]
  # Two short ones find no place; without the last long one they do.
  rows = packing.pack([10, 3, 3, 10, 10], [0, 0, 0, 1, 0], 3, 12, 4)
  assert rows == [[0], [3], [1, 2]]


def test_long_ones_first_and_pictures_beside_tokens():
  rows = packing.pack([8, 2, 4, 10], [2, 2, 2, 2], 2, 12, 4)
  assert rows == [[1, 3], [0, 2]]
  rows = packing.pack([1, 7, 5, 1, 7], [1, 2, 1, 2, 0], 2, 12, 4)
  assert rows == [[1, 2], [0, 3, 4]]


@pytest.mark.parametrize(
  ("lengths", "counts"), [([11], [0]), ([10], [3]), ([3, 12], [0, 0])]
)
def test_documents_larger_than_a_row_are_refused(lengths, counts):
  with pytest.raises(ValueError, match="room for 10 tokens and 2 pictures; fo"):
    packing.pack(lengths, counts, 4, 10, 2)


def caption_lengths(count, seed):
  """Tokens of grounded captions with 64 latents, as those of GrIT spread."""
  rng = np.random.default_rng(seed)
  words = np.clip(np.round(rng.lognormal(np.log(20), 0.6, count)), 5, 60)
  return (67 + words.astype(int)).tolist()


@pytest.mark.parametrize(("num_rows", "pictures"), [(8, 24), (8, 30), (48, 23)])
def test_captions_fill_their_rows(num_rows, pictures):
  for seed in range(5):
    lengths = caption_lengths(25 * num_rows, seed)
    rows = packing.pack(lengths, [1] * len(lengths), num_rows, 2048, pictures)
    filled = sum(lengths[i] for row in rows for i in row)
    assert filled >= 0.97 * num_rows * 2048


def test_texts_and_captions_share_rows():
  """Long texts without pictures leave no row of captions half empty."""
  lengths, pictures = [], []
  for i, length in enumerate(caption_lengths(300, 0)):
    lengths.append(length if i % 10 else 2048 - length)
    pictures.append(int(i % 10 > 0))
  num_rows = -(-sum(lengths) * 100 // (2048 * 97))
  rows = packing.pack(lengths, pictures, num_rows, 2048, 24)
  assert sorted(i for row in rows for i in row) == list(range(300))
