"""Expressions for boxes: the questions, the shots, and what is scored."""

import numpy as np
import pytest

from kosmos2_jax.evals import solved_examples
from kosmos2_jax.evals.expression_generation import ExpressionGeneration
from kosmos2_jax.evals.scoring import captions, coco_scorers, meteor
from kosmos2_jax.evals.scoring.java import JavaTrouble
from tests.evals import asking
from tests.evals.asking import FakePredictor, ask, picture

LEFT = (0.0, 0.0, 0.5, 1.0)
RIGHT = (0.5, 0.0, 1.0, 1.0)
PLACES = {  # on a grid of 8 x 8 bins
  LEFT: "<patch_index_0000><patch_index_0060>",
  RIGHT: "<patch_index_0004><patch_index_0063>",
}


@pytest.fixture(autouse=True)
def no_program(monkeypatch):
  """METEOR takes seconds to start: here its counts are those of lengths."""

  def score(references, answers):
    counts = np.zeros((len(answers), 23))
    counts[:, 0] = [len(answer.split()) for answer in answers]
    counts[:, 1] = [len(texts[0].split()) for texts in references]
    counts[:, 4:6] = counts[:, :2].min(-1, keepdims=True)
    counts[:, 20] = 1
    counts[:, 21:] = counts[:, 4:6]
    value = float(meteor.of_counts(meteor.total(counts)))
    return meteor.Meteor(value, counts)

  monkeypatch.setattr(meteor, "score", score)


def example(name, number, *pairs, file=None):
  """One of `data.refcoco`: expressions of a picture, each with its box."""
  found = {
    "id": name,
    "image": picture(number),
    "expressions": [{"text": text, "box_xyxy": box} for text, box in pairs],
  }
  return found | ({"image_file": file} if file else {})


# As in a split that is evaluated: a record for each expression, those of one
# thing one after the other; but the last one comes late.
EXAMPLES = [
  example("000000", 1, ("the man", LEFT), file="1.jpg"),
  example("000001", 1, ("a man in red", LEFT), file="1.jpg"),
  example("000002", 1, ("the dog", RIGHT), file="1.jpg"),
  example("000003", 2, ("a big cat", LEFT), file="2.jpg"),
  example("000004", 1, ("the brown dog", RIGHT), file="1.jpg"),
]
SUPPORT = [
  example("a", 11, ("the kite", LEFT), ("a red kite.", RIGHT), file="11.jpg"),
  example("b", 12, ("the cup ", RIGHT), file="12.jpg"),
  example("c", 13, ("<image>", RIGHT), file="13.jpg"),
  example("d", 14, file="14.jpg"),
  example("e", 1, ("himself", LEFT), file="1.jpg"),
  example("f", 15, ("the boat", LEFT), file="15.jpg"),
]


def answer(prompt, images):
  return {1: "a man in red.", 2: "the cat"}[images[-1][0, 0, 0]]


def test_a_question_for_each_thing():
  predictor = FakePredictor(answer)
  task = ExpressionGeneration()
  records = ask(task, predictor, EXAMPLES)
  assert [record.id for record in records] == [
    "000000-0",
    "000002-0",
    "000003-0",
    "000004-0",
  ]
  assert [record.truth["expressions"] for record in records] == [
    ["the man", "a man in red"],
    ["the dog"],
    ["a big cat"],
    ["the brown dog"],
  ]
  assert [record.group for record in records] == ["1.jpg"] * 2 + [
    "2.jpg",
    "1.jpg",
  ]
  assert sorted(set(predictor.prompts)) == [
    f"<image><grounding><phrase>It</phrase><object>{place}</object> is"
    for place in PLACES.values()
  ]
  assert predictor.options[0] == {
    "num_beams": 1,
    "max_new_tokens": 64,
    "no_repeat_ngram_size": None,
  }


def test_an_example_that_knows_all_expressions_is_asked_about_once():
  man, dog = ["the man", "a man in red"], ["the dog", "the brown dog"]
  order = [(0, man), (2, dog), (1, man), (4, dog)]
  found = [EXAMPLES[i] | {"same_box": texts} for i, texts in order]
  questions = list(ExpressionGeneration().questions(found))
  assert [q.id for q in questions] == ["000000-0", "000002-0"]
  assert [q.truth["expressions"] for q in questions] == [man, dog]
  # The first of many has them all, too.
  [question] = ExpressionGeneration().questions(found[:1])
  assert question.truth["expressions"] == man
  # Of several boxes nobody knows which it would be.
  both = example("7", 1, ("a", LEFT), ("b", RIGHT)) | {"same_box": ["c"]}
  questions = list(ExpressionGeneration().questions([both]))
  assert [q.truth["expressions"] for q in questions] == [["a"], ["b"]]


