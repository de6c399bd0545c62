"""Answers that come bit by bit end as those that come at once."""

import jax
import numpy as np
import pytest

from kosmos2_jax.generation import streaming
from kosmos2_jax.generation.generator import Generator
from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import state as state_lib

TOKENIZER = Tokenizer.small(num_bins=4)
SIZES = presets.preset("tiny") | {"vocab_size": TOKENIZER.vocab.size}
SIZE = SIZES["vision"]["image_size"]
PICTURE = np.random.default_rng(0).integers(
  0, 256, (SIZE, SIZE, 3), dtype=np.uint8
)
NEW = 9


@pytest.fixture(scope="module")
def generator():
  model = presets.build(SIZES)
  params = state_lib.init_params(model, jax.random.key(0))
  return Generator(model, params, TOKENIZER)


@pytest.mark.parametrize("every", [1, 4, 99])
@pytest.mark.parametrize(
  "options",
  [{}, {"temperature": 1.0, "top_p": 0.9, "seed": 3}],
)
def test_the_last_answer_is_that_of_generate(generator, options, every):
  options |= {"max_new_tokens": NEW, "no_repeat_ngram_size": 2}
  [whole] = generator.generate(["a red"], [PICTURE], **options)
  answers = list(generator.stream("a red", PICTURE, every=every, **options))
  assert answers[-1] == whole
  sizes = [len(answer.tokens) for answer in answers]
  assert sizes == [*range(1, NEW, every), NEW]
  for answer in answers:
    size = len(answer.tokens)
    assert answer.tokens == whole.tokens[:size]
    assert answer.log_probs == whole.log_probs[:size]


def test_it_ends_where_the_answer_does(generator, monkeypatch):
  """As if a token of the answer were the end mark."""
  options = {"max_new_tokens": NEW, "temperature": 1.0, "seed": 3}
  [whole] = generator.generate(["a red"], [PICTURE], **options)
  place = next(
    i for i in range(3, NEW) if whole.tokens[i] not in whole.tokens[:i]
  )
  end = whole.tokens[place]
  stream = streaming.stream
  monkeypatch.setattr(
    streaming,
    "stream",
    lambda *args, **named: stream(*args, **named | {"eos_id": end}),
  )
  for every in (1, 2, 4, 5):
    answers = list(generator.stream("a red", PICTURE, every=every, **options))
    sizes = [len(answer.tokens) for answer in answers]
    assert sizes[-1] == place + 1
    assert sizes == sorted(set(sizes))


def test_nothing_is_computed_for_who_asks_for_no_more(generator, monkeypatch):
  steps = []
  advance = streaming._advance
  monkeypatch.setattr(
    streaming,
    "_advance",
    lambda *args, **named: (steps.append(args[3]), advance(*args, **named))[1],
  )
  answers = generator.stream("a red", max_new_tokens=NEW, every=2)
  next(answers), next(answers)
  answers.close() if hasattr(answers, "close") else None
  assert steps == [3]


def test_mistakes_are_told_at_once(generator):
  with pytest.raises(ValueError, match="every and max_new_tokens"):
    generator.stream("a", every=0)
  with pytest.raises(ValueError, match="more than the 2048"):
    generator.stream("a" * 4000)
  with pytest.raises(FileNotFoundError, match="does not exist"):
    generator.stream("a", "nothing.png")
