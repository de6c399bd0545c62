"""SEED-Bench: which tokens count, rounding, ties, types."""

import json

import numpy as np
import pytest

from kosmos2_jax.evals.seed_bench import SeedBench
from kosmos2_jax.predictor import Predictor
from tests.evals.question_samples import (
  TOKENIZER,
  FakePredictor,
  check_parts,
  metrics,
  picture,
  records,
  score,
)
from tests.generation.samples import small_model, small_sizes

CHOICES = ["one", "two cats", "three", "four"]
PROTOCOLS = ["original", "exact"]


def example(number, question, answer, kind="Counting", choices=CHOICES):
  return {
    "id": f"q{number}",
    "image": picture(number),
    "question": question,
    "choices": list(choices),
    "answer": answer,
    "question_type": kind,
  }


def log_probs(question, *several):
  return {
    (question, choice): values
    for choice, values in zip(CHOICES, several, strict=True)
  }


EXAMPLES = [
  example(1, "how many cats", "B"),
  example(2, "how many dogs", "A"),
  example(3, "what is it", "D", "Identity"),
]
SAID = {
  # The mean of "two cats" is -1.5, the largest; its sum is the smallest.
  **log_probs("how many cats", [-2.0], [-1.0, -2.0], [-2.5], [-2.9]),
  # C is the largest.
  **log_probs("how many dogs", [-2.0], [-3.0, -3.0], [-1.0], [-4.0]),
  # Equal: the first of them, which is wrong.
  **log_probs("what is it", [-3.0], [-0.5, -0.7], [-9.0], [-0.6]),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scores_are_the_arithmetic(protocol):
  task = SeedBench(protocol=protocol)
  fake = FakePredictor(log_probs=SAID)
  found = records(task, fake, EXAMPLES)
  scores = task.score(found)
  assert scores.n == 3
  assert metrics(scores) == pytest.approx({"accuracy": 100 / 3})
  check_parts(scores)
  assert scores.categories == {"accuracy": {"Counting": 50, "Identity": 0}}
  assert scores.counts == {"right": 1, "ties": 1}
  assert scores.quality.tolist() == [1, 0, 0]
  lines = task.files(found)["seed_bench_results.jsonl"].splitlines()
  assert [json.loads(line) for line in lines] == [
    {"question_id": "q1", "prediction": "B"},
    {"question_id": "q2", "prediction": "C"},
    {"question_id": "q3", "prediction": "B"},
  ]
  # Four choices of one question follow each other, each with its picture.
  prompt = "Question: what is it Answer:"
  assert fake.asked[:4] == [(prompt, 3)] * 4
  assert task.protocol.startswith(f"{protocol}: prompt Question: {{q}} Answer:")
  assert task.view(found[0]).lines == (
    "how many cats",
    "A. one (-2.000)",
    "B. two cats (-1.500) chosen right",
    "C. three (-2.500)",
    "D. four (-2.900)",
  )


def test_the_original_reads_four_digits():
  # Apart by less than is printed: equal for the original, the first wins.
  said = log_probs("it", [-1.00004], [-1.00001, -1.00001], [-2.0], [-3.0])
  asked = [example(1, "it", "B")]
  scores = {}
  for protocol in PROTOCOLS:
    task = SeedBench(protocol=protocol)
    found = records(task, FakePredictor(log_probs=said), asked)
    scores[protocol] = task.score(found)
  assert metrics(scores["original"]) == {"accuracy": 0}
  assert scores["original"].counts["ties"] == 1
  assert metrics(scores["exact"]) == {"accuracy": 100}
  assert scores["exact"].counts["ties"] == 0


def test_every_token_is_rounded_before_the_mean():
  # Means -1.00006 and -1.00005; rounded first, -1.0001 and -1.00005 (of
  # -1.0001 and -1.0000); rounded last, both would be -1.0001.
  said = log_probs("it", [-1.00006], [-1.00006, -1.00004], [-2.0], [-3.0])
  task = SeedBench()
  [record] = records(
    task, FakePredictor(log_probs=said), [example(1, "it", "B")]
  )
  assert task._values(record)[:2] == [-1.0001, (-1.0001 - 1.0) / 2]
  assert task.score([record]).counts == {"right": 1, "ties": 0}


class Recorder(FakePredictor):
  """Remembers ids and gives each token its place as its log-probability."""

  def score(self, prompts, continuations, images):
    self.ids = list(zip(prompts, continuations, strict=True))
    return [score([-float(len(c))] * len(c)) for c in continuations]


def test_the_original_counts_from_the_first_answer_on(real_tokenizer):
  for question, counted in (
    ("how many cats", "{}"),
    ("What is the Answer: yes or no?", "yes or no? Answer: {}"),
    ("Is it Answer:yes", "yes Answer: {}"),
    # Other pieces than those of "▁Answer" and ":".
    ("Is the answer: yes", "{}"),
    ("MyAnswer: yes", "{}"),
    ("Answer : yes", "{}"),
  ):
    fake = Recorder()
    fake.tokenizer = real_tokenizer
    records(SeedBench(), fake, [example(1, question, "A")])
    for choice, (before, after) in zip(CHOICES, fake.ids, strict=True):
      # The ids that the published script looks for.
      assert before[-2:] == [20032, 55]
      assert before + after == real_tokenizer.encode(
        f"Question: {question} Answer: {choice}"
      )
      assert real_tokenizer.decode(after) == counted.format(choice)
    exact = Recorder()
    records(SeedBench(protocol="exact"), exact, [example(1, question, "A")])
    assert exact.ids == [
      (f"Question: {question} Answer:", choice) for choice in CHOICES
    ]


def test_line_ends_and_space_are_taken_off():
  asked = example(
    1, "how\nmany", "A", choices=[" one\n", "two\ncats", "three", "four "]
  )
  [question] = SeedBench().questions([asked])
  assert question.ask == {"question": "how many", "choices": CHOICES}


def test_a_prompt_without_its_mark_is_told():
  class Odd:
    def encode(self, text):
      return [1, 2] if text == " Answer:" else [3, 4, 5]

  fake = FakePredictor()
  fake.tokenizer = Odd()
  [question] = SeedBench().questions(EXAMPLES[:1])
  with pytest.raises(ValueError, match=r"\[1, 2\], among them.*\[3, 4, 5\]"):
    SeedBench().ask(fake, [question])


def test_what_makes_no_sense():
  with pytest.raises(ValueError, match="protocol must be one of"):
    SeedBench(protocol="published")
  for changes, message in (
    ({"choices": CHOICES[:3]}, "has four choices"),
    ({"choices": [*CHOICES[:3], " "]}, "has four choices"),
    ({"answer": "E"}, "that of 'q1' is 'E'"),
    ({"answer": "AB"}, "that of 'q1' is 'AB'"),
    ({"question": ""}, "needs words in 'question'"),
  ):
    with pytest.raises(ValueError, match=message):
      list(SeedBench().questions([EXAMPLES[0] | changes]))
  with pytest.raises(ValueError, match="there is no question"):
    SeedBench().score([])


@pytest.mark.slow
def test_with_a_model():
  predictor = Predictor(*small_model(small_sizes(TOKENIZER)), TOKENIZER)
  original, exact = (SeedBench(protocol=name) for name in PROTOCOLS)
  found = records(original, predictor, EXAMPLES)
  other = records(exact, predictor, EXAMPLES, batch_size=1)
  for one, two in zip(found, other, strict=True):
    # No question speaks of answers: the same tokens count.
    for a, b in zip(
      one.answer["log_probs"], two.answer["log_probs"], strict=True
    ):
      # Sums of other shapes: float32 rounding.
      np.testing.assert_allclose(a, b, atol=1e-5)
  for task, answered in ((original, found), (exact, other)):
    scores = task.score(answered)
    assert scores.n == 3
    check_parts(scores)
  prompt, choice = "Question: how many cats Answer:", CHOICES[1]
  [score] = predictor.score([prompt], [choice], [picture(1)])
  np.testing.assert_allclose(
    score.log_probs, other[0].answer["log_probs"][1], atol=1e-5
  )
