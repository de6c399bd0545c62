"""Average precision of scored boxes, against COCO's scorer called by hand."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from kosmos2_jax.evals.average_precision import PhraseAveragePrecision
from kosmos2_jax.text.markup import Box
from tests.evals import scripted
from tests.evals.rec_test import read_refcoco, write_refcoco
from tests.evals.scripted import ScriptedPredictor, boxes_text, run, values

# Twelve numbers of COCO's summary by their places.
SUMMARY = {
  "AP": 0,
  "AP50": 1,
  "AP75": 2,
  "AP_small": 3,
  "AP_medium": 4,
  "AP_large": 5,
  "AR": 8,
}


class FakePredictor:
  """Boxes with scores, by picture and text."""

  def __init__(self, answers):
    self.answers = answers

  def locate_batch(self, images, expressions, *, constrained):
    assert constrained
    return [
      [Box(*box) for box in self.answers.get((int(image[0, 0, 0]), text), [])]
      for image, text in zip(images, expressions, strict=True)
    ]


def example(number, *pairs, size=(100, 200), **fields):
  """A picture whose pixels say which it is; size is width and height."""
  width, height = size
  return {
    "id": str(number),
    "image": np.full((height, width, 3), number, np.uint8),
    "expressions": [
      {"text": text, "box_xyxy": box} | fields for text, box in pairs
    ],
  }


def coco(truth, found):
  """COCO's twelve numbers.

  Args:
    truth: image, category, box in pixels x1, y1, x2, y2.
    found: the same and a score.
  """

  def entry(number, image, category, box, *score):
    x1, y1, x2, y2 = box
    width, height = max(x2 - x1, 0), max(y2 - y1, 0)
    fields = {"id": number, "image_id": image, "category_id": category}
    fields |= {"bbox": [x1, y1, width, height], "area": width * height}
    return fields | {"iscrowd": 0} | ({"score": score[0]} if score else {})

  sides = []
  with contextlib.redirect_stdout(io.StringIO()):
    for rows in (truth, found):
      side = COCO()
      side.dataset = {
        "images": [{"id": i} for i in {row[0] for row in truth}],
        "categories": [{"id": i} for i in {row[1] for row in truth}],
        "annotations": [entry(i, *row) for i, row in enumerate(rows, start=1)],
      }
      side.createIndex()
      sides.append(side)
    evaluation = COCOeval(*sides, iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
  return evaluation.stats


def test_arithmetic_of_one_category():
  # Two pictures, three true boxes; found, best scored first: a true one (0.9),
  # a wrong one (0.8), a true one (0.7). Precision 1, 1/2, 2/3 at recalls 1/3,
  # 1/3, 2/3: of the 101 recalls 0.00 to 0.33 are 34 at 1, to 0.66 another 33
  # at 2/3, the rest 0. The boxes are exact, so all thresholds agree.
  left, right, low = (0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), (0, 0.5, 1, 1)
  examples = [
    example(1, ("cup", left), ("cup", right)),
    example(2, ("cup", low)),
  ]
  predictor = FakePredictor(
    {
      (1, "cup"): [(left, 0.9), (low, 0.8)],
      (2, "cup"): [(low, 0.7)],
    }
  )
  scores = run(PhraseAveragePrecision(), predictor, examples)
  expected = (34 * 1 + 33 * 2 / 3) / 101
  assert values(scores)["AP"] == pytest.approx(expected, rel=1e-12)
  assert values(scores)["AP50"] == pytest.approx(expected, rel=1e-12)
  assert values(scores)["AR"] == pytest.approx(2 / 3, rel=1e-12)
  assert scores.n == 2  # The two cups of the first picture are asked at once.
  assert scores.counts["true_boxes"] == 3
  np.testing.assert_allclose(scores.quality, [1 / 2, 1.0])


def random_case(seed):
  """Examples, answers, and the same as rows for COCO."""
  rng = np.random.default_rng(seed)
  texts = ["cup", "dog", "man", "sky"]
  examples, answers, truth, found = [], {}, [], []
  image = 0
  for number in range(1, 9):
    pairs = []
    size = (300, 200) if number % 2 else (90, 60)
    for category, text in enumerate(texts[: rng.integers(1, 5)], start=1):
      image += 1
      boxes = np.sort(rng.random((rng.integers(1, 4), 2, 2)), axis=1)
      boxes = boxes.reshape(-1, 4)
      pairs += [(text, tuple(box)) for box in boxes.tolist()]
      # Some near a true box, some anywhere, some twice, sometimes none.
      near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 0.02, (2, 4)).repeat(
        len(boxes), axis=0
      )
      wild = np.sort(rng.random((2, 2, 2)), axis=1).reshape(-1, 4)
      said = np.concatenate([near, wild])[: rng.integers(0, 9)]
      scores = rng.random(len(said))
      answers[number, text] = list(
        zip(map(tuple, said.tolist()), scores.tolist(), strict=True)
      )
      pixels = np.array([*size, *size])
      truth += [(image, category, box) for box in (boxes * pixels).tolist()]
      found += [
        (image, category, box, score)
        for box, score in zip((said * pixels).tolist(), scores, strict=True)
      ]
    examples.append(example(number, *pairs, size=size))
  return examples, answers, truth, found


@pytest.mark.parametrize("seed", range(3))
def test_all_numbers_are_those_of_coco(seed):
  examples, answers, truth, found = random_case(seed)
  scores = run(PhraseAveragePrecision(), FakePredictor(answers), examples)
  expected = coco(truth, found)
  assert list(scores.metrics) == list(SUMMARY)
  for name, place in SUMMARY.items():
    assert values(scores)[name] == pytest.approx(expected[place], rel=1e-12)
  # All texts as one category.
  task = PhraseAveragePrecision(categories="one")
  scores = run(task, FakePredictor(answers), examples)
  expected = coco(
    [(image, 1, box) for image, _, box in truth],
    [(image, 1, box, score) for image, _, box, score in found],
  )
  for name, place in SUMMARY.items():
    assert values(scores)[name] == pytest.approx(expected[place], rel=1e-12)


@pytest.mark.parametrize("categories", ["phrase", "one"])
def test_resampling_is_scoring_what_was_drawn(categories):
  examples, answers, _, _ = random_case(5)
  task = PhraseAveragePrecision(categories=categories)
  records = scripted.ask(task, FakePredictor(answers), examples)
  scores = task.score(records)
  everything = np.arange(len(records))
  rng = np.random.default_rng(0)
  for drawn in (everything, *rng.integers(0, len(records), (5, len(records)))):
    again = task.score([records[i] for i in drawn])
    for name, metric in scores.metrics.items():
      assert metric.numerators is None
      assert metric.resample(drawn) == pytest.approx(
        again.metrics[name].value, rel=1e-9
      )


def test_drawing_nothing_that_is_true_is_not_a_number():
  examples, answers, _, _ = random_case(5)
  task = PhraseAveragePrecision()
  scores = run(task, FakePredictor(answers), examples)
  assert np.isnan(scores.metrics["AP"].resample(np.zeros(0, np.int64)))


def test_a_text_of_a_picture_is_asked_once_with_all_its_boxes():
  left, right = (0, 0, 0.5, 1.0), (0.5, 0, 1.0, 1.0)
  item = example(1, ("cup", left), ("dog", left), ("cup", right), ("cup", left))
  questions = list(PhraseAveragePrecision().questions([item]))
  assert [q.ask["expression"] for q in questions] == ["cup", "dog"]
  assert questions[0].truth["boxes"] == [list(left), list(right)]
  assert {q.group for q in questions} == {"1"}


def test_boxes_of_chunks_are_read_as_captions_are():
  item = {
    "id": "3",
    "image": np.full((30, 40, 3), 3, np.uint8),
    "caption": "a cup and a cup",
    "noun_chunks": [
      {"start": 0, "end": 5, "box_xyxy": (0, 0, 0.5, 0.5), "score": 1.0},
      {"start": 10, "end": 15, "box_xyxy": (0.5, 0.5, 1.2, 1), "score": 0.7},
      {"start": 0, "end": 5, "box_xyxy": (0, 0, 1, 1), "score": 0.6},
      {"start": 0, "end": 5, "box_xyxy": (0.5, 0, 0.5, 1), "score": 1.0},
    ],
  }
  task = PhraseAveragePrecision(items="noun_chunks")
  [question] = task.questions([item])
  assert question.truth["boxes"] == [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]
  assert question.truth["left_out"] == 2
  assert question.truth["size"] == [40, 30]
  [question] = task.questions([item | {"width": 400, "height": 300}])
  assert question.truth["size"] == [400, 300]


@pytest.mark.parametrize(
  ("boxes", "expected"),
  [
    ([], 0.0),
    ([((0.5, 0.5, 0.0, 0.0), 0.9)], 0.0),  # Swapped corners.
    ([((2.0, 2.0, 3.0, 3.0), 0.9)], 0.0),  # Outside.
    # The wrong one is surer: precision 1/2 at all recalls.
    ([((2.0, 2.0, 3.0, 3.0), 0.9), ((0.0, 0.0, 0.5, 0.5), 0.1)], 0.5),
    ([((0.5, 0.5, 0.0, 0.0), 0.9), ((0.0, 0.0, 0.5, 0.5), 0.1)], 0.5),
    # Of equal scores the one that was written first comes first.
    ([((0.0, 0.0, 0.5, 0.5), 0.5), ((0.0, 0.0, 0.1, 0.1), 0.5)], 1.0),
    ([((0.0, 0.0, 0.1, 0.1), 0.5), ((0.0, 0.0, 0.5, 0.5), 0.5)], 0.5),
    # A true box is found once.
    ([((0.0, 0.0, 0.5, 0.5), 0.5), ((0.0, 0.0, 0.5, 0.5), 0.6)], 1.0),
  ],
)
def test_boxes_that_are_odd(boxes, expected):
  item = example(1, ("cup", (0.0, 0.0, 0.5, 0.5)))
  scores = run(
    PhraseAveragePrecision(), FakePredictor({(1, "cup"): boxes}), [item]
  )
  assert values(scores)["AP"] == pytest.approx(expected, abs=1e-12)
  assert scores.counts["without_box"] == (not boxes)
  for name, metric in scores.metrics.items():
    drawn = metric.resample(np.array([0, 0]))
    assert drawn == pytest.approx(values(scores)[name], abs=1e-12)


def test_sizes_that_no_true_box_has_are_left_out():
  item = example(1, ("cup", (0.0, 0.0, 0.1, 0.1)))  # 10 x 20 pixels.
  scores = run(PhraseAveragePrecision(), FakePredictor({}), [item])
  assert list(scores.metrics) == ["AP", "AP50", "AP75", "AP_small", "AR"]


def test_annotations_without_area_and_pictures_without_any_are_counted():
  nothing = example(1, ("cup", (0.5, 0.5, 0.5, 0.9)))
  some = example(2, ("cup", (0, 0, 1, 1)), ("dog", (0.5, 0.5, 0.4, 0.9)))
  scores = run(PhraseAveragePrecision(), FakePredictor({}), [nothing, some])
  assert scores.n == 1
  assert scores.counts["pictures_without_text"] == 1
  assert scores.counts["annotated_boxes_left_out"] == 2
  with pytest.raises(ValueError, match="no text of expressions"):
    run(PhraseAveragePrecision(), FakePredictor({}), [nothing])


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"items": "captions"}, "items must be one of"),
    ({"categories": "coco"}, "categories must be one of"),
    (
      {"items": "noun_chunks", "categories": "category"},
      "only expressions have categories",
    ),
  ],
)
def test_wrong_options(options, message):
  with pytest.raises(ValueError, match=message):
    PhraseAveragePrecision(**options)


def test_expressions_without_category_are_named():
  task = PhraseAveragePrecision(categories="category")
  item = example(1, ("cup", (0, 0, 1, 1)))
  with pytest.raises(ValueError, match="'cup' of example '1' has no category"):
    list(task.questions([item]))


def test_a_view_shows_scores():
  item = example(1, ("cup", (0, 0, 1, 1)), ("dog", (0, 0, 1, 1)))
  answers = {(1, "cup"): [((0, 0, 1, 0.5), 0.25), ((0, 0, 1, 1), 0.5)]}
  task = PhraseAveragePrecision()
  cup, dog = scripted.ask(task, FakePredictor(answers), [item])
  assert task.view(cup).lines == ("cup", "scores 0.25, 0.50")
  assert len(task.view(cup).predicted[0].boxes) == 2
  assert task.view(dog).lines == ("dog", "no box")


def test_a_miniature_of_refcoco(tmp_path):
  examples = list(read_refcoco(tmp_path, write_refcoco(tmp_path)))
  # The boxes of `rec_test`, with probabilities: of a box the product of its
  # two location tokens'.
  answers = {
    "Left cup!": (boxes_text((0, 36)), [0, -1, -1, 0]),
    "right cup": (boxes_text((0, 36), (4, 39)), [0, -2, -2, 0, -1, 0, 0]),
    "the table": (boxes_text((24, 63)), [0, 0, -3, 0]),
    "a cup": (boxes_text((9, 54)), [0, -1, -2, 0]),
  }
  predictor = ScriptedPredictor(
    {f"<grounding><phrase>{k}</phrase>": v for k, v in answers.items()}
  )
  task = PhraseAveragePrecision(categories="category")
  scores = run(task, predictor, examples)
  truth = [
    (1, 47, (0, 0, 32, 24)),
    (2, 47, (32, 0, 64, 24)),
    (3, 67, (0, 24, 64, 48)),
    (4, 47, (12, 16, 36, 48)),
  ]
  found = [
    (1, 47, (4, 3, 36, 27), np.exp(-2)),
    (2, 47, (4, 3, 36, 27), np.exp(-4)),
    (2, 47, (36, 3, 60, 27), np.exp(-1)),
    # Bins (0, 3) and (7, 7) of 8 x 8 pixels wide and 6 high.
    (3, 67, (4, 21, 60, 45), np.exp(-3)),
    (4, 47, (9, 12, 39, 52), np.exp(-3)),
  ]
  expected = coco(truth, found)
  for name, value in values(scores).items():
    assert value == pytest.approx(expected[SUMMARY[name]], rel=1e-12)
  # At IoU 0.5 all four are found, before the wrong one; at 0.75 none is, the
  # best is the table's: 56 x 21 of 64 x 24 + 56 x 24 - 56 x 21, 0.69.
  assert values(scores)["AP50"] == 1.0
  assert values(scores)["AP75"] == 0.0
  assert scores.categories["AP"].keys() == {"cup", "dining table"}
  assert scores.counts["boxes"] == 5
