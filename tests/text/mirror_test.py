"""Left and right change places, or the text is refused."""

import itertools
import re

import hypothesis
import pytest
from hypothesis import strategies as st

from kosmos2_jax.text import mirror


def words_of(text):
  found = mirror.mirror(text)
  return found and found[0]


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("a dog on a sofa", "a dog on a sofa"),
    ("a man on the left", "a man on the right"),
    ("Left", "Right"),
    ("Left!", "Right!"),
    ("LEFT side", "RIGHT side"),
    ("Left-hand side of the road", "Right-hand side of the road"),
    ("the leftmost cup, top-right", "the rightmost cup, top-left"),
    ("from left to right: a dog, a cat", "from right to left: a dog, a cat"),
    ("left or right", "right or left"),
    ("the left and right hands", "the right and left hands"),
    ("2nd from left", "2nd from right"),
    ("man facing right", "man facing left"),
    ("the cat is left of the dog", "the cat is right of the dog"),
    ("woman on right in red", "woman on left in red"),
    ("guy on the far right, near a door", "guy on the far left, near a door"),
    ("left guy", "right guy"),
    ("a café to the right of a bus", "a café to the left of a bus"),
    ("a right turn", "a left turn"),
    ("a cafe\u0301, left side", "a cafe\u0301, right side"),
    ("bright lights, an upright piano", "bright lights, an upright piano"),
  ],
)
def test_sides_change_places(text, expected):
  assert words_of(text) == expected
  assert words_of(expected) == text


@pytest.mark.parametrize(
  "text",
  [
    # Correct, at once, close by.
    "all right",
    "the right way",
    "is this right?",
    "the man is right",
    "nice, right?",
    "Right, a dog",
    "right now",
    "right away",
    "right after the rain",
    "a cat right behind the dog",
    "right next to the left dog",
    "the right to vote",
    "a right-hand man",
    "the right hand man",
    "human rights",
    "right-wing politician",
    "right-minded people",
    "an alt-right crowd",
    "the right of way",
    "a man trying to right the boat",
    "the dog he\u2019s right",
    # Gone, or still there.
    "she has left the room",
    "he left",
    "left behind",
    "food left over",
    "leftover pizza",
    "one slice left",
    "the bag was left on the bench",
    # What a mirror changes besides.
    "a clockwise turn",
    "a sign on the left",
    "the bus that says stop",
    'the "stop" bus',
    "the \u201cstop\u201d bus",
    "the clock shows ten",
    # Neither English nor plain.
    "слева стоит left",
    "左 left",
    "he LeFt",
    "a dog on the LeFt",
    "rt guy",
  ],
)
def test_what_is_not_safe_is_refused(text):
  assert mirror.mirror(text) is None


def test_spans_keep_their_words():
  text = "the left dog and the right cat on a mat"
  spans = [(0, 12), (4, 8), (17, 30), (31, 39), (0, 39), (60, 70)]
  found, moved = mirror.mirror(text, spans)
  assert found == "the right dog and the left cat on a mat"
  told = [found[start:end] for start, end in moved]
  assert told[:5] == [
    "the right dog",
    "right",
    "the left cat",
    "on a mat",
    found,
  ]
  # Outside of the text before, and so afterwards.
  assert moved[5] == (60, 70)
  longer, [outside] = mirror.mirror("left", [(4, 6)])
  assert outside[1] > len(longer)


def test_a_span_that_cuts_a_side_is_refused():
  assert mirror.mirror("the left dog", [(0, 6)]) is None


_VOCABULARY = re.findall(
  r"\S+",
  """
  left right Left RIGHT leftmost right-hand left-hand the a on to of from far
  top hand side dog is has behind and or now in man turn slice one , . ? - :
  café one way all facing
  """,
)


@hypothesis.settings(max_examples=500, deadline=None)
@hypothesis.given(
  st.lists(st.tuples(st.sampled_from(_VOCABULARY), st.sampled_from(" -")))
)
def test_twice_mirrored_is_the_text_itself(parts):
  text = "".join(word + joint for word, joint in parts)
  borders = [0]
  for word, _ in parts:
    borders += [borders[-1] + len(word) + 1]
  spans = list(itertools.pairwise(borders))
  found = mirror.mirror(text, spans)
  if found is None:
    return
  again = mirror.mirror(*found)
  assert again == (text, spans)
  # The words of every span are those of the mirrored part.
  for (start, end), (begin, stop) in zip(spans, found[1], strict=True):
    old, new = text[start:end].strip("- "), found[0][begin:stop].strip("- ")
    swap = {"left": "right", "right": "left"}
    for side, other in swap.items():
      if side in old.lower():
        assert new.lower() == old.lower().replace(side, other)
        break
    else:
      assert new == old
