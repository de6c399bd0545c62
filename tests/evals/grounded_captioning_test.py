"""Grounded captions: words, pairs of phrase and box, and bins."""

import numpy as np
import pytest

from kosmos2_jax.evals.grounded_captioning import GroundedCaption
from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.text import markup
from kosmos2_jax.text.markup import Box, Phrase
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.evals import scripted

TOKENIZER = Tokenizer.small(num_bins=8)
CAPTION = "two red circles above a blue square"
LEFT, RIGHT = (0.1, 0.1, 0.3, 0.3), (0.6, 0.1, 0.8, 0.3)
SQUARE = (0.3, 0.6, 0.7, 0.9)
PAIRS = [(0, 15, LEFT), (0, 15, RIGHT), (22, 35, SQUARE)]


class FakePredictor:
  """Gives prepared answers, one after the other."""

  tokenizer = TOKENIZER

  def __init__(self, *answers, finished=True):
    self.answers = list(answers)
    self.finished = finished
    self.prompts = []

  def generate(self, prompts, images, *, max_new_tokens):
    assert len(prompts) == len(images)
    self.prompts += prompts
    answers = [self.answers.pop(0) for _ in prompts]
    return [
      Generation("", tuple(ids), (0.0,) * len(ids), self.finished)
      for ids in answers
    ]


def example(caption=CAPTION, items=PAIRS, key="noun_chunks", score=1.0):
  return {
    "id": "0",
    "image": np.zeros((4, 4, 3), np.uint8),
    "caption": caption,
    key: [
      {"start": start, "end": end, "box_xyxy": box, "score": score}
      for start, end, box in items
    ],
  }


def answer(items, caption=CAPTION):
  phrases = {}
  for start, end, box in items:
    phrases.setdefault((start, end), []).append(Box(box))
  return markup.build(
    caption,
    [
      Phrase(caption[start:end], (start, end), boxes)
      for (start, end), boxes in phrases.items()
    ],
    TOKENIZER,
    grounding=False,
  )


def score(predictor, examples, **options):
  return scripted.run(GroundedCaption(**options), predictor, examples)


def run(*answers, examples=None, **options):
  examples = examples or [
    example() | {"id": str(i)} for i in range(len(answers))
  ]
  return score(FakePredictor(*answers), examples, **options)


def metric(result, name):
  return result.metrics[name].value


def test_the_annotation_itself_is_perfect():
  result = run(answer(PAIRS))
  assert result.n == 1
  assert scripted.values(result) == {
    "exact_match": 1.0,
    "exact_to_the_bin": 1.0,
    "precision": 1.0,
    "recall": 1.0,
    "f1": 1.0,
  }


def test_order_of_boxes_of_one_phrase_does_not_matter():
  result = run(answer([PAIRS[1], PAIRS[0], PAIRS[2]]))
  assert metric(result, "exact_to_the_bin") == 1.0


def test_pairs_are_counted_over_all_pictures():
  # First picture: 3 of 3 said are true. Second: says 2, one box elsewhere.
  elsewhere = (22, 35, (0.0, 0.0, 0.2, 0.2))
  result = run(answer(PAIRS), answer([PAIRS[0], elsewhere]))
  assert result.counts["pairs_found"] == 3 + 1
  assert result.counts["pairs_said"] == 3 + 2
  assert result.counts["pairs_true"] == 3 + 3
  assert metric(result, "precision") == 4 / 5
  assert metric(result, "recall") == 4 / 6
  assert metric(result, "f1") == 8 / 11
  assert metric(result, "exact_match") == 1.0
  assert metric(result, "exact_to_the_bin") == 1 / 2


def test_one_bin_off_is_found_but_not_exact():
  # A box of 4 x 3 bins grows by one column: IoU stays above one half.
  x1, y1, x2, y2 = SQUARE
  result = run(answer([*PAIRS[:2], (22, 35, (x1, y1, x2 + 0.125, y2))]))
  assert metric(result, "f1") == 1.0
  assert metric(result, "exact_to_the_bin") == 0.0


def test_right_bins_in_a_wrong_sentence_are_not_exact():
  wrong = CAPTION.replace("above", "under")
  result = run(answer(PAIRS, wrong))
  assert metric(result, "exact_match") == 0.0
  assert metric(result, "exact_to_the_bin") == 0.0
  assert metric(result, "f1") == 1.0


def test_a_true_box_is_found_once():
  result = run(answer([PAIRS[0], PAIRS[0], PAIRS[2]]))
  assert result.counts["pairs_said"] == 3
  assert result.counts["pairs_found"] == 2


def test_a_box_under_another_phrase_is_not_a_pair():
  # The square's box is said of "two red circles" and the other way round.
  result = run(answer([(0, 15, SQUARE), (22, 35, LEFT)]))
  assert result.counts["pairs_found"] == 0
  assert metric(result, "f1") == 0.0


