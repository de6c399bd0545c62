"""Words of captions: the official tokenizer, and ours beside it."""

import shutil

import pytest

from kosmos2_jax.evals.scoring import caption_words, java
from tests.evals.scoring import programs

needs_java = pytest.mark.skipif(
  shutil.which("java") is None, reason="the PTB tokenizer is a Java program"
)

# Captions that are hard to split, and that both tokenizers split alike.
ALIKE = [
  "A man in a blue shirt is standing on a ladder.",
  "Two dogs, one black and one brown, run.",
  "A woman's dog doesn't like the boys' ball.",
  "It's 3:30 p.m. and they're waiting; he'll come, I'd guess we've time.",
  "He can't, won't and cannot swim",
  "I'm gonna wanna gotta lemme gimme",
  'A sign says "STOP" (in red).',
  "A sign says “STOP” and ‘GO’…",
  "a T-shirt, a 12-year-old boy -- and a well-known dog - here",
  "5ft tall, 50% off, $5.00 or £3, #1 and no. 2",
  "Mr. Smith and Mrs. Jones of St. Louis, U.S.A., in the U.S.",
  "Dr. Who vs. the daleks etc.",
  "rock & roll, salt&pepper, and/or 1/2 a cake",
  "1,000 people; 2.5 meters [left] {right}",
  "...",
  "?!",
  "",
  "   ",
  "A café, naïve señor, Zürich, 日本語 犬, 🐶 dog",
  "Wait... what?! Really?!?",
  "the 1990's and the '90s",
  "email me at a.b@c.com or http://www.example.com/x.html",
  "An O'Brien's d'oeuvre",
  "double  spaces\tand tab",
  "A dog.A cat.",
  "Hello,world",
  "A man—woman – child",
  "a*b = c_d ~ e^f",
  "one | two || three",
  "@user #dog",
  "10:45am 5'10\" 20kg",
  "the dogs' owner and a 'quoted' word",
  "2nd 1st 3rd",
  "No. No! no",
  "I.B.M. a.m.",
  'Man holding a sign that reads "I\'m hungry."',
  "it 's the dog 's",
]
# The official words, and ours where we know no better.
DIFFERENT = {
  "rock 'n' roll": ("rock 'n' roll", "rock n roll"),
  "C++": ("c++", "c + +"),
  "<b>tag</b>": ("<b> tag </b>", "< b > tag < / b >"),
  "Vitamin A.": ("vitamin a.", "vitamin a"),
}


@needs_java
def test_our_own_tokenizer_beside_the_official_one():
  captions = [*ALIKE, *DIFFERENT]
  official = dict(zip(captions, caption_words.official(captions), strict=True))
  ours = {caption: caption_words.plain(caption) for caption in captions}
  assert {c: ours[c] for c in ALIKE} == {c: official[c] for c in ALIKE}
  assert {c: (official[c], ours[c]) for c in DIFFERENT} == DIFFERENT


def test_our_own_tokenizer_by_itself():
  # Where there is no Java, these are still tested.
  plain = caption_words.plain
  assert plain("The man's dog can't swim.") == "the man 's dog ca n't swim"
  assert plain('A "big" (red) T-shirt!') == "a big -lrb- red -rrb- t-shirt"
  assert plain("...") == plain("") == ""


@needs_java
def test_the_words_are_those_of_pycocoevalcap(capfd):
  from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

  captions = [*ALIKE, *DIFFERENT]
  ours = caption_words.official(captions)
  assert capfd.readouterr() == ("", "")  # its speed is no output of ours
  theirs = PTBTokenizer().tokenize(
    {i: [{"caption": caption}] for i, caption in enumerate(captions)}
  )
  assert ours == [theirs[i][0] for i in range(len(captions))]


@needs_java
def test_no_character_shifts_the_captions_after_it():
  # Among them all that Java, Python or Unicode take for the end of a line.
  letters = [chr(i) for i in [*range(0x3100), 0xD800, 0xFEFF, 0xFFFF, 0x1F436]]
  captions = [f"begin{i} {c} end{i}\r\n" for i, c in enumerate(letters)]
  found = caption_words.official(captions)
  assert len(found) == len(captions)
  for i, words in enumerate(found):
    assert (words.split()[0], words.split()[-1]) == (f"begin{i}", f"end{i}")


@needs_java
def test_empty_captions_stay_in_their_places():
  assert caption_words.official([]) == []
  assert caption_words.official(["", ""]) == ["", ""]
  assert caption_words.official(["", "A dog.", "", ""]) == [
    "",
    "a dog",
    "",
    "",
  ]


@needs_java
def test_nothing_is_left_behind():
  from kosmos2_jax.evals.scoring import coco_scorers

  folder = coco_scorers.load().tokenizer_jar.parent
  before = sorted(folder.iterdir())
  caption_words.official(["A dog."])
  assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
  ("script", "sentence"),
  [
    ("exit 1", "status 1"),
    ("cat > /dev/null; echo one line too few", "the PTB tokenizer"),
    ("sleep 60", "no answer for the PTB tokenizer in 0.2 seconds"),
  ],
)
def test_a_java_that_fails_is_a_sentence(
  script, sentence, tmp_path, monkeypatch
):
  programs.put(tmp_path, monkeypatch, script)
  with pytest.raises(java.JavaTrouble, match=sentence):
    caption_words.official(
      ["A dog.", "A cat."], timeout_s=0.2 if "sl" in script else 60.0
    )
