"""Random weights, for tests of converters."""

import jax
import numpy as np

from kosmos2_jax.convert.golden import Golden
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text import markup
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import state as state_lib


def random_params(sizes, seed=0):
  """Parameters of these sizes with random entries in every array."""
  model = presets.build(sizes)
  abstract = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  rng = np.random.default_rng(seed)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), abstract
  )
  params["decoder"]["embedding"][sizes["vocab_size"] :] = 0
  return abstract, params


def golden_of_tiny(picture, most=24):
  """A small model and a `Golden` of what it answers about a picture."""
  tokenizer = Tokenizer.small(4)
  sizes = presets.preset("tiny") | {"vocab_size": tokenizer.vocab.size}
  _, params = random_params(sizes)
  norm, eos_id = params["decoder"]["final_norm"], tokenizer.vocab.eos_id
  ending = params["decoder"]["embedding"][eos_id]
  # Random models hardly ever end: lean towards the ending id until this does.
  for _ in range(100):
    norm["bias"] = (norm["bias"] + 0.05 * ending).astype(np.float32)
    predictor = Predictor(presets.build(sizes), params, tokenizer)
    [answer] = predictor.generate(
      ["a red"], [picture], max_new_tokens=most, no_repeat_ngram_size=3
    )
    if answer.finished:
      break
  assert answer.finished
  assert len(answer.tokens) >= 3
  encoded = predictor.encode("a red", picture)
  ids = [*encoded["tokens"][0].tolist(), *answer.tokens, eos_id]
  image_mask = np.zeros((1, len(ids)), bool)
  count = encoded["image_mask"].shape[1]
  image_mask[:, :count] = encoded["image_mask"]
  logits = predictor.logits(np.array([ids]), encoded["images"], image_mask)
  grounded = markup.parse(
    [*tokenizer.encode("a red"), *answer.tokens], tokenizer
  )
  return predictor, Golden(
    "tiny",
    "a red",
    tuple(ids[:count]),
    tuple(ids[count:]),
    grounded.text,
    grounded.phrases,
    tuple(map(tuple, logits[0, count : count + 3, :3].tolist())),
  )
