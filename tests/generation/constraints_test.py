"""The grammar of boxes, checked token by token."""

import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.generation.constraints import BoxGrammar
from kosmos2_jax.text.vocab import Vocab

VOCAB = Vocab(num_pieces=5, num_bins=3)
P, P_, OBJ, END, D = (
  VOCAB.phrase_id,
  VOCAB.phrase_end_id,
  VOCAB.object_id,
  VOCAB.object_end_id,
  VOCAB.delimiter_id,
)
ALL = set(range(VOCAB.size))
LOCATIONS = {VOCAB.location_id(i) for i in range(9)}


def loc(row, column):
  return VOCAB.location_id(3 * row + column)


def allowed(*tokens, required=False):
  history = np.full((2, 9), VOCAB.pad_id)
  history[0, : len(tokens)] = tokens
  history[1, : len(tokens)] = tokens
  history[1, len(tokens) :] = loc(1, 1)  # what is behind the end is not read
  grammar = BoxGrammar(VOCAB, required)
  mask = grammar.allowed(
    jnp.asarray(history), jnp.full(2, len(tokens)), VOCAB.size
  )
  np.testing.assert_array_equal(mask[0], mask[1])
  return set(np.flatnonzero(mask[0]).tolist())


def test_everything_goes_outside_of_object_blocks():
  for tokens in (
    (0,),
    (0, 7),
    (0, P, 7, P_),
    (0, OBJ, loc(0, 0), loc(1, 1), END),
  ):
    assert allowed(*tokens) == ALL


def test_after_the_opening_tag_comes_a_location():
  assert allowed(0, OBJ) == LOCATIONS
  assert allowed(0, OBJ, loc(0, 0), loc(1, 1), D) == LOCATIONS


@pytest.mark.parametrize("opening", [OBJ, D])
def test_the_lower_right_is_not_above_or_left(opening):
  for row in range(3):
    for column in range(3):
      wanted = {
        loc(r, c)
        for r in range(3)
        for c in range(3)
        if r >= row and c >= column
      }
      assert allowed(0, opening, loc(row, column)) == wanted


def test_after_a_pair_comes_another_or_the_end():
  assert allowed(0, OBJ, loc(0, 1), loc(2, 2)) == {D, END}


def test_a_phrase_may_be_required_to_have_boxes():
  assert allowed(0, P, 7, P_, required=True) == {OBJ}
  assert allowed(0, P, 7, required=True) == ALL
