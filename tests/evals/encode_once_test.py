"""From scattered records to answers, every picture is encoded once."""

import itertools

import numpy as np
import pytest

from kosmos2_jax.evals import engine
from kosmos2_jax.evals.examples import Again
from kosmos2_jax.evals.protocol import Evaluator, Metric, Question, Scores
from kosmos2_jax.generation import latents, requests
from kosmos2_jax.input import sources
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.generation.samples import small_model, small_sizes
from tests.input.conftest import encode

TOKENIZER = Tokenizer.small(num_bins=4)
# Questions about each picture: more than a batch has rows, as many, and few.
COUNTS = (11, 1, 4, 3, 2, 1, 5)


class Where(Evaluator):
  """The boxes of an expression, nothing of which is scored."""

  name = "where"
  version = "1"
  protocol = "boxes"

  def questions(self, examples):
    for example in examples:
      yield Question(
        example["id"],
        example["id"],  # no word of which picture it is
        (example["image"],),
        {"text": example["text"]},
        None,
      )

  def ask(self, predictor, questions):
    found = predictor.locate_batch(
      [question.images[0] for question in questions],
      [question.ask["text"] for question in questions],
    )
    return [[box.xyxy for box in boxes] for boxes in found]

  def score(self, records):
    return Scores(len(records), {"n": Metric(float(len(records)))})


@pytest.fixture(scope="module")
def source():
  rng = np.random.default_rng(0)
  words = itertools.cycle(["a red star", "it", "the two blue circles", "a"])
  examples = [
    {"image": encode(rng_picture), "text": text}
    for count, rng_picture in zip(
      COUNTS,
      rng.integers(0, 256, (len(COUNTS), 20, 24, 3), dtype=np.uint8),
      strict=True,
    )
    for text in itertools.islice(words, count)
  ]
  order = rng.permutation(len(examples))
  return sources.ListSource(
    [{**examples[i], "id": str(n)} for n, i in enumerate(order)]
  )


@pytest.mark.slow
def test_from_scattered_records_every_picture_is_encoded_once(
  source, monkeypatch
):
  made = []

  class Watched(latents.Latents):
    def __init__(self, *args):
      super().__init__(*args)
      made.append(self)

  monkeypatch.setattr(requests, "Latents", Watched)
  model, params = small_model(small_sizes(TOKENIZER))

  def run(batch_size):
    predictor = Predictor(model, params, TOKENIZER, batch_size=batch_size)
    outcome = engine.run(
      predictor,
      Where(),
      Again(lambda: sources.eval_examples(source)),
      batch_size=batch_size,
    )
    return {record.id: record.answer for record in outcome.records}

  answers = run(4)
  assert sum(one.num_encoded for one in made) == len(COUNTS)
  made.clear()
  # One by one every question has its picture encoded for itself.
  assert run(1) == answers
  assert sum(one.num_encoded for one in made) == len(COUNTS)
