"""POPE: how answers are read, and what is counted of them."""

import pytest

from kosmos2_jax.evals.pope import ObjectHallucination
from kosmos2_jax.predictor import Predictor
from tests.evals.question_samples import (
  TOKENIZER,
  FakePredictor,
  check_parts,
  metrics,
  picture,
  records,
)
from tests.generation.samples import small_model, small_sizes


def ask(thing):
  return f"Is there a {thing} in the image?"


def example(number, thing, label):
  return {
    "id": str(number),
    "image": picture(number // 6),
    "question": ask(thing),
    "label": label,
  }


# Label and answer: 3 true yes, 1 false no, 2 true no, 2 false yes.
THINGS = [
  ("dog", "yes", "yes"),
  ("cat", "yes", "Yes, there is."),
  ("bed", "yes", "There is a bed."),  # neither word: yes
  ("cup", "yes", "no"),
  ("car", "no", "No, there is none."),
  ("bus", "no", "There is not a bus in it. Yes."),
  ("sea", "no", "yes"),
  ("tie", "no", ""),  # nothing: yes
]
EXAMPLES = [example(i, t, label) for i, (t, label, _) in enumerate(THINGS)]
WRITTEN = {ask(thing): text for thing, _, text in THINGS}


def test_scores_are_the_arithmetic():
  task = ObjectHallucination()
  scores = task.score(records(task, FakePredictor(WRITTEN), EXAMPLES))
  assert scores.n == 8
  assert list(scores.metrics) == [
    "accuracy",
    "precision",
    "recall",
    "f1",
    "yes_rate",
  ]
  precision, recall = 3 / 5, 3 / 4
  assert metrics(scores) == pytest.approx(
    {
      "accuracy": 100 * 5 / 8,
      "precision": 100 * precision,
      "recall": 100 * recall,
      "f1": 100 * 2 * precision * recall / (precision + recall),
      "yes_rate": 100 * 5 / 8,
    }
  )
  check_parts(scores)
  f1 = scores.metrics["f1"]
  # 2 TP / (2 TP + FP + FN) = 6 / 9.
  assert (f1.numerators.sum(), f1.denominators.sum()) == (6, 9)
  assert scores.counts == {
    "true_yes": 3,
    "false_yes": 2,
    "true_no": 2,
    "false_no": 1,
    "unreadable": 2,
    "empty_answers": 1,
  }
  assert scores.categories == {"accuracy": {"label: yes": 75, "label: no": 50}}
  assert scores.quality.tolist() == [1, 1, 1, 0, 1, 1, 0, 0]


def test_only_the_words_themselves_are_read_exactly():
  task = ObjectHallucination(reading="exact")
  scores = task.score(records(task, FakePredictor(WRITTEN), EXAMPLES))
  # Read: yes for the dog and the sea, no for the cup; the others are wrong.
  assert metrics(scores) == pytest.approx(
    {
      "accuracy": 100 * 1 / 8,
      "precision": 100 * 1 / 2,
      "recall": 100 * 1 / 4,
      "f1": 100 * 2 / (2 + 1 + 3),
      "yes_rate": 100 * 2 / 8,
    }
  )
  check_parts(scores)
  assert scores.counts["unreadable"] == 5
  assert scores.counts["false_no"] == 1


@pytest.mark.parametrize(
  ("text", "published", "exact"),
  [
    ("yes", "yes", "yes"),
    ("no", "no", "no"),
    ("Yes.", "yes", "yes"),
    ("No!", "yes", "no"),  # no word of the published list
    ("NO", "yes", "no"),
    ('"no"', "yes", "no"),
    ("no, it is", "no", None),
    ("No,", "no", "no"),
    ("there is no dog", "no", None),
    ("it is not", "no", None),
    ("not", "no", None),
    ("Not at all", "yes", None),
    ("nothing", "yes", None),
    ("yes. no", "yes", None),
    ("it is. Not.", "yes", None),
    ("no\tdog", "yes", None),  # cut at spaces alone
    ("no</line>yes", "no", "no"),
    ("yes Question: no", "yes", "yes"),
    ("是", "yes", None),
    ("", "yes", None),
    ("...", "yes", None),
  ],
)
def test_how_an_answer_is_read(text, published, exact):
  for reading, wanted in (("published", published), ("exact", exact)):
    task = ObjectHallucination(reading=reading)
    fake = FakePredictor({ask("dog"): text})
    [record] = records(task, fake, [example(0, "dog", "yes")])
    assert task._read(record) == wanted


def test_the_published_reading_is_that_of_the_script():
  # The script, in its order: first sentence, no commas, cut at spaces.
  def script(text):
    sentence = text.split(".")[0] if "." in text else text
    words = sentence.replace(",", "").split(" ")
    found = [word for word in ("No", "not", "no") if word in words]
    return "no" if found else "yes"

  texts = [text for _, _, text in THINGS]
  texts += ["No.no", ".no", "no.", "a no, b", "a,no", "n,o", "No no", "N.o"]
  task = ObjectHallucination()
  for text in texts:
    fake = FakePredictor({ask("dog"): text})
    [record] = records(task, fake, [example(0, "dog", "no")])
    assert task._read(record) == script(text.strip()), text


def test_all_answers_alike():
  task = ObjectHallucination()
  written = {ask(thing): "no" for thing, *_ in THINGS}
  scores = task.score(records(task, FakePredictor(written), EXAMPLES))
  # Nobody said yes: there is nothing to be precise about.
  assert metrics(scores) == {
    "accuracy": 50,
    "precision": 0,
    "recall": 0,
    "f1": 0,
    "yes_rate": 0,
  }
  check_parts(scores)
  only_no = [e for e in EXAMPLES if e["label"] == "no"]
  scores = task.score(records(task, FakePredictor(written), only_no))
  assert metrics(scores)["accuracy"] == 100
  assert metrics(scores)["recall"] == 0
  assert scores.categories == {"accuracy": {"label: no": 100}}
  with pytest.raises(ValueError, match="there is no question"):
    task.score([])


def test_by_likelihood_the_more_probable_word_counts():
  task = ObjectHallucination(mode="likelihood")
  fake = FakePredictor(
    log_probs={
      (ask("dog"), "yes"): [-1.0],
      (ask("dog"), "no"): [-1.5],
      (ask("cat"), "yes"): [-1.0, -3.0],  # a mean of -2
      (ask("cat"), "no"): [-2.5],
      (ask("bed"), "yes"): [-0.7],
      (ask("bed"), "no"): [-0.7],  # equal: yes
      (ask("cup"), "yes"): [-3.0],
      (ask("cup"), "no"): [-0.1],
    }
  )
  found = records(task, fake, EXAMPLES[:4])
  assert [task._read(record) for record in found] == ["yes"] * 3 + ["no"]
  scores = task.score(found)
  assert metrics(scores)["accuracy"] == 75
  assert (scores.counts["unreadable"], scores.counts["empty_answers"]) == (0, 0)
  # Both words of a question follow each other.
  assert fake.asked[0] == fake.asked[1]
  assert "'yes' and 'no'" in task.protocol
  assert task.view(found[3]).lines == (
    ask("cup"),
    "answer: no",
    "label: yes",
  )


def test_prompts_and_decoding():
  task = ObjectHallucination(grounded=True, max_new_tokens=3)
  fake = FakePredictor(WRITTEN)
  [record] = records(task, fake, EXAMPLES[7:])
  assert fake.asked == [(f"<grounding>Question: {ask('tie')} Answer:", 1)]
  assert fake.max_new_tokens == 3
  assert "at most 3 tokens" in task.protocol
  assert task.view(record).lines == (
    ask("tie"),
    "answer: (nothing) = yes",
    "label: no",
  )
  groups = [q.group for q in task.questions(EXAMPLES)]
  assert len(set(groups)) == 2


def test_what_makes_no_sense():
  for options, message in (
    ({"mode": "guess"}, "mode must be one of"),
    ({"reading": "strict"}, "reading must be one of"),
    ({"words": ["yes"]}, "words must be two"),
    ({"words": "yn"}, "words must be two"),
    ({"words": ["yes", ""]}, "words must be two"),
    ({"max_new_tokens": 0}, "at least 1"),
  ):
    with pytest.raises(ValueError, match=message):
      ObjectHallucination(**options)
  with pytest.raises(ValueError, match="that of '0' is 'maybe'"):
    list(ObjectHallucination().questions([example(0, "dog", "maybe")]))
  with pytest.raises(ValueError, match="needs 'label'"):
    list(ObjectHallucination().questions([{"id": "0"}]))


@pytest.mark.slow
def test_with_a_model():
  predictor = Predictor(*small_model(small_sizes(TOKENIZER)), TOKENIZER)
  for mode in ("generate", "likelihood"):
    task = ObjectHallucination(mode=mode, max_new_tokens=4)
    found = records(task, predictor, EXAMPLES)
    alone = records(task, predictor, EXAMPLES, batch_size=1)
    assert [task._read(r) for r in found] == [task._read(r) for r in alone]
    scores = task.score(found)
    assert scores.n == 8
    check_parts(scores)
