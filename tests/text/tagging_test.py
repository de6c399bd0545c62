"""Phrases that no token stands for are left out, the others are kept."""

import pytest

from kosmos2_jax.text import markup, tagging
from kosmos2_jax.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.small(num_bins=4)
TEXT = "a red circle and a blue star"
BOX = (0.1, 0.1, 0.6, 0.6)


def phrase(words):
  start = TEXT.index(words)
  return markup.Phrase(words, (start, start + len(words)), [markup.Box(BOX)])


def test_good_phrases_are_what_build_makes_of_them():
  phrases = [phrase("a red circle"), phrase("a blue star")]
  found = tagging.build_good(TEXT, phrases, TOKENIZER)
  assert found == (markup.build(TEXT, phrases, TOKENIZER), 0)


@pytest.mark.parametrize("grounding", [True, False])
def test_one_that_is_objected_to_is_counted(monkeypatch, grounding):
  good, bad = phrase("a red circle"), phrase("a blue star")
  original = markup.build

  def build(text, phrases, *rest):
    if bad in phrases:
      raise ValueError("no token")
    return original(text, phrases, *rest)

  monkeypatch.setattr(markup, "build", build)
  found = tagging.build_good(TEXT, [good, bad], TOKENIZER, grounding=grounding)
  expected = original(TEXT, [good], TOKENIZER, "nested", grounding)
  assert found == (expected, 1)
  # Nothing is left but the words, if nothing can be tagged.
  plain = original(TEXT, [], TOKENIZER, "nested", grounding)
  none = tagging.build_good(TEXT, [bad], TOKENIZER, grounding=grounding)
  assert none == (plain, 1)


def test_what_is_wrong_with_the_text_is_no_matter_of_phrases(monkeypatch):
  def build(*_):
    raise ValueError("the text is too long")

  monkeypatch.setattr(markup, "build", build)
  with pytest.raises(ValueError, match="too long"):
    tagging.build_good(TEXT, [phrase("a blue star")], TOKENIZER)