def test_things_of_one_record_are_told_apart():
  pairs = [("a", LEFT), ("b", RIGHT), ("c", LEFT)]
  questions = list(ExpressionGeneration().questions([example("7", 1, *pairs)]))
  assert [q.id for q in questions] == ["7-0", "7-1"]
  assert [q.truth["expressions"] for q in questions] == [["a", "c"], ["b"]]
  assert {q.group for q in questions} == {"7"}


def test_scores_are_over_things_by_their_first_answer():
  task = ExpressionGeneration()
  records = ask(task, FakePredictor(answer), EXAMPLES)
  scores = task.score(records)
  # The dog was asked about twice: both expressions are its references.
  expected = captions.score(
    [
      ["the man", "a man in red"],
      ["the dog", "the brown dog"],
      ["a big cat"],
    ],
    ["a man in red.", "a man in red.", "the cat"],
    ["cider", "meteor"],
  )
  assert scores.n == 3
  assert scores.counts["asked_again"] == 1
  assert scores.counts["references"] == 5
  assert list(scores.metrics) == ["cider", "meteor"]
  for name, metric in scores.metrics.items():
    assert metric.value == expected.metrics[name].value
  cider = scores.metrics["cider"]
  np.testing.assert_array_equal(cider.denominators, [1, 1, 1, 0])
  assert 100 * cider.numerators.sum() / 3 == pytest.approx(cider.value)
  assert cider.numerators[3] == 0
  np.testing.assert_array_equal(
    scores.quality, expected.quality[np.array([0, 1, 2, 1])]
  )
  # Records drawn with repetition are things drawn so.
  drawn = scores.metrics["meteor"].resample(np.array([2, 3, 0, 0]))
  assert drawn == expected.metrics["meteor"].resample(np.array([2, 0, 0]))


def shots_of(task, examples=EXAMPLES):
  return [
    (question.ask["shots"], [image[0, 0, 0] for image in question.images])
    for question in task.questions(examples)
  ]


def test_solved_examples_come_first():
  task = ExpressionGeneration(shots=2).with_support(SUPPORT)
  predictor = FakePredictor(answer)
  records = ask(task, predictor, EXAMPLES)
  assert [record.answer["text"] for record in records][2] == "the cat"
  stops = {"the kite": ".", "a red kite.": "", "the cup": ".", "the boat": "."}
  for (shots, numbers), question in zip(
    shots_of(task), task.questions(EXAMPLES), strict=True
  ):
    assert len(shots) == 2
    assert len(numbers) == 3
    # Never the picture that is asked about, nor what has nothing to show.
    assert set(numbers[:2]) <= {11, 12, 15} | ({1} - {numbers[2]})
    assert len(set(numbers)) == 3
    prompt = ""
    for shot in shots:
      place = PLACES[tuple(shot["box"])]
      text = shot["text"] + {**stops, "himself": "."}[shot["text"]]
      prompt += (
        "<image><grounding><phrase>It</phrase><object>"
        f"{place}</object> is {text}"
      )
    assert question.truth["box"] in ([*LEFT], [*RIGHT])
    place = PLACES[tuple(question.truth["box"])]
    prompt += (
      f"<image><grounding><phrase>It</phrase><object>{place}</object> is"
    )
    assert prompt in predictor.prompts


def test_shots_depend_on_the_seed_and_the_question_alone():
  many = [
    example(f"s{i}", i, (f"thing {i}", LEFT), file=f"s{i}.jpg")
    for i in range(20, 90)
  ]
  task = ExpressionGeneration(shots=4, pool=60).with_support(many)
  all_shots = shots_of(task)
  assert all_shots == shots_of(task)
  assert shots_of(task, EXAMPLES[3:]) == all_shots[2:]
  assert len({str(shots) for shots in all_shots}) == len(all_shots)
  other = ExpressionGeneration(shots=4, pool=60, seed=1).with_support(many)
  assert shots_of(other) != all_shots
  # The pool is the first pictures, and no more are read.
  assert all(n < 80 for _, numbers in all_shots for n in numbers)
  stream = iter(many)
  ExpressionGeneration(shots=1, pool=3).with_support(stream)
  assert next(stream)["id"] == "s23"


def test_support_that_is_missing_or_too_small():
  task = ExpressionGeneration(shots=2)
  with pytest.raises(ValueError, match=r"call with_support.*'train'"):
    next(task.questions(EXAMPLES))
  with pytest.raises(ValueError, match="found 2: choose another split"):
    task.with_support(SUPPORT[:4])
  # The evaluator itself stays as it is.
  task.with_support(SUPPORT)
  with pytest.raises(ValueError, match="call with_support"):
    next(task.questions(EXAMPLES))


