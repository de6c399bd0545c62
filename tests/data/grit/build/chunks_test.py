"""Which noun chunks are dropped, and each for which reason."""

import pytest

from data.building.drops import Drop
from data.grit.build import chunks
from tests.data.grit.build.hand_checked import cases, parser


def found(caption):
  """The chunks' words, and the reasons of the dropped ones."""
  [doc] = parser().parse([caption])
  got = chunks.find(doc)
  texts = []
  for chunk in got.kept:
    last = doc[chunk.end - 1]
    texts.append(caption[doc[chunk.start].idx : last.idx + len(last)])
  return texts, got.dropped


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.caption)
def test_hand_checked(case):
  assert found(case.caption)[0] == case.chunks, case.why


@pytest.mark.parametrize(
  ("caption", "kept", "reasons"),
  [
    ("time, love and freedom", [], [Drop.ABSTRACT_CHUNK] * 3),
    ("love in a time of war", [], [Drop.ABSTRACT_CHUNK] * 3),
    ("a vase on a white background", ["a vase"], [Drop.ABSTRACT_CHUNK]),
    ("the back of a truck", ["a truck"], [Drop.ABSTRACT_CHUNK]),
    ("a cat on the left side", ["a cat"], [Drop.ABSTRACT_CHUNK]),
    ("a woman in a red top", ["a woman", "a red top"], []),
    ("a lot of time", [], [Drop.ABSTRACT_CHUNK]),
    ("it is a dog", ["a dog"], [Drop.PRONOUN_CHUNK]),
    ("this is a dog", ["a dog"], [Drop.PRONOUN_CHUNK]),
    ("someone on a bike", ["a bike"], [Drop.PRONOUN_CHUNK]),
    ("a man who holds a dog", ["a man", "a dog"], [Drop.PRONOUN_CHUNK]),
    ("a flag of the US", ["a flag", "the US"], []),
    ("photo of a dog", ["a dog"], [Drop.FRAME_CHUNK]),
    ("pictures and photos of dogs", ["dogs"], [Drop.FRAME_CHUNK] * 2),
    ("a close-up of a bee", ["a bee"], [Drop.FRAME_CHUNK]),
    ("a close up of a bee", ["a bee"], [Drop.FRAME_CHUNK]),
    ("this image shows a dog", ["a dog"], [Drop.FRAME_CHUNK]),
    ("a dog in this picture", ["a dog"], [Drop.FRAME_CHUNK]),
    ("a set of photos of dogs", ["dogs"], [Drop.FRAME_CHUNK]),
    ("a man holding a photo", ["a man", "a photo"], []),
    ("a picture on the wall", ["a picture", "the wall"], []),
    ("a lamp and a picture", ["a lamp", "a picture"], []),
    ("a cat #cute", ["a cat"], [Drop.ODD_CHUNK]),
    ("the #beach with a dog", ["a dog"], [Drop.ODD_CHUNK]),
    ("a dog on www.example.com", ["a dog"], [Drop.ODD_CHUNK]),
    ("a dog 😀", ["a dog"], []),
    ('a sign that says "a dog"', ["a sign"], None),
    ("a sign with ‘a dog’ and a cat", ["a sign", "a cat"], [Drop.ODD_CHUNK]),
    ('"a dog in a park"', ["a dog", "a park"], []),
    ("both a man and a dog", ["a man", "a dog"], []),
    ("running fast", [], []),
  ],
)
def test_reasons(caption, kept, reasons):
  got, dropped = found(caption)
  assert got == kept
  if reasons is not None:
    assert dropped == reasons


def test_measure_is_one_chunk_with_two_heads():
  [doc] = parser().parse(["a pair of black shoes on a mat"])
  [pair, mat] = chunks.find(doc).kept
  assert pair == chunks.Chunk(0, 5, (1, 4))
  assert mat == chunks.Chunk(6, 8, (7,))


def test_frames_are_told():
  [doc] = parser().parse(["a dog in a park - stock photo"])
  [frame] = chunks.find(doc).frames
  assert doc[frame.start : frame.end].text == "stock photo"


@pytest.mark.parametrize("text", ["a", "é", "7", "犬a", "'s"])
def test_has_word(text):
  assert chunks.has_word(text)


@pytest.mark.parametrize("text", ["", ",", "“", "😀", "犬", "#"])
def test_has_no_word(text):
  assert not chunks.has_word(text)
