"""How long referring expressions take, here and in the original's way.

Both have the same random weights, pictures and expressions, in one process.
The original asks one expression after the other: it encodes the picture each
time, and the model writes what it likes up to a number of tokens, of which the
first boxes are read. Here pictures are encoded once, expressions are asked in
batches, and nothing but boxes can be answered. Of the original's way a sample
is measured, spread evenly: its time grows with the number of expressions.
"""

import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from kosmos2_jax.benchmarks.inference import Result, seconds
from kosmos2_jax.evals import engine
from kosmos2_jax.evals.examples import Example
from kosmos2_jax.evals.rec import ReferringExpression
from kosmos2_jax.models import presets, stacking
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text import prompts
from kosmos2_jax.text.grounded import Box
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import state as state_lib

NUM_BINS = 32
# About 40 million parameters with the project's tokenizer.
SIZES: dict[str, Any] = {
  "40m": {
    "num_bins": NUM_BINS,
    "vision": {
      "image_size": 224,
      "patch_size": 14,
      "width": 256,
      "depth": 4,
      "mlp_dim": 1024,
      "num_heads": 4,
    },
    "resampler": {"num_latents": 64, "num_heads": 8},
    "decoder": {"width": 512, "depth": 12, "mlp_dim": 2048, "num_heads": 8},
  },
  "tiny": {
    name: value
    for name, value in presets.PRESETS["tiny"].items()
    if name != "vocab_size"
  },
}
# Tokens of prompt and answer together, where the original cuts an answer off.
THEIR_LENGTH = 500
NO_REPEAT_NGRAM_SIZE = 3  # the original's
WARM_UP = 96  # expressions
THINGS = ("dog", "man in the red coat", "small white boat", "tree", "chair")
PLACES = ("on the left", "in front of the house", "", "nearest to us")

Boxes = list[tuple[float, float, float, float]]


class Measured(NamedTuple):
  """What was found.

  Attributes:
    results: the lines of the table.
    num_different: expressions of the sample that are answered differently
      one by one, where both are constrained.
  """

  results: list[Result]
  num_different: int


def make_predictor(size: str, batch_size: int, seed: int = 0) -> Predictor:
  """A model with random weights; see `SIZES`."""
  tokenizer = Tokenizer.small(SIZES[size]["num_bins"])
  sizes = SIZES[size] | {"vocab_size": tokenizer.vocab.size}
  model = presets.build(sizes)
  init = jax.jit(lambda key: state_lib.init_params(model, key))
  params = init(jax.random.key(seed))
  if jax.default_backend() == "cpu":  # as `from_pretrained` does
    model = presets.build(sizes, stacked=False)
    params = jax.device_put(stacking.separate(jax.device_get(params)))
  return Predictor(
    model,
    params,
    tokenizer,
    batch_size=batch_size,
    no_repeat_ngram_size=NO_REPEAT_NGRAM_SIZE,
  )


def make_records(num_pictures: int, num_expressions: int) -> list[Example]:
  """Records with one expression each, their pictures scattered.

  The same every time; pictures are PNG files of noise.
  """
  rng = np.random.default_rng(0)
  pictures = []
  for _ in range(num_pictures):
    encoded = io.BytesIO()
    noise = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((320, 240))
    picture.save(encoded, "PNG")
    pictures.append(encoded.getvalue())
  words = itertools.cycle(f"{a} {b}".strip() for a in THINGS for b in PLACES)
  records = [
    {
      "id": str(number),
      "image": pictures[number % num_pictures],
      "image_file": f"{number % num_pictures}.png",
      "expressions": [
        {"text": f"{text} {number}", "box_xyxy": (0.25, 0.25, 0.75, 0.75)}
      ],
    }
    for number, text in zip(range(num_expressions), words, strict=False)
  ]
  return [records[i] for i in rng.permutation(num_expressions)]


def measure_evaluation(
  predictor: Predictor,
  examples: Callable[[], Iterable[Example]],
  *,
  num_expressions: int,
  sample: int,
  their_length: int = THEIR_LENGTH,
) -> Measured:
  """Measures both ways, each warmed up by a part of its questions.

  Args:
    predictor: see `make_predictor`.
    examples: reads the records, decoding their pictures, each time anew.
    num_expressions: how many there are.
    sample: how many of them are asked in the original's way.
    their_length: tokens of prompt and answer there.
  """
  one = Predictor(
    predictor.model,
    predictor.params,
    predictor.tokenizer,
    batch_size=1,
    no_repeat_ngram_size=predictor.no_repeat_ngram_size,
  )
  every = max(num_expressions // sample, 1)
  asked = [
    (example["id"], example["image"], example["expressions"][0]["text"])
    for example in itertools.islice(examples(), 0, sample * every, every)
  ]

  lengths = {}
  for item in asked:
    encoded = one.encode(prompts.refer(item[2]), item[1])
    lengths[encoded["tokens"].shape[1]] = item
  # The same for all, so that it compiles once.
  most = their_length - max(lengths)

  def free(some: Iterable[tuple[str, np.ndarray, str]]) -> None:
    for _, image, text in some:
      one.generate([prompts.refer(text)], [image], max_new_tokens=most)

  def alone(some: Iterable[tuple[str, np.ndarray, str]]) -> dict[str, Boxes]:
    return {
      name: _corners(one.locate_batch([image], [text])[0])
      for name, image, text in some
    }

  ours: dict[str, Boxes] = {}
  # What this leaves to compile counts against us.
  ask_all(predictor, itertools.islice(examples(), WARM_UP))
  took = seconds(lambda: ours.update(ask_all(predictor, examples())))
  theirs: dict[str, Boxes] = {}
  for ask in (free, alone):
    ask(lengths.values())
  factor = num_expressions / len(asked)
  their_time = seconds(lambda: free(asked)) * factor
  alone_time = seconds(lambda: theirs.update(alone(asked))) * factor
  num_different = sum(ours[name] != boxes for name, boxes in theirs.items())
  what = f"{num_expressions} expressions"
  results = [
    Result(
      f"{what}: against one by one, free up to {their_length} tokens",
      "s",
      took,
      their_time,
      their_time / took,
      [their_time / took],
    ),
    Result(
      f"{what}: against one by one, constrained as here",
      "s",
      took,
      alone_time,
      alone_time / took,
      [alone_time / took],
      not num_different,
    ),
  ]
  return Measured(results, num_different)


def ask_all(
  predictor: Predictor, examples: Iterable[Example]
) -> dict[str, Boxes]:
  """The boxes of every example's expression by the example's id, constrained.

  By the evaluation's own engine, as `eval.py` does.
  """
  outcome = engine.run(
    predictor,
    ReferringExpression(protocol="constrained"),
    examples,
    batch_size=predictor.batch_size,
  )
  return {
    record.id.partition(":")[0]: list(map(tuple, record.answer["boxes"]))
    for record in outcome.records
  }


def _corners(boxes: Sequence[Box]) -> Boxes:
  return [tuple(box.xyxy) for box in boxes]
