"""The official accuracy of VQA, by hand and beside another implementation."""

import importlib.util
import pathlib
import random

import pytest

from kosmos2_jax.evals.scoring import vqa

# What the rules make of a text where people disagree, worked out by hand.
NORMALISED = [
  ("", ""),
  ("yes", "yes"),
  ("YES", "yes"),
  ("  two   dogs ", "2 dogs"),
  # Articles go, wherever they are; words that hold one stay.
  ("a", ""),
  ("The", ""),
  ("a dog and the cat", "dog and cat"),
  ("an apple", "apple"),
  ("theater", "theater"),
  # Numbers to ten, and none; no others, and no parts of words.
  ("none", "0"),
  ("Zero", "0"),
  ("ten", "10"),
  ("eleven", "eleven"),
  ("twenty one", "twenty 1"),
  ("twenty-one", "twenty 1"),
  ("someone", "someone"),
  # Contractions get their apostrophe back; other words that look like them
  # stay, and so do those with a capital in the official list.
  ("dont", "don't"),
  ("don't", "don't"),
  ("Dont know", "don't know"),
  ("couldntve", "couldntve"),
  ("couldn'tve", "couldn't've"),
  ("couldnt've", "couldn't've"),
  ("oclock", "o'clock"),
  ("yall'd've", "y'all'd've"),
  ("ow's'at", "'ow's'at"),
  ("twas", "'twas"),
  ("im", "im"),
  ("ive", "ive"),
  ("ill", "ill"),
  ("were", "were"),
  ("somebody'd", "somebodyd"),
  ("dont.", "don't"),
  ("shes", "shes"),
  ("hes", "he's"),
  # A mark inside a word becomes a space, beside a space it goes.
  ("t-shirt", "t shirt"),
  ("t- shirt", "t shirt"),
  ("black/white", "black white"),
  ("black / white", "black white"),
  ("red, white", "red white"),
  ("red,white", "red white"),
  ("yes!", "yes"),
  ("(yes)", "yes"),
  ("what?", "what"),
  # One mark beside a space: all of its kind go, the other kinds do not.
  ("a-b - c", "ab c"),
  ("a-b - c/d", "ab c d"),
  # A comma between digits: every mark goes and leaves no space.
  ("1,000", "1000"),
  ("1,000-2", "10002"),
  ("1,000 t-shirts", "1000 tshirts"),
  ("1, 000", "1 000"),
  ("1,,2", "1 2"),
  # Full stops go, but not before a digit.
  ("yes.", "yes"),
  ("U.S.A.", "usa"),
  ("3.5", "3.5"),
  ("$3.50.", "$3.50"),
  (".5", ".5"),
  ("a.m", "am"),
  ("1.", "1"),
  ("...", ""),
  ("." * 33, "."),  # 32 of them.
  # Marks that are none here.
  ("it's", "it's"),
  ("10:30", "10:30"),
  ("50%", "50%"),
  ("rock & roll", "rock & roll"),
  ("#1", "#1"),
  ("~*|^", "~*|^"),
  # Any script.
  ("CAFÉ", "café"),
  ("Straße", "straße"),
  ("一只 猫", "一只 猫"),
  ("a\u3000dog\u00a0x", "dog x"),
  ("\u0661,\u0662-\u0663", "\u0661\u0662\u0663"),
]
HARD = [text for text, _ in NORMALISED]


@pytest.mark.parametrize(("text", "expected"), NORMALISED)
def test_normalised_by_hand(text, expected):
  assert vqa.normalise(text) == expected


def ten(*answers):
  """Ten answers: the last of these, as often as is needed."""
  return [*answers, *[answers[-1]] * (10 - len(answers))]


