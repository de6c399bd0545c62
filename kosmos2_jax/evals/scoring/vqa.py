"""The accuracy of VQA: an answer counts as far as people gave it, too.

The rules are those of the official scorer (github.com/GT-Vision-Lab/VQA,
`vqaEval.py`), with what is odd about them: numbers do not compare without.

  * Nothing is normalised where all people gave the same answer: there "Yes" is
    no "yes". Elsewhere both sides are.
  * A mark beside a space anywhere in the text is taken out wherever it stands,
    else it becomes a space. A comma between two digits makes all marks go.
  * A full stop before anything but a digit is taken out, 32 of them at most.
  * Contractions get their apostrophe back, where a list has them.
"""

import re
from collections.abc import Sequence

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_GROUPED_DIGITS = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
# The official call hands a flag, whose value is 32, where the number of
# replacements is asked for.
_MAX_FULL_STOPS = 32
_NUMBERS = {
  "none": "0",
  "zero": "0",
  "one": "1",
  "two": "2",
  "three": "3",
  "four": "4",
  "five": "5",
  "six": "6",
  "seven": "7",
  "eight": "8",
  "nine": "9",
  "ten": "10",
}
_ARTICLES = frozenset(("a", "an", "the"))
# Each stands for itself with any one of its apostrophes left out. Those that
# would be other words (he'll, she'd, we're) are not among them; I'm and I've
# are in the official list with a capital, which no word has here.
_CONTRACTIONS = """
  ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't
  mightn't mustn't needn't oughtn't shan't shouldn't wasn't weren't won't
  wouldn't could've might've must've not've should've they've we've what've
  where've who've would've you've he'd how'd it'd someone'd something'd there'd
  they'd where'd who'd you'd he's how's somebody's someone's that's there's
  what's when's where's who's why's how'll it'll somebody'll someone'll
  something'll they'll what'll who'll why'll you'll there're they're what're
  why're you're ma'am o'clock y'all 'twas couldn't've hadn't've mightn't've
  shouldn't've wouldn't've he'd've it'd've she'd've somebody'd've someone'd've
  something'd've there'd've they'd've we'd've who'd've you'd've y'all'll
  y'all'd've 'ow's'at
"""


def _shortened(word: str) -> list[str]:
  """The word without any one of its apostrophes."""
  places = [i for i, letter in enumerate(word) if letter == "'"]
  return [word[:i] + word[i + 1 :] for i in places]


CONTRACTIONS = {
  short: word for word in _CONTRACTIONS.split() for short in _shortened(word)
} | {"somebody'd": "somebodyd"}  # The one that goes the other way.


def strip(text: str) -> str:
  """What is done to every text before any is compared."""
  return text.replace("\n", " ").replace("\t", " ").strip()


def normalise(text: str) -> str:
  """The text by which an answer is compared where people disagree."""
  words = [_NUMBERS.get(word, word) for word in _without_marks(text).split()]
  return " ".join(
    CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES
  )


def _without_marks(text: str) -> str:
  """Lower case, without punctuation."""
  grouped = _GROUPED_DIGITS.search(text) is not None
  result = text
  for mark in _MARKS:
    beside_space = f"{mark} " in text or f" {mark}" in text
    result = result.replace(mark, "" if grouped or beside_space else " ")
  return _FULL_STOP.sub("", result, count=_MAX_FULL_STOPS).lower()


def accuracy(
  answer: str, answers: Sequence[str], always: bool = False
) -> float:
  """How far an answer agrees with those of people, 0 to 1.

  The mean, over people, of min(n / 3, 1), where n of the *other* people gave
  this answer: 0, 0.3, 0.6, 0.9 and 1 for 0, 1, 2, 3 and more of ten.

  Args:
    answer: what was answered.
    answers: of people, ten most often.
    always: normalises where people agree, too, which the official scorer does
      not.

  Raises:
    ValueError: if there are no answers of people.
  """
  if not answers:
    raise ValueError("the accuracy of VQA needs the answers of people.")
  answer, answers = strip(answer), [strip(each) for each in answers]
  if always or len(set(answers)) > 1:
    answer, answers = normalise(answer), [normalise(each) for each in answers]
  agree = [each == answer for each in answers]
  count = sum(agree)
  parts = [min((count - same) / 3, 1.0) for same in agree]
  return sum(parts) / len(parts)
