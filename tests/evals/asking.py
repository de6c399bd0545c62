"""Drives a task of words in a test, as the engine does: by way of JSON."""

import json

import numpy as np

from kosmos2_jax.evals.protocol import Record
from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.generation.samples import small_model, small_sizes

TOKENIZER = Tokenizer.small(num_bins=8)


class FakePredictor:
  """Answers from a function of the prompt and its pictures."""

  tokenizer = TOKENIZER

  def __init__(self, answer, finished=True):
    self.answer = answer
    self.finished = finished
    self.prompts = []
    self.images = []
    self.options = []

  def generate(self, prompts, images, **options):
    assert len(prompts) == len(images)
    self.prompts += prompts
    self.images += images
    self.options.append(options)
    return [
      Generation(text, tuple(TOKENIZER.encode(text)), (), self.finished)
      for text in map(self.answer, prompts, images)
    ]


def ask(evaluator, predictor, examples, batch_size=2):
  """The records of all questions, in their order."""
  questions = list(evaluator.questions(examples))
  records = []
  for start in range(0, len(questions), batch_size):
    batch = questions[start : start + batch_size]
    # An answer depends on its own question alone: any order will do.
    answers = evaluator.ask(predictor, batch[::-1])[::-1]
    records += [
      Record(q.id, q.group, q.ask, q.truth, answer)
      for q, answer in zip(batch, answers, strict=True)
    ]
  assert len({record.id for record in records}) == len(records)
  written = json.loads(json.dumps(records))
  assert written == [list(record) for record in records]
  return [Record(*fields) for fields in written]


def tiny_predictor(**options):
  """A `Predictor` with random parameters; its grid has 4 x 4 bins."""
  tokenizer = Tokenizer.small(num_bins=4)
  model, params = small_model(small_sizes(tokenizer))
  return Predictor(model, params, tokenizer, **options)


def picture(number):
  """A small picture that is known again by its first value."""
  image = np.zeros((4, 6, 3), np.uint8)
  image[0, 0, 0] = number
  return image
