"""Batches of few shapes: no row sees the others, nor those that fill up."""

import numpy as np
import pytest

from kosmos2_jax.generation import decode, prompting, requests
from kosmos2_jax.generation.beams import BeamOptions
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.generation.samples import small_model, small_sizes

TOKENIZER = Tokenizer.small(num_bins=4)
SIZES = small_sizes(TOKENIZER)
SIZE, LATENTS = 16, SIZES["resampler"]["num_latents"]
PICTURES = [
  prompting.prepare_image(pixels, SIZE)
  for pixels in np.random.default_rng(0).integers(
    0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8
  )
]
NEW = 4


@pytest.fixture(scope="module")
def model():
  return small_model(SIZES)


def row(prompt, *pictures):
  return prompting.make_row(
    prompt,
    list(pictures),
    TOKENIZER,
    num_latents=LATENTS,
    image_size=SIZE,
    prepare=lambda picture, size: picture,
  )


def generate(model, rows, *, batch_size=8, beam=None, seeds=(), **options):
  return requests.generate(
    *model,
    rows,
    vocab=TOKENIZER.vocab,
    eos_id=TOKENIZER.vocab.eos_id,
    batch_size=batch_size,
    max_new_tokens=NEW,
    options=Options(**options),
    beam=beam,
    seeds=list(seeds),
  )


def same(answers, others):
  assert len(answers) == len(others)
  for several, wanted in zip(answers, others, strict=True):
    assert [a.tokens for a in several] == [b.tokens for b in wanted]
    for answer, other in zip(several, wanted, strict=True):
      # Sums over padded rows may be taken in another order: float32 rounding.
      np.testing.assert_allclose(answer.log_probs, other.log_probs, atol=1e-5)
      np.testing.assert_allclose(answer.score, other.score, atol=1e-5)


ROWS = [row("a red"), row("two blue squares and"), row("above")]


@pytest.mark.slow
def test_rows_that_fill_up_do_not_answer(model):
  together = generate(model, ROWS)
  alone = [generate(model, [each])[0] for each in ROWS]
  same(together, alone)
  assert len({tuple(answer.log_probs) for [answer] in together}) == 3


@pytest.mark.slow
def test_rows_that_fill_up_do_not_answer_in_beams(model):
  beam = BeamOptions(2, num_results=2)
  together = generate(model, ROWS, beam=beam)
  assert [len(several) for several in together] == [2, 2, 2]
  same(together, [generate(model, [each], beam=beam)[0] for each in ROWS])


@pytest.mark.slow
def test_a_seed_belongs_to_its_row_in_any_batch(model):
  rows = [row("a red")] * 4
  # The largest number that a seed can be, and one twice.
  seeds = [3, 2**32 - 1, 5, 3]
  cut = generate(model, rows, batch_size=2, seeds=seeds, temperature=1.0)
  whole = generate(model, rows, seeds=seeds, temperature=1.0)
  same(cut, whole)
  same([cut[0]], [cut[3]])
  # Equal rows of unequal seeds.
  assert len({tuple(answer.tokens) for [answer] in cut}) == 3


@pytest.mark.slow
def test_beginnings_whose_number_is_no_power_of_two(model, monkeypatch):
  shapes = []
  run = decode.generate

  def remember(*args, **options):
    prefix = args[6]
    if prefix is not None:
      shapes.append((args[2].shape, prefix.tokens.shape, prefix.rows.shape))
    return run(*args, **options)

  monkeypatch.setattr(decode, "generate", remember)
  one, two, three = PICTURES
  # Not in order: which beginning is whose has to be followed.
  rows = [
    row("a red", two),
    row("two blue squares", one),
    row("the", three),
    row("above", one),
    row("a", two),
    row("left of a", three),
  ]
  together = generate(model, rows)
  end = 1 + LATENTS + 2
  [(tokens, beginnings, which)] = shapes
  assert tokens[0] == which[0] == 8
  assert beginnings == (4, end)
  same(together, [generate(model, [each])[0] for each in rows])
  assert len(shapes) == 1  # one row has nothing to share
  assert len({tuple(answer.log_probs) for [answer] in together}) == 6


def test_nothing_asked_is_nothing_answered(model):
  assert generate(model, []) == []
