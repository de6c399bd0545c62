"""The layout of ids, against the released model's."""

import pytest

from kosmos2_jax.text import vocab as vocab_lib
from kosmos2_jax.text.vocab import Vocab

RELEASED = Vocab(num_pieces=63997)


def test_released_ids():
  assert [
    RELEASED.bos_id,
    RELEASED.pad_id,
    RELEASED.eos_id,
    RELEASED.unk_id,
    RELEASED.first_piece_id,
  ] == [0, 1, 2, 3, 4]
  assert {
    "<mask>": RELEASED.mask_id,
    "</doc>": RELEASED.doc_id,
    "<image>": RELEASED.image_id,
    "</image>": RELEASED.image_end_id,
    "</chunk>": RELEASED.chunk_id,
    "</line>": RELEASED.line_id,
    "<phrase>": RELEASED.phrase_id,
    "</phrase>": RELEASED.phrase_end_id,
    "<object>": RELEASED.object_id,
    "</object>": RELEASED.object_end_id,
    "</delimiter_of_multi_objects/>": RELEASED.delimiter_id,
    "<grounding>": RELEASED.grounding_id,
  } == dict(zip(vocab_lib.AFTER_PIECES, range(64001, 64013), strict=True))
  assert RELEASED.first_location_id == 64013
  assert RELEASED.size == 65037


def test_special_tokens_name_every_id_behind_the_pieces():
  special = RELEASED.special_tokens
  assert list(special.values()) == list(range(64001, 65037))
  assert special["<grounding>"] == 64012
  assert special["<patch_index_0000>"] == 64013
  assert special["<patch_index_1004>"] == 65017
  assert special["<patch_index_1023>"] == 65036
  assert RELEASED.special_texts[64007 - 64001] == "<phrase>"
  # Written in a prompt, these are ordinary characters.
  assert not {"<s>", "<pad>", "</s>", "<unk>"} & set(special)


def test_locations_go_to_ids_and_back():
  assert RELEASED.location_id(0) == 64013
  assert RELEASED.location_id(1023) == 65036
  assert [RELEASED.bin_of(i) for i in (64013, 65036)] == [0, 1023]
  assert [RELEASED.is_location(i) for i in (64012, 64013, 65036, 65037)] == [
    False,
    True,
    True,
    False,
  ]
  assert [RELEASED.is_special(i) for i in (64000, 64001, 65036, 65037)] == [
    False,
    True,
    True,
    False,
  ]


def test_large_grids_have_longer_names():
  assert vocab_lib.location_text(7) == "<patch_index_0007>"
  special = Vocab(num_pieces=1, num_bins=101).special_tokens
  assert list(special)[-1] == "<patch_index_10200>"


@pytest.mark.parametrize("location_bin", [-1, 1024])
def test_a_bin_outside_the_grid_is_an_error(location_bin):
  with pytest.raises(ValueError, match=r"outside the grid of 32 x 32.*1023"):
    RELEASED.location_id(location_bin)


@pytest.mark.parametrize("token_id", [5, 64012, 65037])
def test_an_id_that_is_no_location_is_an_error(token_id):
  with pytest.raises(ValueError, match=rf"{token_id} is no location token"):
    RELEASED.bin_of(token_id)


@pytest.mark.parametrize(("num_pieces", "num_bins"), [(0, 32), (10, 0)])
def test_an_empty_vocabulary_is_an_error(num_pieces, num_bins):
  with pytest.raises(ValueError, match="at least one piece and one bin"):
    Vocab(num_pieces, num_bins)
