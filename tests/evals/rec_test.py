"""Referring expressions: what counts as found, and which ones are asked."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from data.building import arguments as arguments_lib
from data.building.drops import DropReport
from data.refcoco.refcoco_builder import Refcoco
from kosmos2_jax.evals import rec
from kosmos2_jax.evals.rec import PUBLISHED, SIZES, ReferringExpression
from kosmos2_jax.text.markup import Box
from tests.evals import scripted
from tests.evals.scripted import ScriptedPredictor, boxes_text, run, values

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
      [box if isinstance(box, Box) else Box(box) for box in found]
      for found in (self.answers.get(text, []) for text in expressions)
    ]


def example(*pairs, **fields):
  return {
    "id": str(pairs),
    "image": np.zeros((4, 4, 3), np.uint8),
    "expressions": [{"text": text, "box_xyxy": box} for text, box in pairs],
  } | fields


def refer(text):
  return f"<grounding><phrase>{text}</phrase>"


def test_metrics_are_the_arithmetic_on_first_boxes():
  # IoU 1, exactly 1/2 (found), 1/4 (not), 0 (swapped corners), no box, and a
  # box that is twice as wide as the picture: 1 / 2, found.
  predictor = FakePredictor(
    {
      "same": [WHOLE],
      "half": [HALF],
      "quarter": [(0.0, 0.0, 0.5, 0.5)],
      "swapped": [(1.0, 1.0, 0.0, 0.0)],
      "outside": [(-0.5, 0.0, 1.5, 1.0)],
    }
  )
  texts = ["same", "half", "quarter", "swapped", "none", "outside"]
  scores = run(
    ReferringExpression(),
    predictor,
    [example((text, WHOLE)) for text in texts],
  )
  assert scores.n == 6
  assert values(scores) == {
    "accuracy": 3 / 6,
    "accuracy_best_scored": 3 / 6,
    "accuracy_any_box": 3 / 6,
    "mean_iou": (1 + 1 / 2 + 1 / 4 + 1 / 2) / 6,
    "without_box": 1 / 6,
  }
  assert next(iter(scores.metrics)) == "accuracy"
  assert scores.counts["right"] == 3
  assert scores.counts["without_box"] == 1
  np.testing.assert_array_equal(scores.quality, [1, 0.5, 0.25, 0, 0, 0.5])


@pytest.mark.parametrize(
  ("boxes", "first", "best", "any_box"),
  [
    ([(WHOLE, 0.9), ((0, 0, 0.1, 0.1), 0.1)], 1, 1, 1),
    ([((0, 0, 0.1, 0.1), 0.1), (WHOLE, 0.9)], 0, 1, 1),
    ([((0, 0, 0.1, 0.1), 0.9), (WHOLE, 0.1)], 0, 0, 1),
    # Of equal scores the one that was written first.
    ([(WHOLE, 0.5), ((0, 0, 0.1, 0.1), 0.5)], 1, 1, 1),
    ([((0, 0, 0.1, 0.1), 0.5), (WHOLE, 0.5)], 0, 0, 1),
    ([((0, 0, 0.1, 0.1), None), (WHOLE, 0.1)], 0, 1, 1),
    ([((0, 0, 0.1, 0.1), 0.5)], 0, 0, 0),
  ],
)
def test_first_best_scored_and_any_box(boxes, first, best, any_box):
  predictor = FakePredictor({"it": [Box(*box) for box in boxes]})
  found = values(
    run(ReferringExpression(), predictor, [example(("it", WHOLE))])
  )
  assert found["accuracy"] == first
  assert found["accuracy_best_scored"] == best
  assert found["accuracy_any_box"] == any_box


def test_the_protocol_is_asked_for_and_named():
  for name in ("original", "constrained"):
    task = ReferringExpression(protocol=name)
    fake = FakePredictor({"a": [WHOLE]})
    run(task, fake, [example(("a", WHOLE))])
    assert fake.constrained == (name == "constrained")
    assert task.protocol.startswith(f"{name}: ")
    assert ("nothing but boxes" in task.protocol) == fake.constrained
  with pytest.raises(ValueError, match="protocol must be one of"):
    ReferringExpression(protocol="free")
  with pytest.raises(ValueError, match="read_on is for the protocol"):
    ReferringExpression(protocol="constrained", read_on=True)


@pytest.mark.parametrize("text", ["ﬁsh", "two  spaces", "a < b", "½ egg"])
def test_what_the_tokenizer_changes_is_an_empty_box(text, real_tokenizer):
  answers = {
    refer(text): boxes_text((0, 1023)),
    refer("egg"): boxes_text((0, 1023)),
  }
  predictor = ScriptedPredictor(answers, real_tokenizer)
  examples = [example((text, WHOLE)), example((" egg ", WHOLE))]
  scores = run(ReferringExpression(), predictor, examples)
  assert values(scores)["accuracy"] == 1 / 2
  assert values(scores)["without_box"] == 1 / 2
  assert scores.counts["changed_by_tokenizer"] == 1
  # A constrained answer is one, whatever the words became.
  scores = run(ReferringExpression(protocol="constrained"), predictor, examples)
  assert values(scores)["accuracy"] == 1.0
  assert scores.counts["changed_by_tokenizer"] == 0


UNREADABLE = {
  "words": "a red circle",
  "half a box": "<object><patch_index_0000></object>",
  "three locations": "<object>" + "<patch_index_0000>" * 3 + "</object>",
  "never closed": "<object><patch_index_0000><patch_index_0063>",
  "no delimiter": "<object>" + "<patch_index_0000>" * 4 + "</object>",
  "empty": "",
  "empty list": "<object></object>",
  "behind a word": " it" + boxes_text((0, 63)),
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
def test_an_answer_that_cannot_be_read_is_an_empty_box(answer):
  predictor = ScriptedPredictor({refer("it"): answer})
  found = values(
    run(ReferringExpression(), predictor, [example(("it", WHOLE))])
  )
  assert (found["accuracy"], found["without_box"]) == (0.0, 1.0)


def test_reading_on_finds_the_same_expression_later():
  later = f"it is<phrase> it</phrase>{boxes_text((0, 63))}"
  other = f"it is<phrase> him</phrase>{boxes_text((0, 63))}"
  loose = f" it{boxes_text((0, 63))}"
  answers = {
    "it": later,
    "he": other,
    "she": loose,
    "they": boxes_text((0, 63)),
  }
  predictor = ScriptedPredictor({refer(k): v for k, v in answers.items()})
  examples = [example((text, WHOLE)) for text in answers]
  task = ReferringExpression(read_on=True)
  scores = run(task, predictor, examples, batch_size=4)
  # The box of 8 x 8 bins spans their centres: 7/8 x 7/8 of the picture.
  assert scores.quality.tolist() == [(7 / 8) ** 2, 0, 0, (7 / 8) ** 2]
  assert predictor.asked[1] == [refer(text) for text in ("it", "he", "she")]
  assert "read to their end" in task.protocol
  scores = run(ReferringExpression(), predictor, examples)
  assert scores.quality.tolist() == [0, 0, 0, (7 / 8) ** 2]


def test_one_expression_of_each_picture_goes_round():
  examples = [
    example(*((f"{picture}{i}", WHOLE) for i in range(3))) for picture in "abcd"
  ]
  predictor = FakePredictor()
  scores = run(ReferringExpression(), predictor, examples, batch_size=3)
  assert predictor.asked == [["a0", "b1", "c2"], ["d0"]]
  assert scores.n == 4
  task = ReferringExpression(expressions_per_image=2)
  asked = [question.ask["expression"] for question in task.questions(examples)]
  assert asked == ["a0", "a1", "b1", "b2", "c2", "c0", "d0", "d1"]
  task = ReferringExpression(expressions_per_image=None)
  questions = list(task.questions(examples))
  assert len(questions) == 12
  # Those of a picture follow each other, and the bootstrap draws pictures.
  assert [q.group for q in questions] == [
    e["id"] for e in examples for _ in "abc"
  ]


def test_result_does_not_depend_on_the_batch_size():
  examples = [example((str(i), WHOLE)) for i in range(7)]
  predictor = FakePredictor({"1": [WHOLE], "4": [HALF], "6": [WHOLE]})
  for size in (1, 3, 100):
    found = values(run(ReferringExpression(), predictor, examples, size))
    assert found["accuracy"] == 3 / 7
    assert found["mean_iou"] == 2.5 / 7
    assert found["without_box"] == 4 / 7


def test_pictures_without_expression_are_counted_not_scored():
  predictor = FakePredictor({"it": [WHOLE]})
  examples = [example(id="0"), example(id="1"), example(("it", WHOLE))]
  scores = run(ReferringExpression(), predictor, examples)
  assert (scores.n, values(scores)["accuracy"]) == (1, 1.0)
  assert scores.counts["pictures"] == 1
  assert scores.counts["pictures_without_expression"] == 2


@pytest.mark.parametrize("examples", [[], [example()]])
def test_nothing_to_ask_is_an_error(examples):
  with pytest.raises(ValueError, match="referring expression"):
    run(ReferringExpression(), FakePredictor(), examples)


def test_a_dataset_without_expressions_is_named():
  with pytest.raises(ValueError, match=r"needs 'expressions'.*caption"):
    list(ReferringExpression().questions([{"id": "7", "caption": "a"}]))


def test_views_show_the_first_box():
  task = ReferringExpression()
  examples = [example((str(i), HALF)) for i in range(2)]
  records = scripted.ask(task, FakePredictor({"0": [WHOLE, HALF]}), examples)
  first, second = map(task.view, records)
  assert first.lines == ("0", "IoU 0.50")
  assert [box.xyxy for box in first.predicted[0].boxes] == [WHOLE]
  assert [box.xyxy for box in first.annotated[0].boxes] == [HALF]
  assert second.lines == ("1", "no box")


def test_published_numbers_are_fractions_of_the_eight_splits():
  assert len(PUBLISHED) == 8
  assert PUBLISHED.keys() == SIZES.keys()
  [found] = ReferringExpression().published("refcoco+", "testA")
  assert (found.metric, found.value) == ("accuracy", 0.5073)
  assert ReferringExpression().published("shapes", "test") == ()


def test_another_number_of_expressions_is_noted(monkeypatch):
  task, fake = ReferringExpression(), FakePredictor()
  fields = {"dataset": "refcocog", "split": "val"}
  examples = [example((str(i), WHOLE), **fields) for i in range(3)]
  [note] = run(task, fake, examples).notes
  assert note.startswith("3 expressions; the val split of refcocog")
  assert "4896" in note
  monkeypatch.setitem(rec.SIZES, ("refcocog", "val"), 3)
  assert run(task, fake, examples).notes == ()
  # Data that does not tell what it is.
  unnamed = [example((str(i), WHOLE)) for i in range(3)]
  assert run(task, fake, unnamed).notes == ()
  monkeypatch.setattr(rec, "OTHER_VAL_SIZE", 3)
  assert "lmms-eval" in run(task, fake, unnamed).notes[0]


def write_refcoco(folder):
  """`finetune_refcoco_val.json` of two pictures and their folder."""
  pictures = folder / "pictures"
  pictures.mkdir()
  images, annotations = [], []
  rows = [  # Picture, size, expression, x y w h, category.
    (1, (64, 48), "Left cup!", [0, 0, 32, 24], 47),
    (1, (64, 48), "right cup", [32, 0, 32, 24], 47),
    (1, (64, 48), "the table", [0, 24, 64, 24], 67),
    (2, (48, 64), "a cup", [12, 16, 24, 32], 47),
  ]
  for number, (picture, (width, height), text, box, category) in enumerate(
    rows
  ):
    name = f"COCO_train2014_{picture:012d}.jpg"
    Image.new("RGB", (width, height)).save(pictures / name)
    images.append(
      {"file_name": name, "height": height, "width": width, "id": number}
      | {"original_id": picture, "caption": text, "dataset_name": "refcoco"}
      | {"tokens_negative": [[0, len(text)]]}
    )
    annotations.append(
      {"area": box[2] * box[3], "iscrowd": 0, "image_id": number}
      | {"category_id": category, "id": number, "bbox": box}
      | {"original_id": number, "tokens_positive": [[0, len(text)]]}
    )
  file = {"info": [], "licenses": [], "images": images}
  file |= {"annotations": annotations}
  file["categories"] = [
    {"supercategory": "", "id": 47, "name": "cup"},
    {"supercategory": "", "id": 67, "name": "dining table"},
  ]
  path = folder / "finetune_refcoco_val.json"
  path.write_text(json.dumps(file))
  return pictures


def read_refcoco(folder, pictures):
  """Examples as the evaluators get them."""
  arguments = arguments_lib.complete(
    Refcoco,
    {"dataset": "refcoco", "annotations": folder, "pictures": pictures},
  )
  [unit] = Refcoco.find("refcoco", folder, pictures)
  for record in Refcoco.read(unit, DropReport(), arguments):
    image = Image.open(io.BytesIO(record.features["image"]))
    yield record.features | {"image": np.asarray(image)}


def test_a_miniature_of_refcoco(tmp_path):
  examples = list(read_refcoco(tmp_path, write_refcoco(tmp_path)))
  # On a grid of 8 x 8 a box of bins spans their centres.
  # "Left cup!": bins (0, 0)-(4, 4): 1/16 to 9/16 of each side, in pixels
  #   4..36 x 3..27 = 32 x 24; with 0..32 x 0..24: 28 x 21 = 588 are shared,
  #   588 / (768 + 768 - 588) = 0.62: right.
  # "right cup": first the left one (no overlap: 4..36 and 32..64 share 4 x 21
  #   = 84; 84 / 1452 = 0.06), then the right one, bins (4, 0)-(7, 4): 36..60 x
  #   3..27 = 24 x 24, shared 24 x 21 = 504 of 768 + 576 - 504: 0.6, right, but
  #   only the second box.
  # "the table": no list of boxes.
  # "a cup": bins (1, 1)-(6, 6): 3/16 to 13/16: 9..39 x 12..52 = 1200 around
  #   12..36 x 16..48 = 768: 768 / 1200 = 0.64: right.
  answers = {
    "Left cup!": boxes_text((0, 36)),
    "right cup": boxes_text((0, 36), (4, 39)),
    "the table": "is brown",
    "a cup": boxes_text((9, 54)),
  }
  predictor = ScriptedPredictor({refer(k): v for k, v in answers.items()})
  scores = run(ReferringExpression(), predictor, examples)
  assert scores.n == 4
  found = values(scores)
  assert found["accuracy"] == 2 / 4
  assert found["accuracy_any_box"] == 3 / 4
  # All tokens are equally probable, so the first box is the best.
  assert found["accuracy_best_scored"] == 2 / 4
  assert found["without_box"] == 1 / 4
  expected = [588 / 948, 84 / 1452, 0, 768 / 1200]
  np.testing.assert_allclose(scores.quality, expected, rtol=1e-12)
  assert found["mean_iou"] == pytest.approx(sum(expected) / 4, rel=1e-12)
  assert scores.categories == {"accuracy": {"cup": 2 / 3, "dining table": 0.0}}
  assert scores.counts["pictures"] == 2  # Of the bootstrap, too.
  assert "of refcoco" in scores.notes[0]