def test_overlap_is_measured_against_the_box_as_annotated():
  # Both boxes are the bin (0, 0, 1/8, 1/8) once coded: to the bin they are
  # exact, but what overlaps is 0.01 and 0.0009 of its area of 0.0156.
  large, small = (0.01, 0.01, 0.11, 0.11), (0.01, 0.01, 0.04, 0.04)
  for box, found in [(large, 1), (small, 0)]:
    item = (22, 35, box)
    result = run(answer([item]), examples=[example(items=[item])])
    assert metric(result, "exact_to_the_bin") == 1.0
    assert result.counts["pairs_found"] == found


def test_empty_answer_scores_nothing():
  result = run([])
  assert set(scripted.values(result).values()) == {0.0}
  assert result.counts["pairs_said"] == 0


def test_unreadable_blocks_have_no_boxes():
  vocab = TOKENIZER.vocab
  words = answer([])
  block = [vocab.object_id, vocab.location_id(3), vocab.object_end_id]
  result = run([*words, *block], [*words, vocab.phrase_end_id, vocab.phrase_id])
  assert metric(result, "exact_match") == 1.0
  assert metric(result, "exact_to_the_bin") == 0.0
  assert result.counts["pairs_said"] == 0


def test_words_without_boxes_where_none_are_annotated_are_exact():
  result = run(answer([]), examples=[example(items=[])])
  assert metric(result, "exact_to_the_bin") == 1.0


def test_nested_phrases_survive():
  items = [(0, 35, LEFT), (22, 35, SQUARE)]
  result = run(answer(items), examples=[example(items=items)])
  assert metric(result, "exact_to_the_bin") == 1.0
  assert metric(result, "f1") == 1.0


def test_low_scores_and_boxes_that_are_none_are_left_out_and_counted():
  items = [(22, 35, SQUARE), (22, 35, (0.5, 0.5, 0.5, 0.9)), (30, 99, LEFT)]
  result = run(answer([items[0]]), examples=[example(items=items)])
  assert metric(result, "exact_to_the_bin") == 1.0
  assert result.counts["annotated_boxes_left_out"] == 2
  result = run(answer([]), examples=[example(score=0.64)])
  assert metric(result, "exact_to_the_bin") == 1.0
  assert result.counts["annotated_boxes_left_out"] == 3


def test_expressions_are_the_truth_if_the_mode_says_so():
  examples = [example(key="ref_exps")]
  result = run(answer(PAIRS), examples=examples, mode="expression")
  assert metric(result, "exact_to_the_bin") == 1.0
  with pytest.raises(ValueError, match="needs 'noun_chunks'"):
    run(answer(PAIRS), examples=examples)


def test_words_of_the_prompt_are_taken_off_the_annotation():
  whole = f"An image of {CAPTION}"
  items = [(start + 12, end + 12, box) for start, end, box in PAIRS]
  examples = [example(whole, items)]
  result = run(answer(PAIRS), examples=examples)
  assert metric(result, "exact_to_the_bin") == 1.0
  # An answer that repeats them is not the caption.
  result = run(answer(items, whole), examples=examples)
  assert metric(result, "exact_match") == 0.0
  # Another prompt, another text after it.
  predictor = FakePredictor(answer(items, whole))
  result = score(predictor, examples, prompt="<grounding>")
  assert metric(result, "exact_to_the_bin") == 1.0
  assert predictor.prompts == ["<grounding>"]


def test_cut_off_answers_are_counted():
  predictor = FakePredictor(answer([]), finished=False)
  result = score(predictor, [example()])
  assert result.counts["unfinished"] == 1
  assert predictor.prompts == ["<grounding>An image of"]


def test_no_example_is_an_error():
  with pytest.raises(ValueError, match="no example"):
    score(FakePredictor(), [])


def test_quality_and_view_are_of_each_picture():
  task = GroundedCaption()
  half = answer([PAIRS[0], PAIRS[1], (22, 35, LEFT)])
  examples = [example() | {"id": str(i)} for i in range(2)]
  records = scripted.ask(task, FakePredictor(answer(PAIRS), half), examples)
  scores = task.score(records)
  # Second: two of the three pairs that are said, and of the three true ones.
  np.testing.assert_array_equal(scores.quality, [1.0, 4 / 6])
  view = task.view(records[0])
  assert view.lines == (CAPTION, f"true: {CAPTION}")
  assert [phrase.text for phrase in view.predicted] == [
    "two red circles",
    "a blue square",
  ]
  assert [box.xyxy for box in view.annotated[0].boxes] == [LEFT, RIGHT]


def test_unknown_mode_is_an_error():
  with pytest.raises(ValueError, match="mode must be one of"):
    GroundedCaption(mode="phrases")
