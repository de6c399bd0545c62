"""VQAv2 as a task: prompts, where answers end, choices, the server's file."""

import json

import pytest

from kosmos2_jax.evals.vqa import VisualQuestionAnswering
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


def example(number, question, answers, **changes):
  return {
    "id": str(number),
    "image": picture(number // 1000),
    "question": question,
    "answers": answers,
    "answer_type": "other",
    "question_type": "what is",
  } | changes


EXAMPLES = [
  # All ten agree; case and marks count then.
  example(1000, "Is it day?", ["yes"] * 10, answer_type="yes/no"),
  example(1001, "Is it night?", ["yes"] * 10, answer_type="yes/no"),
  # Three of ten: 0.9. Two: 0.6.
  example(1002, "What is it?", ["net"] * 3 + ["a ball"] * 7),
  example(2000, "How many?", ["2"] * 8 + ["two"] * 2, answer_type="number"),
  example(2001, "What?", ["dont know"] * 2 + list("bcdefghi")),
  example(3000, "Who?", ["a man"] * 5 + ["man"] * 5, question_type="who is"),
]
WRITTEN = {
  "Is it day?": "yes",
  "Is it night?": "Yes.",
  "What is it?": "net</line>Is it?",
  "How many?": "two. Question: How many more? Answer: none",
  "What?": "Don't know",
  "Who?": "",
}
# 1, 0 (nothing is normalised), 0.9, 1, 0.6, 0 of 6.
ACCURACY = [1, 0, 0.9, 1, 0.6, 0]


def test_scores_are_the_arithmetic():
  task = VisualQuestionAnswering()
  fake = FakePredictor(WRITTEN)
  found = records(task, fake, EXAMPLES)
  scores = task.score(found)
  assert scores.n == 6
  assert list(scores.metrics) == ["accuracy", "accuracy_always_normalised"]
  assert metrics(scores) == pytest.approx(
    {
      "accuracy": 100 * 3.5 / 6,
      # "Yes." counts; nothing else changes.
      "accuracy_always_normalised": 100 * 4.5 / 6,
    }
  )
  check_parts(scores)
  assert scores.metrics["accuracy"].numerators.tolist() == pytest.approx(
    ACCURACY
  )
  assert scores.quality.tolist() == pytest.approx(ACCURACY)
  assert scores.counts == {
    "questions": 6,
    "empty_answers": 1,
    "cut_off": 0,
    "without_truth": 0,
  }
  assert scores.categories == {
    "accuracy": pytest.approx(
      {
        "answer: other": 100 * (0.9 + 0.6 + 0) / 3,
        "answer: yes/no": 50,
        "answer: number": 100,
        "question: what is": 100 * 3.5 / 5,
        "question: who is": 0,
      }
    )
  }
  # The largest first.
  assert list(scores.categories["accuracy"])[:2] == [
    "answer: other",
    "answer: yes/no",
  ]


@pytest.mark.parametrize("grounded", [False, True])
def test_prompts_and_decoding(grounded):
  task = VisualQuestionAnswering(grounded=grounded, max_new_tokens=7)
  fake = FakePredictor(WRITTEN)
  records(task, fake, EXAMPLES[-1:])
  prefix = "<grounding>" if grounded else ""
  assert fake.asked == [(f"{prefix}Question: Who? Answer:", 3)]
  assert fake.max_new_tokens == 7
  assert f"prompt {prefix}Question: {{q}} Answer:" in task.protocol
  assert "at most 7 tokens" in task.protocol


@pytest.mark.parametrize(
  ("written", "answer"),
  [
    ("yes", "yes"),
    (" yes </line></line>no", "yes"),
    ("</line>yes</line>no", "yes"),
    ("yes\nno", "yes"),
    ("yes Question: Why?", "yes"),
    ("Question: Why? Answer: so", ""),
    ("a question: yes", "a question: yes"),
    ("The Answer: yes", "The Answer: yes"),
    (
      "<phrase>a dog</phrase><object><patch_index_0000><patch_index_0005>"
      "</object> runs",
      "a dog runs",
    ),
    ("<phrase>a</line>dog</phrase>", "a"),
    ("", ""),
    ("</line>", ""),
    ("一只猫。", "一只猫。"),
  ],
)
def test_where_an_answer_ends(written, answer):
  task = VisualQuestionAnswering()
  asked = [example(1, "Who?", ["x"] * 10)]
  [record] = records(task, FakePredictor({"Who?": written}), asked)
  [line] = json.loads(task.files([record])["vqa_results.json"])
  assert line == {"question_id": 1, "answer": answer}
  assert task.score([record]).counts["empty_answers"] == (not answer)


def test_questions_about_one_picture_are_one_group():
  questions = list(VisualQuestionAnswering().questions(EXAMPLES))
  groups = [q.group for q in questions]
  assert groups[0] == groups[1] == groups[2]
  assert groups[3] == groups[4]
  assert len(set(groups)) == 3
  assert [q.id for q in questions] == [e["id"] for e in EXAMPLES]
  # As many pixels of another shape are another picture.
  flat = EXAMPLES[0]["image"].reshape(2, 8, 3)
  [other] = VisualQuestionAnswering().questions([EXAMPLES[0] | {"image": flat}])
  assert other.group != groups[0]


def test_a_question_that_speaks_of_answers():
  question = "What is the Answer: yes or no?"
  task = VisualQuestionAnswering()
  fake = FakePredictor({question: "yes"})
  found = records(task, fake, [example(1, question, ["yes"] * 10)])
  assert fake.asked[0][0] == f"Question: {question} Answer:"
  assert metrics(task.score(found))["accuracy"] == 100


def test_a_split_without_answers_is_written_for_the_server():
  task = VisualQuestionAnswering()
  asked = [dict(e, answers=[], answer_type="") for e in EXAMPLES]
  found = records(task, FakePredictor(WRITTEN), asked)
  scores = task.score(found)
  assert (scores.n, scores.metrics) == (6, {})
  assert scores.counts["without_truth"] == 6
  [note] = scores.notes
  assert "visualqa.org" in note
  text = task.files(found)["vqa_results.json"]
  assert json.loads(text) == [
    {"question_id": 1000, "answer": "yes"},
    {"question_id": 1001, "answer": "Yes."},
    {"question_id": 1002, "answer": "net"},
    {"question_id": 2000, "answer": "two."},
    {"question_id": 2001, "answer": "Don't know"},
    {"question_id": 3000, "answer": ""},
  ]
  # Ids that are no numbers are none of the server's.
  assert task.files([found[0]._replace(id="a1")]) == {}


def test_questions_without_answers_do_not_count():
  task = VisualQuestionAnswering()
  asked = [*EXAMPLES[:2], dict(EXAMPLES[2], answers=[])]
  scores = task.score(records(task, FakePredictor(WRITTEN), asked))
  assert scores.n == 2
  assert metrics(scores)["accuracy"] == 50
  assert scores.counts["without_truth"] == 1
  check_parts(scores)
  with pytest.raises(ValueError, match="there is no question"):
    task.score([])


CHOICES = {
  ("What is it?", "net"): [-1.0],
  # A smaller sum and a larger mean.
  ("What is it?", "a ball"): [-0.6, -0.6],
  ("What is it?", "cat"): [-0.6],
}


@pytest.mark.parametrize(
  ("length", "choices", "chosen"),
  [
    ("mean", ["net", "a ball"], "a ball"),
    ("sum", ["net", "a ball"], "net"),
    ("mean", ["cat", "a ball"], "cat"),  # equal: the first
    ("mean", ["a ball", "cat"], "a ball"),
  ],
)
def test_the_most_probable_choice_is_the_answer(length, choices, chosen):
  task = VisualQuestionAnswering(
    mode="choices", candidates=["net"], length=length
  )
  fake = FakePredictor(log_probs=CHOICES)
  # Its own choices go first; another has the candidates.
  own = dict(EXAMPLES[2], multiple_choices=choices)
  other = dict(EXAMPLES[2], id="9", multiple_choices=[])
  found = records(task, fake, [own, other])
  assert [record.answer["text"] for record in found] == [chosen, "net"]
  assert len(fake.asked) == len(choices) + 1
  lines = json.loads(task.files(found)["vqa_results.json"])
  assert lines[0] == {"question_id": 1002, "answer": chosen}
  assert f"by the {length} of" in task.protocol
  wanted = 0.9 if chosen == "net" else 1.0 if chosen == "a ball" else 0.0
  assert task.score(found).quality[0] == pytest.approx(wanted)


def test_options_that_make_no_sense():
  for options, message in (
    ({"mode": "guess"}, "mode must be one of"),
    ({"length": "max"}, "length must be one of"),
    ({"candidates": ["yes"]}, 'are for mode="choices"'),
    ({"mode": "choices", "candidates": "yes"}, "list of answers"),
    ({"mode": "choices", "candidates": [" "]}, "list of answers"),
    ({"max_new_tokens": 0}, "at least 1"),
  ):
    with pytest.raises(ValueError, match=message):
      VisualQuestionAnswering(**options)


def test_examples_that_lack_something():
  def ask(task, **changes):
    asked = {k: v for k, v in (EXAMPLES[0] | changes).items() if v is not None}
    return list(task.questions([asked]))

  open_task = VisualQuestionAnswering()
  for name in ("question", "answers", "image"):
    with pytest.raises(ValueError, match=f"needs '{name}'"):
      ask(open_task, **{name: None})
  with pytest.raises(ValueError, match="needs words in 'question'"):
    ask(open_task, question=" ")
  with pytest.raises(ValueError, match=r"choose from for question '1000'"):
    ask(VisualQuestionAnswering(mode="choices"))


def test_published_numbers_say_what_they_are_of():
  task = VisualQuestionAnswering()
  assert [p.value for p in task.published("vqav2", "test_dev")] == [45.6, 51.1]
  assert {p.metric for p in task.published("vqav2", "test_dev")} == {"accuracy"}
  for each in task.published("vqav2", "validation"):
    assert "test-dev, not validation" in each.source
  assert task.published("vqav2", "train") == ()
  assert task.published("pope", "random") == ()


def test_what_people_see():
  task = VisualQuestionAnswering()
  found = records(task, FakePredictor(WRITTEN), EXAMPLES)
  assert task.view(found[2]).lines == (
    "What is it?",
    "answer: net",
    "people: a ball (7), net (3)",
  )
  assert task.view(found[5]).lines[1] == "answer: (nothing)"


@pytest.fixture(scope="module")
def predictor():
  return Predictor(*small_model(small_sizes(TOKENIZER)), TOKENIZER)


@pytest.mark.slow
def test_with_a_model(predictor):
  for task in (
    VisualQuestionAnswering(max_new_tokens=4),
    VisualQuestionAnswering(mode="choices", candidates=["a red", "two", "x"]),
  ):
    found = records(task, predictor, EXAMPLES)
    alone = records(task, predictor, EXAMPLES, batch_size=1)
    assert [r.answer["text"] for r in found] == [
      r.answer["text"] for r in alone
    ]
    scores = task.score(found)
    assert scores.n == 6
    check_parts(scores)
  chosen = {r.answer["text"] for r in found}
  assert chosen <= set(task.candidates)
