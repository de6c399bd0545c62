"""Writing documents."""

import pytest

from kosmos2_jax.input import documents
from kosmos2_jax.text.vocab import Vocab

VOCAB = Vocab(num_pieces=50, num_bins=4)


def test_pictures_and_words_in_any_order():
  writer = documents.Writer(VOCAB, 2)
  writer.text([10, 11], [True, False])
  writer.picture(b"first")
  writer.picture(b"second")
  writer.text([12])
  writer.text([13, 14], predicted=False)
  document = writer.document()
  image, end = VOCAB.image_id, VOCAB.image_end_id
  picture = [image, image, image, end]
  assert document.ids == [VOCAB.bos_id, 10, 11, *picture, *picture, 12, 13, 14]
  slots = [False, True, True, False]
  assert document.slots == [False] * 3 + slots * 2 + [False] * 3
  assert (
    document.predicted == [False, True] + [False] * 9 + [True] + [False] * 2
  )
  assert document.pictures == [b"first", b"second"]
  assert writer.num_ids == len(document.ids) == document.num_tokens + 1


def test_marks_are_as_many_as_ids():
  writer = documents.Writer(VOCAB, 2)
  with pytest.raises(ValueError, match="2 ids need as many marks"):
    writer.text([10, 11], [True])
