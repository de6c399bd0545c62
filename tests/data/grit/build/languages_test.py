"""English captions pass, however short; clearly foreign ones do not."""

import sys

import pytest

from data.grit.build import languages


@pytest.mark.parametrize(
  "caption",
  [
    *("a dog", "two men", "Black leather shoes", "red sofa", "cute kitten"),
    *("Toyota Corolla 2019", "pizza margherita", "tacos al pastor", "BMW M3"),
    *("La La Land poster", "Rio de Janeiro skyline at night", "sari", "12"),
    *("a café in Montréal", "A DOG IN A PARK", "a dog 犬犬犬 in a park"),
    *("a womn wiht a hat", "man an a bike", "😀 dog"),
  ],
)
def test_english(caption):
  assert languages.is_english(caption)


@pytest.mark.parametrize(
  "caption",
  [
    "ein Hund auf einer Wiese",
    "SCHWARZE LEDERSCHUHE AUS ITALIEN",
    "un chien dans un champ de fleurs",
    "un perro en un campo de flores",
    "una donna con un cappello",
    "um cachorro na praia",
    "een hond in een veld met bloemen",
    "en hund på en mark",
    "pies na łące",
    "bir köpek çiçek tarlasında",
    "seekor anjing di padang rumput",
    "公园里的一只狗 dog",
    "собака в парке",
    "σκύλος στο πάρκο",
    "كلب في الحديقة",
  ],
)
def test_other_languages(caption):
  assert not languages.is_english(caption)


def test_half_of_the_letters_may_be_others():
  assert languages.is_english("dog 犬犬犬")
  assert not languages.is_english("dog 犬犬犬犬")


@pytest.mark.parametrize("character", "aZéßğạỿ")
def test_latin(character):
  assert languages.is_latin(character)


@pytest.mark.parametrize("character", "1 -犬жα😀")
def test_not_latin(character):
  assert not languages.is_latin(character)


def test_missing_package_is_told(monkeypatch):
  languages._identifier.cache_clear()
  monkeypatch.setitem(sys.modules, "py3langid", None)
  with pytest.raises(
    ModuleNotFoundError, match=r"pip install 'kosmos2_jax\[grit\]'"
  ):
    languages.is_english("a dog")
