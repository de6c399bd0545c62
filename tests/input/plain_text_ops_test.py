"""Lines of text."""

import hypothesis
import pytest
from hypothesis import strategies as st

from kosmos2_jax.input import recipes, text_ops
from tests.input import golden

# The vector of the original's loader; there both are one sequence.
DOCUMENTS = ("Hello world.\n\nSecond line here.", "A third doc.")
FIRST = [0, 10896, 210, 4, 64006, 3178, 413, 192, 4, 2]
SECOND = [0, 95, 403, 16003, 4, 2]
FIFTEEN = "the of a in to and is I that for was the of a in"


def context_of(tokenizer, max_ids):
  return text_ops.Context(tokenizer, 16, "crop", max_ids - 5, 2)


def ids_of(text, context, key=0):
  result = golden.run(recipes.text(), {"text": text}, context, key)
  document = result["document"]
  assert document.pictures == []
  assert not any(document.slots)
  assert document.predicted == [False] + [True] * document.num_tokens
  return list(document.ids), result["reasons"]


def flat(lines):
  return [token_id for line in lines for token_id in line]


@pytest.mark.parametrize("max_ids", [12, 2048])
def test_vector_of_the_original(max_ids, real_tokenizer):
  context = context_of(real_tokenizer, max_ids)
  found = [ids_of(text, context) for text in DOCUMENTS]
  assert found == [(FIRST, []), (SECOND, [])]


def test_a_line_too_long_is_cut_as_in_the_original(real_tokenizer):
  whole, _ = ids_of(FIFTEEN, context_of(real_tokenizer, 100))
  # Fifteen pieces between <s> and </s>.
  assert len(whole) == 17
  cut, reasons = ids_of(FIFTEEN, context_of(real_tokenizer, 12))
  assert cut == whole[:12]
  assert reasons == ["text_window", "line_cut"]
  # Room for all of it but its end is not room for the line.
  assert ids_of(FIFTEEN, context_of(real_tokenizer, 16))[0] == whole[:16]
  assert ids_of(FIFTEEN, context_of(real_tokenizer, 17)) == (whole, [])


def test_a_window_of_whole_lines_is_drawn(small_tokenizer):
  words = ["red", "green", "blue", "a dog", "the cat", "left"]
  text = "\n".join(words)
  context = context_of(small_tokenizer, 10)
  vocab = small_tokenizer.vocab
  lines = [small_tokenizer.encode(word) for word in words]
  closed = [[*ids, vocab.line_id] for ids in lines]
  closed[-1][-1] = vocab.eos_id
  starts = set()
  for key in range(100):
    ids, reasons = ids_of(text, context, key)
    assert reasons == ["text_window"]
    assert len(ids) <= 10
    (start,) = [
      k for k in range(6) if flat(closed[k:])[: len(ids) - 1] == ids[1:]
    ]
    starts.add(start)
    # As many lines as fit: either the end, or the next is too long.
    end = start
    while end < 6 and sum(map(len, closed[start : end + 1])) <= 9:
      end += 1
    assert ids[1:] == flat(closed[start:end])
  # From "a dog" on the end is in sight; no window begins later.
  last = max(starts)
  assert starts == set(range(last + 1))
  assert sum(map(len, closed[last:])) <= 9 < sum(map(len, closed[last - 1 :]))


@pytest.mark.parametrize("text", ["", "\n \n\t"])
def test_a_text_without_lines_is_its_end(text, small_tokenizer):
  context = context_of(small_tokenizer, 20)
  assert ids_of(text, context) == ([0, 2], ["no_text"])


@hypothesis.given(st.text(max_size=60), st.integers(8, 40), st.integers(0, 9))
def test_any_text_fits(small_tokenizer, text, max_ids, key):
  ids, _ = ids_of(text, context_of(small_tokenizer, max_ids), key)
  assert 2 <= len(ids) <= max_ids
  assert small_tokenizer.vocab.image_id not in ids
