"""What drives a task of questions in tests, and predictors that answer."""

import json

import numpy as np

from kosmos2_jax.evals.protocol import Record
from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.generation.scoring import Score
from kosmos2_jax.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.small(num_bins=4)


def picture(number, size=4):
  return np.full((size, size, 3), number, np.uint8)


def records(evaluator, predictor, examples, batch_size=3):
  """Asks everything, in batches, the last question first."""
  questions = list(evaluator.questions(examples))
  again = list(evaluator.questions(examples))
  assert [q._replace(images=()) for q in questions] == [
    q._replace(images=()) for q in again
  ]
  answers = {}
  for start in range(0, len(questions), batch_size):
    batch = questions[::-1][start : start + batch_size]
    found = evaluator.ask(predictor, batch)
    answers |= zip((q.id for q in batch), found, strict=True)
  # As they come back from a file.
  return [
    Record(
      *json.loads(json.dumps([q.id, q.group, q.ask, q.truth, answers[q.id]]))
    )
    for q in questions
  ]


class FakePredictor:
  """Writes what a dict says, or finds probable what it says.

  Attributes:
    written: text by question.
    log_probs: of each token, by question and continuation.
    asked: all prompts, with the value of the pictures' first pixel.
  """

  tokenizer = TOKENIZER

  def __init__(self, written=None, log_probs=None):
    self.written = written or {}
    self.log_probs = log_probs or {}
    self.asked = []

  def generate(self, prompts, images, *, max_new_tokens):
    self.max_new_tokens = max_new_tokens
    self.asked += zip(prompts, (int(i[0, 0, 0]) for i in images), strict=True)
    return [
      Generation(self.written.get(_question(prompt), ""), (), (), True)
      for prompt in prompts
    ]

  def score(self, prompts, continuations, images):
    prompts = [self._text(prompt) for prompt in prompts]
    continuations = [self._text(each) for each in continuations]
    self.asked += zip(prompts, (int(i[0, 0, 0]) for i in images), strict=True)
    return [
      score(self.log_probs[_question(prompt), continuation])
      for prompt, continuation in zip(prompts, continuations, strict=True)
    ]

  def _text(self, text):
    return text if isinstance(text, str) else self.tokenizer.decode(text)


def score(log_probs):
  return Score(sum(log_probs), len(log_probs), False, tuple(log_probs))


def _question(prompt):
  prompt = prompt.removeprefix("<grounding>")
  assert prompt.startswith("Question: ")
  return prompt.removeprefix("Question: ").removesuffix("Answer:").strip()


def metrics(scores):
  return {name: metric.value for name, metric in scores.metrics.items()}


def check_parts(scores):
  """Parts add up to the value, as the bootstrap takes for granted."""
  for name, metric in scores.metrics.items():
    numerators = metric.numerators
    denominators = metric.denominators
    if denominators is None:
      denominators = np.ones(len(numerators))
    total = denominators.sum()
    value = metric.scale * numerators.sum() / total if total else 0.0
    np.testing.assert_allclose(metric.value, value, rtol=1e-12, err_msg=name)
