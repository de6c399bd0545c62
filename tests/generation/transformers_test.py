"""The same tokens as `generate` of transformers, on random weights."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from kosmos2_jax.convert import huggingface, transfer, weights
from kosmos2_jax.generation import decode
from kosmos2_jax.generation.beams import BeamOptions
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.models import presets
from kosmos2_jax.models.kosmos2 import Kosmos2
from kosmos2_jax.training import state as state_lib
from tests.convert.samples import build_theirs

pytestmark = [
  pytest.mark.slow,
  pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

VOCAB_SIZE, LATENTS, PAD, NEW = 61, 3, 1, 14
LENGTHS = (9, 12, 7)
SEEDS = (0, 2, 5)


class Models(NamedTuple):
  """Theirs, ours with its parameters, and three prompts of three lengths."""

  theirs: Any
  ours: Kosmos2
  params: dict[str, Any]
  tokens: np.ndarray
  image_mask: np.ndarray
  images: np.ndarray
  eos_id: int


@pytest.fixture(scope="module", params=SEEDS)
def models(request, tmp_path_factory):
  theirs = build_theirs(
    VOCAB_SIZE,
    (32, 2, 64, 4),
    (16, 1, 32, 2, 16, 8),
    LATENTS,
    seed=request.param,
  )
  folder = tmp_path_factory.mktemp("theirs")
  theirs.save_pretrained(folder)
  sizes = huggingface.read_sizes(folder, 3)
  model = presets.build(sizes, stacked=False)
  abstract = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  source = weights.SafetensorsFolder(folder)
  params, _ = transfer.load(source, abstract, VOCAB_SIZE, "huggingface")
  rng = np.random.default_rng(request.param)
  tokens = np.full((3, max(LENGTHS)), PAD, np.int32)
  for row, length in zip(tokens, LENGTHS, strict=True):
    row[:length] = rng.integers(4, VOCAB_SIZE, length)
  tokens[:, 0] = 0
  image_mask = np.zeros(tokens.shape, bool)
  image_mask[:, 2 : 2 + LATENTS] = True
  images = rng.normal(size=(3, 1, 16, 16, 3)).astype(np.float32)
  made = Models(theirs, model, params, tokens, image_mask, images, -1)
  # Random weights hardly ever say </s>. One of the tokens that they do say ends
  # answers here: one with which some beams end early and some are cut off.
  said = generate_ours(made, no_repeat_ngram_size=3)[0]
  for eos_id in sorted({token for answer in said for token in answer}):
    made = made._replace(eos_id=eos_id)
    found = generate_ours(made, BeamOptions(4, num_results=4))[0]
    ends = [answer[-1] == eos_id for answer in found]
    if set(ends) == {True, False}:
      return made
  raise AssertionError("no token ends some beams only; choose another seed")


def generate_theirs(models, **options):
  """Their new tokens of each row, one row at a time, up to the end."""
  import torch

  tokens, image_mask, images = models.tokens, models.image_mask, models.images
  eos_id = models.eos_id
  answers = []
  for i, length in enumerate(LENGTHS):
    with torch.no_grad():
      found = models.theirs.generate(
        pixel_values=torch.tensor(images[i].transpose(0, 3, 1, 2)),
        input_ids=torch.tensor(tokens[i : i + 1, :length]).long(),
        image_embeds_position_mask=torch.tensor(image_mask[i : i + 1, :length]),
        attention_mask=torch.ones(1, length).long(),
        max_new_tokens=NEW,
        pad_token_id=PAD,
        eos_token_id=eos_id,
        **options,
      )
    for answer in found[:, length:].tolist():
      ends = eos_id in answer
      answers.append(answer[: answer.index(eos_id) + 1 if ends else None])
  return answers


def generate_ours(models, beam=None, **options):
  """Our new tokens of each row, all rows in one batch."""
  output = decode.generate(
    models.ours,
    models.params,
    models.tokens,
    np.array(LENGTHS, np.int32),
    models.images,
    models.image_mask,
    max_new_tokens=NEW,
    eos_id=models.eos_id,
    options=Options(**options),
    beam=beam,
    keys=jax.vmap(jax.random.key)(np.arange(3, dtype=np.uint32)),
  )
  answers = [
    row[:length].tolist()
    for row, length in zip(*map(np.asarray, output[:2]), strict=True)
  ]
  return answers, output


@pytest.mark.parametrize(
  "rules",
  [
    {},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3, "min_new_tokens": 6},
  ],
)
def test_greedy(models, rules):
  wanted = generate_theirs(models, do_sample=False, num_beams=1, **rules)
  assert generate_ours(models, **rules)[0] == wanted


@pytest.mark.parametrize(
  "rules",
  [{"top_k": 1, "temperature": 0.7}, {"top_p": 1e-4, "temperature": 1.5}],
)
def test_drawing_where_one_token_is_left(models, rules):
  rules = rules | {"no_repeat_ngram_size": 3}
  wanted = generate_theirs(models, do_sample=True, **{"top_k": 0} | rules)
  assert generate_ours(models, **rules)[0] == wanted


@pytest.mark.parametrize(
  ("num_beams", "rules"),
  [
    (2, {"no_repeat_ngram_size": 3}),
    (4, {"no_repeat_ngram_size": 3}),
    (5, {"no_repeat_ngram_size": 2, "length_penalty": 2.0}),
    (4, {"length_penalty": -0.5, "early_stopping": True}),
    (4, {"length_penalty": 1.0, "early_stopping": "never"}),
    (3, {"length_penalty": 0.0, "early_stopping": "never"}),
    (4, {"no_repeat_ngram_size": 3, "min_new_tokens": 5}),
    # The released evaluation of captions, with all that were found.
    (5, {"no_repeat_ngram_size": 3, "num_results": 5}),
  ],
)
def test_beams(models, num_beams, rules):
  rules = dict(rules)
  num_results = rules.pop("num_results", 1)
  wanted = generate_theirs(
    models,
    do_sample=False,
    num_beams=num_beams,
    num_return_sequences=num_results,
    **rules,
  )
  searching = {
    key: rules.pop(key)
    for key in ("length_penalty", "early_stopping")
    if key in rules
  }
  beam = BeamOptions(num_beams, num_results=num_results, **searching)
  found, output = generate_ours(models, beam, **rules)
  assert found == wanted
  # Best first, and worth what their tokens say where no rule interferes.
  scores = np.asarray(output.scores).reshape(3, num_results)
  assert (np.diff(scores) <= 0).all()
  own = np.asarray(output.log_probs).sum(1)
  lengths = np.asarray(output.lengths, np.float64)
  np.testing.assert_allclose(
    scores.reshape(-1),
    own / lengths ** searching.get("length_penalty", 1.0),
    rtol=1e-5,
  )
