"""Reading boxes off generated ids."""

import math

import pytest

from kosmos2_jax.generation.answers import before_another, leading_boxes
from kosmos2_jax.text import location
from kosmos2_jax.text.vocab import Vocab

VOCAB = Vocab(num_pieces=10, num_bins=4)
OPEN, CLOSE, AND = VOCAB.object_id, VOCAB.object_end_id, VOCAB.delimiter_id
A, B, C, D = map(VOCAB.location_id, (0, 10, 5, 15))
WORD = VOCAB.first_piece_id


def read(*tokens):
  # The n-th id has log-probability -n: scores name the ids they are made of.
  return leading_boxes(tokens, [-float(n) for n in range(len(tokens))], VOCAB)


def test_one_box_with_the_probability_of_its_two_tokens():
  [box] = read(OPEN, A, B, CLOSE)
  assert box.xyxy == location.bins_to_box(0, 10, 4)
  assert box.score == math.exp(-1 - 2)


def test_several_boxes_in_the_order_written():
  first, second = read(OPEN, A, B, AND, C, D, CLOSE)
  assert first.xyxy == location.bins_to_box(0, 10, 4)
  assert second.xyxy == location.bins_to_box(5, 15, 4)
  assert second.score == math.exp(-4 - 5)


def test_what_follows_the_block_is_not_read():
  assert len(read(OPEN, A, B, CLOSE, WORD, OPEN, C, D, CLOSE)) == 1


@pytest.mark.parametrize(
  "tokens",
  [
    (),
    (OPEN,),
    (OPEN, CLOSE),
    (OPEN, A, CLOSE),  # half a pair
    (OPEN, A, B),  # never closed
    (OPEN, A, B, AND),
    (OPEN, A, B, AND, CLOSE),
    (OPEN, A, B, C, D, CLOSE),  # no delimiter
    (OPEN, A, B, VOCAB.eos_id),
    (OPEN, A, B, AND, C, D, VOCAB.eos_id),
    (OPEN, A, WORD, CLOSE),
    (WORD, OPEN, A, B, CLOSE),  # not right behind the phrase
    (A, B, CLOSE),
    (AND, A, B, CLOSE),
    (CLOSE,),
  ],
)
def test_anything_else_is_no_box(tokens):
  assert read(*tokens) == []


def test_an_answer_ends_where_another_example_begins():
  words = [WORD, WORD + 1]
  for tag in (VOCAB.image_id, VOCAB.grounding_id):
    assert before_another([*words, tag, 9], VOCAB) == words
  assert before_another(words, VOCAB) == words
