"""Texts that detectors are asked, and whose boxes their answers are."""

import math

import numpy as np
import pytest

from data.grit.build import alignment
from data.grit.build.grounding import ScoredBox


def test_texts_are_plain():
  assert alignment.plain("  A Red\n dog ") == "a red dog"
  assert alignment.plain("St. Peter's?", ".?") == "st peter's"
  assert alignment.plain("St. Peter's?") == "st. peter's?"
  assert alignment.plain("...", ".") == ""


def test_a_text_is_asked_where_it_stands_first():
  texts = ["a dog", "", "a cat", "a dog", ""]
  assert alignment.first_places(texts) == {"a dog": 0, "a cat": 2}


def test_joined_texts_know_their_characters():
  text, spans = alignment.joined(["a dog", "hat", "a"])
  assert text == "a dog. hat. a."
  assert [text[start:end] for start, end in spans] == ["a dog", "hat", "a"]


def test_tokens_belong_to_the_phrase_they_spell():
  # [CLS] a dog ##s . hat . [SEP] [PAD], of "a dogs. hat."
  offsets = [
    (0, 0),
    (0, 1),
    (2, 5),
    (5, 6),
    (6, 7),
    (8, 11),
    (11, 12),
    (0, 0),
    (0, 0),
  ]
  mask = alignment.token_mask(offsets, [(0, 6), (8, 11)], 10)
  assert mask.shape == (2, 10)
  assert np.flatnonzero(mask[0]).tolist() == [1, 2, 3]
  assert np.flatnonzero(mask[1]).tolist() == [5]


@pytest.mark.parametrize(
  ("how", "expected"),
  [
    ("max", [[0.75, 0.125], [0.5, 0.25]]),
    ("mean", [[0.5, 0.125], [0.5, 0.25]]),
  ],
)
def test_a_phrase_scores_by_its_own_tokens(how, expected):
  tokens = np.array([[1, 0.75, 0.25, 0.125], [1, 0.5, 0.5, 0.25]], np.float32)
  mask = np.array([[0, 1, 1, 0], [0, 0, 0, 1]], bool)
  scores = alignment.phrase_scores(tokens, mask, how)
  np.testing.assert_array_equal(scores, expected)
  tokens[:, 3] = np.nan
  scores = alignment.phrase_scores(tokens, mask, how)
  np.testing.assert_array_equal(scores[:, 0], np.array(expected)[:, 0])
  assert np.isnan(scores[:, 1]).all()


def test_sizes_are_packed_in_order():
  assert alignment.packed([3, 4, 3, 7, 9, 1], 7) == [[0, 1], [2], [3], [4], [5]]
  assert alignment.packed([], 7) == []


def test_corners_are_inside_of_the_picture():
  boxes = np.array(
    [[0.5, 0.5, 0.25, 0.5], [0, 1, 0.5, 0.5], [2, 0.5, 1, 1]], np.float32
  )
  np.testing.assert_array_equal(
    alignment.corners(boxes),
    [[0.375, 0.25, 0.625, 0.75], [0, 0.75, 0.25, 1], [1, 0, 1, 1]],
  )
  # Shown twice as high as it is: what is below the picture is cut off.
  np.testing.assert_array_equal(
    alignment.corners(boxes[:1], (1.0, 2.0)), [[0.375, 0.5, 0.625, 1]]
  )
  nan = alignment.corners(np.array([[0.5, np.nan, 0.5, 0.5]]))
  assert np.isnan(nan).tolist() == [[False, True, False, True]]


def test_a_query_is_the_phrase_it_fits_best():
  boxes = np.array([[i / 8, 0, i / 8, 1] for i in range(6)])
  scores = np.array(
    [[0.5, 0.25], [0.75, 0.5], [0.5, 0.5], [0.25, 0.125], [0, 1], [0, 0.25]]
  )
  first, second = alignment.assign(scores, boxes, 0.25)

  def box(i):
    return tuple(boxes[i])

  assert first == [
    ScoredBox(box(1), 0.75),
    ScoredBox(box(0), 0.5),
    ScoredBox(box(2), 0.5),
  ]
  assert second == [ScoredBox(box(4), 1.0)]
  assert type(first[0].score) is float
  assert type(first[0].box_xyxy[0]) is float


def test_what_is_no_number_is_told():
  scores = np.array([[0.5, math.nan], [0.5, 0.25]])
  first, second = alignment.assign(scores, np.zeros((2, 4)), 0.3)
  assert [box.score for box in first] == [0.5]
  assert [math.isnan(box.score) for box in second] == [True]
