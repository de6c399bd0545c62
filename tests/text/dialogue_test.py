"""Dialogues as tokens, without any model or picture."""

import pytest

from kosmos2_jax.text import dialogue
from kosmos2_jax.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.small(num_bins=4)
VOCAB = TOKENIZER.vocab


def message(role, text):
  return {"role": role, "text": text}


def test_pieces_of_two_turns():
  messages = [
    message("user", "<image> What is it?"),
    message("assistant", "a cat"),
    message("user", "And <image>?"),
  ]
  chunks = dialogue.chunks_of(messages, 2, "it")
  turns, left_out = dialogue.write(messages, chunks, TOKENIZER, "it", True)
  assert left_out == 0
  found = [
    [
      (piece.picture, TOKENIZER.decode(piece.ids), piece.predicted)
      for piece in turn
    ]
    for turn in turns
  ]
  assert found == [
    [
      (0, "", False),
      (-1, "Question: What is it? Answer:", False),
      (-1, "a cat", True),
    ],
    [
      (-1, "<grounding> Question: And", False),
      (1, "", False),
      (-1, "? Answer:", False),
    ],
  ]
  assert turns[0][-1].ids[-1] == VOCAB.eos_id


def test_a_span_lies_in_one_chunk():
  text = "<image> a cat <image> there"
  [chunks] = dialogue.chunks_of([message("user", text)], 2, "it")
  start = text.index("a cat")
  chunk, span = dialogue.holding(chunks, text, start - 1, start + 6)
  assert text[slice(*span)] == "a cat" and chunk.picture == 0
  for wrong in ((start, len(text)), (7, 8), (-3, 2), (5, 99), (9, 9)):
    assert dialogue.holding(chunks, text, *wrong) is None


def test_a_phrase_without_a_token_is_counted():
  messages = [message("assistant", "a cat")]
  chunks = dialogue.chunks_of(messages, 0, "it")
  # Its text is no phrase of its own: a box that is none is left out, too.
  chunks[0][0].phrases[0, 5] = [(0.5, 0.0, 0.1, 1.0)]
  turns, left_out = dialogue.write(messages, chunks, TOKENIZER, "it")
  assert left_out == 1
  assert VOCAB.phrase_id not in turns[0][0].ids


def test_mistakes_are_sentences():
  with pytest.raises(ValueError, match="message 0 of it has the role 'bot'"):
    dialogue.turns_of([message("bot", "a")], "it")
  with pytest.raises(ValueError, match="1 times, but it has 0 pictures"):
    dialogue.chunks_of([message("user", "<image>")], 0, "it")
