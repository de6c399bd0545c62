"""Where sentences end."""

import hypothesis
import pytest
from hypothesis import strategies as st

from kosmos2_jax.text import sentences


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("One. Two! Three?", ["One.", "Two!", "Three?"]),
    ("Really?! Yes…  So.", ["Really?!", "Yes…", "So."]),
    ('He said "no." She left.', ['He said "no."', "She left."]),
    ("It costs 3.14 at a.com. Buy!", ["It costs 3.14 at a.com.", "Buy!"]),
    ("Dr. J. Smith vs. Mr. Lee. End", ["Dr. J. Smith vs. Mr. Lee.", "End"]),
    ("It is I. You know.", ["It is I.", "You know."]),
    ("some, e.g. this. And that", ["some, e.g. this.", "And that"]),
    ("a title\nthe text\n\nmore", ["a title", "the text", "more"]),
    ("红色的猫。「你好！」再见", ["红色的猫。", "「你好！」", "再见"]),
    ("वह गया। मैं भी।", ["वह गया।", "मैं भी।"]),
    ("هل هذا؟ نعم.", ["هل هذا؟", "نعم."]),
    ("یہ بلی ہے۔ وہ کتا ہے۔", ["یہ بلی ہے۔", "وہ کتا ہے۔"]),
    ("ﾈｺ｡ｲﾇ", ["ﾈｺ｡", "ｲﾇ"]),
    ("It is 5 p.m. in town. Yes", ["It is 5 p.m. in town.", "Yes"]),
    ("One.\ntwo\rthree", ["One.", "two", "three"]),
    ("Why? because. It", ["Why?", "because.", "It"]),
    ("", []),
    (" \n ", []),
    ("...", ["..."]),
  ],
)
def test_sentences(text, expected):
  assert [text[slice(*span)] for span in sentences.spans(text)] == expected


@pytest.mark.parametrize(
  "word",
  [
    "Dr",
    "e.g",
    "fig",
    "i.e",
    "Jr",
    "Mr",
    "Mrs",
    "Ms",
    "Prof",
    "Sr",
    "St",
    "vs",
  ],
)
def test_an_abbreviation_ends_nothing(word):
  text = f"This is {word}. Smith"
  assert sentences.spans(text) == [(0, len(text))]


@pytest.mark.parametrize("mark", "\"'”’»)]}」』）】》")
def test_what_closes_belongs_to_its_sentence(mark):
  for text in (f"One.{mark} Two", f"One。{mark}Two"):
    parts = [text[slice(*span)] for span in sentences.spans(text)]
    assert parts == [text[:5], "Two"]


def test_first_and_last_are_parts_of_the_text():
  text = " One.  Two.\nThree. Four "
  assert sentences.first(text, 2) == "One.  Two."
  assert sentences.last(text, 3) == "Two.\nThree. Four"
  assert sentences.first(text, 9) == sentences.last(text, 9) == text.strip()
  assert sentences.first(text, 0) == sentences.last(text, 0) == ""
  assert sentences.first(" ", 3) == sentences.last("", 3) == ""


@hypothesis.given(st.text('ab .!\n。"I'))
def test_sentences_hold_all_but_white_space(text):
  parts = [text[slice(*span)] for span in sentences.spans(text)]
  assert "".join("".join(parts).split()) == "".join(text.split())
  assert all(part == part.strip() != "" for part in parts)
