"""The lists hold what can be met at all, and plurals are found."""

import pytest

from data.grit.build import words

TABLES = (
  *(words.ABSTRACT, words.LOCATIONS, words.PLAIN, words.FRAMES, words.SHOWING),
  *(words.PLACED, words.PRONOUNS, words.MEASURES, words.UNSAFE, words.ENGLISH),
)


@pytest.mark.parametrize("table", TABLES)
def test_words_are_single_and_lower(table):
  for word in table:
    assert word == word.lower()
    assert word.replace("-", "").isalpha()


def test_size_of_abstract_list():
  assert 150 < len(words.ABSTRACT) < 450
  assert {"time", "love", "freedom"} <= words.ABSTRACT


def test_unsafe_words_have_no_harmless_meaning():
  harmless = {"naked", "nude", "sexy", "adult", "bikini", "breast", "cock"}
  assert not harmless & words.UNSAFE


@pytest.mark.parametrize(
  ("noun", "found"),
  [
    ("love", True),
    ("loves", True),
    ("activities", True),
    ("matches", True),
    ("lovely", False),
    ("s", False),
    ("es", False),
    ("ies", False),
    ("dogs", False),
    ("LOVE", False),
  ],
)
def test_is_one_of(noun, found):
  assert words.is_one_of(noun, words.ABSTRACT) is found


@pytest.mark.parametrize(
  "text",
  [
    *("http://a.b", "HTTPS://a", "www.a.b", "shop.com", "me@home", "@me"),
    *("#dog", "IMG_1234", "a.JPG", "photo.jpeg"),
  ],
)
def test_addresses(text):
  assert words.ADDRESS.search(text)


@pytest.mark.parametrize(
  "text", ["dog", "T-shirt", "St. Peter", "a.m.", "No. # 3", "it.Then", "3.5"]
)
def test_no_addresses(text):
  assert not words.ADDRESS.search(text)
