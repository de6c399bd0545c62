"""Rows: shifting, padding, cutting."""

import numpy as np

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
  row = packing.make_row(writer.document())
  expected = {
    "tokens": [VOCAB.bos_id, image, image, image, end, 10, 11],
    "targets": [image, image, image, end, 10, 11, VOCAB.eos_id],
    "loss_mask": [0, 0, 0, 0, 1, 1, 1],
    "image_mask": [0, 0, 1, 1, 0, 0, 0],
    "segment_ids": [1] * 7,
    "positions": range(7),
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
