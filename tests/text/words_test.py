"""New words become tokens; all that was read before is read as before."""

import pytest

from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.text.words import with_words

TEXTS = (
  "the red circle left of a blue square",
  "<grounding><phrase> wuggish</phrase>",
  "ein Flügel, 1/2",
)


def test_a_new_word_is_one_token_and_others_stay():
  old = Tokenizer.small(4)
  new = Tokenizer(with_words(old, ("wug", "Blicket")), 4)
  mask = old.vocab.mask_id
  assert new.vocab.mask_id == mask + 2
  assert new.encode("a wug") == [*old.encode("a"), mask]
  assert new.encode("Blicket") == [mask + 1]
  assert new.decode([mask, mask + 1]) == "wug Blicket"
  # A word that goes on begins with the piece; another case is another word.
  assert new.encode("wugs")[0] == mask
  assert mask not in new.encode("Wug")
  for text in TEXTS[:1] + TEXTS[2:]:
    assert new.encode(text) == old.encode(text)
  tags = [i - 2 if i >= mask else i for i in new.encode("<phrase></phrase>")]
  assert tags == old.encode("<phrase></phrase>")


def test_no_word_is_the_same_file():
  old = Tokenizer.small(4)
  assert with_words(old, ()) is old.model_bytes


@pytest.mark.parametrize(
  "words", [("circle",), ("wug", "wug"), ("a wug",), ("",), ("<wug>",)]
)
def test_what_is_no_new_word_is_refused(words):
  with pytest.raises(ValueError, match=r"no token yet.*resize\.words"):
    with_words(Tokenizer.small(4), words)


def test_what_is_normalised_is_refused():
  with pytest.raises(ValueError, match="normalises: write it as"):
    with_words(Tokenizer.small(4), ("ｗｕｇ",))
