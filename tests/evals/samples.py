"""A task that needs no model, and examples for it."""

import hashlib

import numpy as np

from kosmos2_jax.evals import protocol
from kosmos2_jax.evals.protocol import Metric, Question, Scores, View


class Echo(protocol.Evaluator):
  """Asks for the length of a text; remembers what was asked together."""

  name = "echo"
  version = "1"

  def __init__(self, *, words: int = 1):
    if words < 0:
      raise ValueError(f"words must not be negative, found {words}")
    self.words = words
    self.batches: list[list[str]] = []

  @property
  def protocol(self):
    return f"says {self.words} words"

  def questions(self, examples):
    for example in examples:
      for number, text in enumerate(example["texts"]):
        yield Question(
          f"{example['id']}/{number}",
          example.get("image_file", example["id"]),
          (example["image"],) if "image" in example else (),
          {"text": text},
          {"length": len(text), "numbers": (0.1, 1e-17)},
        )

  def ask(self, predictor, questions):
    self.batches.append([question.id for question in questions])
    texts = [question.ask["text"] for question in questions]
    return predictor.generate(texts, [q.images for q in questions])

  def score(self, records):
    if not records:
      raise ValueError("there is no question")
    good = np.array(
      [float(r.answer["length"] == r.truth["length"]) for r in records]
    )
    return Scores(
      len(records),
      {"accuracy": Metric(float(good.mean()), good)},
      {"right": int(good.sum())},
      quality=good,
    )

  def view(self, record):
    return View((), (), (record.ask["text"],))

  def cost(self, question):
    return len(question.ask["text"])

  def files(self, records):
    return {"answers.txt": "".join(f"{r.id} {r.answer}\n" for r in records)}


class Counter:
  """A predictor that answers with lengths, and with numbers of no end."""

  batch_size = 4

  def __init__(self):
    self.asked = 0

  def generate(self, prompts, images):
    del images
    self.asked += len(prompts)
    return [
      {"length": len(prompt), "scores": (_noise(prompt),)} for prompt in prompts
    ]


def _noise(text: str) -> float:
  """A float that needs all its digits."""
  digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
  return int.from_bytes(digest, "big") / 3.0**40


def make_examples(count: int, *, texts: int = 1, with_image: bool = True):
  """Examples whose texts have many lengths."""
  for i in range(count):
    example = {
      "id": str(i),
      "texts": ["x" * (1 + (7 * i + 3 * j) % 11) for j in range(texts)],
    }
    if with_image:
      example["image"] = np.full((4, 6, 3), i % 256, np.uint8)
    yield example
