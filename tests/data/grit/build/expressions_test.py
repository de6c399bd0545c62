"""Expressions against the hand-checked table, and containment."""

import random

import pytest

from data.building.drops import Drop
from data.grit.build.expressions import Phrase, Phrases, outermost, phrases
from tests.data.grit.build.hand_checked import cases, parser


def grown(caption):
  """The words of each expression."""
  [doc] = parser().parse([caption])
  spans = [phrase.expression for phrase in phrases(doc).phrases]
  return [caption[start:end] for start, end in spans]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.caption)
def test_hand_checked(case):
  assert grown(case.caption) == case.expressions, case.why


def test_table_is_large_and_errors_are_few():
  assert len(cases()) >= 60
  assert len({case.caption for case in cases()}) == len(cases())
  errors = [case for case in cases() if case.why.startswith("Parser:")]
  assert len(errors) <= 10
  assert all(case.why for case in cases())


def test_form():
  [doc] = parser().parse(["a photo of a dog in a park"])
  assert phrases(doc) == Phrases(
    (Phrase((11, 16), (11, 26)), Phrase((20, 26), (20, 26))),
    (Drop.FRAME_CHUNK,),
  )


def test_invariants():
  """Of all captions: chunks in order and apart, expressions begin with them."""
  for doc in parser().parse([case.caption for case in cases()]):
    before = 0
    for (start, end), (first, last) in phrases(doc).phrases:
      assert before <= start < end <= last <= len(doc.text)
      assert first == start
      words = doc.text[first:last]
      assert words == words.strip()
      before = end


@pytest.mark.parametrize(
  ("caption", "expression"),
  [
    ("a dog (brown) in a park", "a dog"),  # An aside ends it.
    ("a cat #cute #kitty", "a cat"),
    ("a man wearing a hat, in a park", "a man wearing a hat, in a park"),
    ("a dog in a park.", "a dog in a park"),
    ("a dog in a park!!", "a dog in a park"),
    ("a boy in this picture", "a boy"),  # Not "a boy in".
    ("a dog in a park, stock photo", "a dog in a park"),
    ('a sign reading "stop"', 'a sign reading "stop"'),
    ("a sign reading “stop”.", "a sign reading “stop”"),
    ('"a dog in a park"', "a dog in a park"),
    ("Rex, a dog with a bone", "Rex"),
  ],
)
def test_ends(caption, expression):
  assert grown(caption)[0] == expression


@pytest.mark.parametrize(
  ("spans", "kept"),
  [
    ([], []),
    ([(0, 5)], [True]),
    ([(0, 26), (20, 26)], [True, False]),
    ([(20, 26), (0, 26)], [False, True]),
    ([(0, 5), (0, 9)], [False, True]),
    ([(0, 9), (4, 9), (3, 12)], [True, False, True]),
    ([(0, 5), (0, 5), (0, 5)], [True, False, False]),
    ([(0, 5), (5, 9)], [True, True]),
    ([(2, 8), (0, 5), (5, 9), (2, 8)], [True, True, True, False]),
  ],
)
def test_outermost(spans, kept):
  assert outermost(spans) == kept


def test_outermost_is_its_definition():
  draw = random.Random(0)
  for _ in range(200):
    spans = []
    for _ in range(draw.randint(0, 8)):
      start = draw.randint(0, 8)
      spans.append((start, start + draw.randint(1, 6)))
    wanted = [
      not any(
        other[0] <= span[0] and span[1] <= other[1] and (other != span or j < i)
        for j, other in enumerate(spans)
        if j != i
      )
      for i, span in enumerate(spans)
    ]
    assert outermost(spans) == wanted
