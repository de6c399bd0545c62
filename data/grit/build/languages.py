"""Tells whether a caption is English; lenient, for captions are short.

py3langid (naive Bayes over bytes) was made for documents. Of "a dog" it says
Croatian, so a caption is refused only where another language is clearly more
likely.
"""

import functools
import math
import re
from typing import Any

from data.grit.build import words

# Languages that are often met on the web in Latin letters; the others are told
# by their letters. Fewer rivals, fewer mistakes.
_LANGUAGES = (
  "en de fr es it pt nl pl sv da no fi cs sk hu ro tr id vi hr sl et lv lt ca"
  " ms tl is"
)
# How much more likely another language must be: the difference of the
# logarithms of the probabilities, over the root of the count of bytes as
# py3langid itself divides. Names ("Santa Maria del Fiore cathedral") come to
# 5.3; sentences of other languages to 6 to 17.
_MARGIN = 4.0
_MARGIN_WITH_ENGLISH_WORD = 6.0

_LATIN_WORD = re.compile(r"[A-Za-zª-ʯḀ-ỿ]+(?:['’][A-Za-z]+)?")


def is_latin(character: str) -> bool:
  """Whether it is a letter of the Latin alphabet, with accents or without."""
  return character.isalpha() and (
    character <= "\u02af" or "\u1e00" <= character <= "\u1eff"
  )


def is_english(caption: str) -> bool:
  """False where most letters are not Latin, or another language is likelier.

  Raises ModuleNotFoundError without py3langid.
  """
  if not caption.isascii():
    letters = sum(map(str.isalpha, caption))
    if 2 * sum(map(is_latin, caption)) < letters:
      return False
  latin = [word.lower() for word in _LATIN_WORD.findall(caption)]
  found = words.ENGLISH.intersection(latin)
  if len(found) >= 2:  # Saves the time of asking, for most sentences.
    return True
  text = " ".join(latin)
  scores = dict(_identifier().rank(text))
  english = scores.pop("en")
  margin = (max(scores.values()) - english) / math.sqrt(len(text.encode()) or 1)
  if words.ENGLISH_OR_NOT.isdisjoint(latin):
    return margin <= _MARGIN
  return margin <= _MARGIN_WITH_ENGLISH_WORD


@functools.cache
def _identifier() -> Any:
  """Our own, so that nobody else's choice of languages is changed."""
  try:
    from py3langid import langid
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "the languages of captions are told by py3langid, which is not"
      " installed: pip install 'kosmos2_jax[grit]'",
      name=error.name,
    ) from error
  identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)
  identifier.set_languages(_LANGUAGES.split())
  return identifier