@pytest.mark.parametrize(
  ("count", "expected"),
  [
    (0, 0.0),
    (1, (1 * 0 + 9 * 1 / 3) / 10),  # 0.3
    (2, (2 * 1 / 3 + 8 * 2 / 3) / 10),  # 0.6
    (3, (3 * 2 / 3 + 7 * 1) / 10),  # 0.9
    (4, 1.0),
    (5, 1.0),
    (9, 1.0),
  ],
)
def test_each_person_is_left_out_once(count, expected):
  answers = ["net"] * count + [f"ball {i}" for i in range(10 - count)]
  assert vqa.accuracy("net", answers) == pytest.approx(expected, abs=1e-12)


def test_where_people_agree_nothing_is_normalised():
  assert vqa.accuracy("yes", ten("yes")) == 1
  for answer in ("Yes", "yes.", "the yes"):
    assert vqa.accuracy(answer, ten("yes")) == 0
    assert vqa.accuracy(answer, ten("yes"), always=True) == 1
    # One who says something else, and both sides are normalised.
    assert vqa.accuracy(answer, ten("no", "yes")) == 1
  assert vqa.accuracy("2", ten("two")) == 0
  assert vqa.accuracy("two", ten("two")) == 1
  # Space and line ends are taken off before anything is compared.
  assert vqa.accuracy(" yes\n", ten("yes")) == 1
  assert vqa.accuracy("yes", ten("yes ", "yes")) == 1
  assert vqa.accuracy("tennis\tball", ten("tennis ball")) == 1


def test_people_differ_before_they_are_normalised():
  # "a dog" and "dog" are two answers, and then one: ten of ten.
  assert vqa.accuracy("Dog!", ten("a dog", "dog")) == 1
  assert vqa.accuracy("", ten("dog", "cat")) == 0
  # Nothing is left of an article; whoever says nothing agrees with it.
  assert vqa.accuracy("", ["a", "the", *["dog"] * 8]) == pytest.approx(0.6)


def test_fewer_than_ten_people():
  # Of two who agree each sees one other: 1/3. One alone sees nobody.
  assert vqa.accuracy("net", ["net", "net"]) == pytest.approx(1 / 3)
  assert vqa.accuracy("net", ["net"]) == 0
  with pytest.raises(ValueError, match="needs the answers of people"):
    vqa.accuracy("net", [])


@pytest.fixture(scope="module")
def theirs():
  """The copy of the official rules that lmms-eval carries."""
  found = importlib.util.find_spec("lmms_eval")
  if found is None:
    pytest.skip("needs lmms_eval, which has a copy of the official rules")
  [folder, *_] = found.submodule_search_locations
  path = pathlib.Path(folder) / "tasks" / "_task_utils" / "vqa_eval_metric.py"
  spec = importlib.util.spec_from_file_location("vqa_eval_metric", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.EvalAIAnswerProcessor()


def by_them(theirs, text):
  return theirs.process_digit_article(theirs.process_punctuation(text))


# The copy takes several commas between digits for one; the official rules
# want a single one.
def differs(text):
  return ",," in text


def test_the_same_contractions_marks_and_numbers(theirs):
  effective = {
    short: word
    for short, word in theirs.CONTRACTIONS.items()
    if short == short.lower() != word
  }
  assert effective == vqa.CONTRACTIONS
  for text in [*theirs.CONTRACTIONS, *theirs.CONTRACTIONS.values()]:
    assert vqa.normalise(text) == by_them(theirs, text)
  marks = [chr(code) for code in range(33, 127)]
  for mark in marks:
    for text in (f"a{mark}b", f"a {mark}b", f"a{mark} b", f"1,2{mark}b", mark):
      if not differs(text):
        assert vqa.normalise(text) == by_them(theirs, text)


def test_case_by_case_beside_them(theirs):
  for text in HARD:
    if not differs(text):
      assert vqa.normalise(text) == by_them(theirs, text), text


def test_on_strings_that_nobody_thought_of(theirs):
  rng = random.Random(0)
  parts = [*HARD, *vqa.CONTRACTIONS, *map(chr, range(32, 127)), " ", " "]
  for _ in range(3000):
    text = "".join(rng.choices(parts, k=rng.randrange(7)))
    if not differs(text):
      assert vqa.normalise(text) == by_them(theirs, text), text
