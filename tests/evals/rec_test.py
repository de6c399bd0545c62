"""Referring expressions: what counts as found, and which ones are asked."""

import numpy as np
import pytest

from kosmos2_jax.evals.rec import ReferringExpression
from kosmos2_jax.text.markup import Box

WHOLE = (0.0, 0.0, 1.0, 1.0)
HALF = (0.0, 0.0, 0.5, 1.0)


class FakePredictor:
  """Answers from a dict and remembers how it was asked."""

  def __init__(self, answers=None):
    self.answers = answers or {}
    self.asked = []

  def locate_batch(self, images, expressions, *, constrained):
    self.constrained = constrained
    assert len(images) == len(expressions)
    self.asked.append(list(expressions))
    return [
      [Box(box) for box in self.answers.get(text, [])] for text in expressions
    ]


def example(*pairs):
  return {
    "id": "0",
    "image": np.zeros((4, 4, 3), np.uint8),
    "expressions": [{"text": text, "box_xyxy": box} for text, box in pairs],
  }


def test_metrics_are_the_arithmetic_on_first_boxes():
  # IoU 1, exactly 1/2 (found), 1/4 (not), 0 (swapped corners), no box.
  predictor = FakePredictor(
    {
      "same": [WHOLE],
      "half": [HALF],
      "quarter": [(0.0, 0.0, 0.5, 0.5)],
      "swapped": [(1.0, 1.0, 0.0, 0.0)],
    }
  )
  texts = ["same", "half", "quarter", "swapped", "none"]
  result = ReferringExpression().run(
    predictor, [example((text, WHOLE)) for text in texts]
  )
  assert result.n == 5
  assert result.metrics == {
    "accuracy": 2 / 5,
    "mean_iou": (1 + 1 / 2 + 1 / 4) / 5,
    "without_box": 1 / 5,
  }
  assert result.counts["right"] == 2
  assert result.counts["without_box"] == 1


def test_the_constrained_protocol_is_asked_for_and_named():
  free, bound = ReferringExpression(), ReferringExpression(constrained=True)
  for task in (free, bound):
    fake = FakePredictor({"a": [WHOLE]})
    result = task.run(fake, [example(("a", WHOLE))])
    assert fake.constrained == task.constrained
    assert ("nothing but boxes" in result.protocol) == task.constrained


def test_only_the_first_box_counts():
  right_second = FakePredictor({"it": [(0.0, 0.0, 0.1, 0.1), WHOLE]})
  right_first = FakePredictor({"it": [WHOLE, (0.0, 0.0, 0.1, 0.1)]})
  examples = [example(("it", WHOLE))]
  run = ReferringExpression().run
  assert run(right_second, examples).metrics["accuracy"] == 0
  assert run(right_first, examples).metrics["accuracy"] == 1


def test_one_expression_of_each_picture_goes_round():
  examples = [
    example(*((f"{picture}{i}", WHOLE) for i in range(3))) for picture in "abcd"
  ]
  predictor = FakePredictor()
  result = ReferringExpression().run(predictor, examples, batch_size=3)
  assert predictor.asked == [["a0", "b1", "c2"], ["d0"]]
  assert result.n == 4
  predictor = FakePredictor()
  ReferringExpression(expressions_per_image=2).run(predictor, examples)
  assert predictor.asked == [["a0", "a1", "b1", "b2", "c2", "c0", "d0", "d1"]]
  predictor = FakePredictor()
  result = ReferringExpression(expressions_per_image=None).run(
    predictor, examples
  )
  assert result.n == 12


def test_result_does_not_depend_on_the_batch_size():
  examples = [example((str(i), WHOLE)) for i in range(7)]
  predictor = FakePredictor({"1": [WHOLE], "4": [HALF], "6": [WHOLE]})
  results = [
    ReferringExpression().run(predictor, examples, batch_size=size)
    for size in (1, 3, 100)
  ]
  assert {tuple(r.metrics.items()) for r in results} == {
    (("accuracy", 3 / 7), ("mean_iou", 2.5 / 7), ("without_box", 4 / 7))
  }


def test_pictures_without_expression_are_counted_not_scored():
  predictor = FakePredictor({"it": [WHOLE]})
  done = []
  result = ReferringExpression().run(
    predictor, [example(), example(("it", WHOLE))], on_batch=done.append
  )
  assert (result.n, result.metrics["accuracy"]) == (1, 1.0)
  assert result.counts["pictures"] == 2
  assert result.counts["pictures_without_expression"] == 1
  assert done == [2]


@pytest.mark.parametrize("examples", [[], [example()]])
def test_nothing_to_ask_is_an_error(examples):
  with pytest.raises(ValueError, match="referring expression"):
    ReferringExpression().run(FakePredictor(), examples)


def test_a_dataset_without_expressions_is_named():
  with pytest.raises(ValueError, match=r"needs 'expressions'.*caption"):
    ReferringExpression().run(FakePredictor(), [{"id": "7", "caption": "a"}])


def test_samples_are_the_first_ones_in_order():
  examples = [example((str(i), HALF)) for i in range(5)]
  result = ReferringExpression().run(
    FakePredictor({"0": [WHOLE, HALF]}), examples, num_samples=2, batch_size=2
  )
  first, second = result.samples
  assert first.lines == ("0", "IoU 0.50")
  assert [box.xyxy for box in first.predicted[0].boxes] == [WHOLE]
  assert [box.xyxy for box in first.annotated[0].boxes] == [HALF]
  assert second.lines == ("1", "no box")
  assert second.predicted[0].boxes == ()