@pytest.mark.parametrize(
  ("said", "text", "ran_on"),
  [
    ("a man in red. He runs.", "a man in red. He runs.", False),
    ("a man.<image><grounding> It is a dog", "a man.", True),
    ("a man.<grounding><phrase>It</phrase> is a dog", "a man.", True),
    ("<phrase> a man</phrase> in red", "a man in red", False),
    ("", "", False),
  ],
)
def test_what_of_the_answer_counts(said, text, ran_on):
  predictor = FakePredictor(lambda prompt, images: said, finished=False)
  task = ExpressionGeneration()
  records = ask(task, predictor, EXAMPLES[:3])
  for record in records:
    assert record.answer["text"] == text
    assert record.answer["ran_on"] == ran_on
    assert record.answer["finished"] == ran_on
  counts = task.score(records).counts
  assert counts["ran_on"] == 2 * ran_on
  assert counts["unfinished"] == 2 * (not ran_on)
  assert counts["empty"] == 2 * (not text)


def test_a_full_stop_is_nothing_and_a_second_sentence_is_words():
  def cider(said):
    predictor = FakePredictor(lambda prompt, images: said)
    task = ExpressionGeneration()
    return task.score(ask(task, predictor, EXAMPLES)).metrics["cider"].value

  assert cider("a man in red.") == cider("a man in red") > 0
  assert cider("a man in red. He runs.") < cider("a man in red")


def test_what_is_said_of_it():
  assert "no solved example, greedy" in ExpressionGeneration().protocol
  protocol = ExpressionGeneration(shots=4, seed=3).protocol
  assert "4 solved examples" in protocol
  assert "64 pictures of train with seed 3" in protocol
  task = ExpressionGeneration()
  [record, *_] = ask(task, FakePredictor(answer), EXAMPLES)
  view = task.view(record)
  assert view.predicted[0].boxes[0].xyxy == LEFT
  assert view.lines == ("a man in red.", "true: the man", "true: a man in red")
  [note] = task.score([record]).notes[:1]
  assert "2,573 (RefCOCOg val) or 5,023 (RefCOCOg test)" in note


def test_what_is_published():
  def published(shots):
    found = ExpressionGeneration(shots=shots).published("refcocog", "test")
    return [(p.metric, p.value) for p in found]

  assert published(0) == [("meteor", 12.2), ("cider", 60.3)]
  assert published(2) == [("meteor", 13.8), ("cider", 62.2)]
  assert published(4)[:2] == [("meteor", 14.1), ("cider", 62.2)]
  assert published(4)[2:] == [("cider", 62.3)]
  assert published(1) == []
  assert ExpressionGeneration().published("refcoco", "val") == ()


def test_without_meteor_cider_goes_on(monkeypatch):
  def score(*args):
    raise JavaTrouble("no Java.")

  monkeypatch.setattr(meteor, "score", score)
  task = ExpressionGeneration()
  scores = task.score(ask(task, FakePredictor(answer), EXAMPLES))
  assert list(scores.metrics) == ["cider"]
  assert "METEOR is left out: no Java." in scores.notes


def test_what_cannot_be_asked(monkeypatch):
  with pytest.raises(ValueError, match="needs 'expressions'"):
    list(ExpressionGeneration().questions([{"id": "a", "image": picture(0)}]))
  with pytest.raises(ValueError, match="no answer to score"):
    ExpressionGeneration().score([])

  def require():
    raise ModuleNotFoundError("pip install")

  monkeypatch.setattr(coco_scorers, "require", require)
  with pytest.raises(ModuleNotFoundError, match="pip install"):
    next(ExpressionGeneration().questions(EXAMPLES))


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    ({"shots": -1}, "shots and seed are 0 or more"),
    ({"seed": -1}, "shots and seed are 0 or more"),
    ({"num_beams": 0}, "num_beams and max_new_tokens 1 or more"),
    ({"shots": 4, "pool": 4}, "pool is more than shots"),
  ],
)
def test_options_that_make_no_sense(options, sentence):
  with pytest.raises(ValueError, match=sentence):
    ExpressionGeneration(**options)


@pytest.mark.slow
def test_a_real_predictor_answers_and_the_context_is_looked_at():
  predictor = asking.tiny_predictor()
  task = ExpressionGeneration(shots=2, max_new_tokens=5).with_support(SUPPORT)
  records = ask(task, predictor, EXAMPLES, batch_size=4)
  assert task.score(records).n == 3
  questions = list(task.questions(EXAMPLES))
  # The pictures of the examples, and their words, reach the model.
  rows = list(
    predictor._rows(
      [solved_examples.write_prompt(q.ask, num_bins=4) for q in questions],
      [list(q.images) for q in questions],
      5,
    )
  )
  slots = predictor.model.resampler.num_latents
  assert {len(row.images) for row in rows} == {3}
  assert {sum(row.image_mask) for row in rows} == {3 * slots}
  longest = max(len(row.tokens) for row in rows)
  short = asking.tiny_predictor(max_length=longest + 4)
  with pytest.raises(ValueError, match="tokens with its pictures"):
    task.ask(short, questions)
  fits = asking.tiny_predictor(max_length=longest + 5)
  assert len(task.ask(fits, questions)) == 4
