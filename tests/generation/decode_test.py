"""Cached decoding against full re-computation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.generation import decode
from kosmos2_jax.models import presets

# Compiles whole models, many times.
pytestmark = pytest.mark.slow

NEW = 9


@pytest.fixture(scope="module")
def prompts():
  """A model and three prompts of lengths 11, 7 and 9 with a picture each."""
  sizes = presets.preset("tiny")
  model = presets.build(sizes)
  keys = jax.random.split(jax.random.key(2), 3)
  tokens = jax.random.randint(keys[0], (3, 11), 4, sizes["vocab_size"])
  lengths = jnp.array([11, 7, 9])
  images = jax.random.normal(keys[1], (3, 1, 16, 16, 3))
  image_mask = jnp.zeros((3, 11), bool).at[:, 2:6].set(True)
  variables = jax.jit(model.init)(keys[2], tokens, images, image_mask)
  return model, variables["params"], tokens, lengths, images, image_mask


def _full(model, params, tokens, images, image_mask):
  """Greedy tokens and log-probabilities by running the whole row each time."""
  apply = jax.jit(model.apply)
  length = tokens.shape[1]
  # Room for the answer; what stands behind a position cannot reach it.
  tokens = jnp.pad(tokens, ((0, 0), (0, NEW)))
  image_mask = jnp.pad(image_mask, ((0, 0), (0, NEW)))
  new, log_probs = [], []
  for end in range(length, length + NEW):
    logits = apply({"params": params}, tokens, images, image_mask)
    scores = jax.nn.log_softmax(logits[0, end - 1])
    new.append(int(scores.argmax()))
    log_probs.append(float(scores.max()))
    tokens = tokens.at[0, end].set(new[-1])
  return new, log_probs


def test_cached_decoding_equals_full_recomputation(prompts):
  model, params, tokens, lengths, images, image_mask = prompts
  output = decode.generate(
    model,
    params,
    tokens,
    lengths,
    images,
    image_mask,
    max_new_tokens=NEW,
    eos_id=-1,
  )
  for row, length in enumerate(lengths):
    new, log_probs = _full(
      model,
      params,
      tokens[row : row + 1, :length],
      images[row : row + 1],
      image_mask[row : row + 1, :length],
    )
    assert output.tokens[row].tolist() == new
    # The same sums in another order: float32 rounding.
    np.testing.assert_allclose(output.log_probs[row], log_probs, atol=2e-5)
  assert output.lengths.tolist() == [NEW] * 3


def test_prefill_in_pieces_gives_the_same_logits(prompts):
  model, params, tokens, _, images, image_mask = prompts
  variables = {"params": params}
  whole = jax.jit(model.apply)(variables, tokens, images, image_mask)
  latents = model.apply(variables, images, method="encode_images")
  cache = model.decoder.new_kv_cache(3, 16)
  parts = []
  for piece in (slice(0, 8), slice(8, 9), slice(9, 11)):
    logits, cache = model.apply(
      variables,
      tokens[:, piece],
      cache,
      jnp.full(3, piece.start),
      latents if piece.start == 0 else None,
      image_mask[:, piece] if piece.start == 0 else None,
      method="decode",
    )
    parts.append(logits)
  np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-5)


def test_rows_stop_at_the_end_token_on_their_own(prompts):
  model, params, tokens, lengths, images, image_mask = prompts
  arguments = (model, params, tokens, lengths, images, image_mask)
  free = decode.generate(*arguments, max_new_tokens=NEW, eos_id=-1)
  # Row 0's own third token ends it; other rows end where they write it too.
  eos = int(free.tokens[0, 2])
  ended = decode.generate(*arguments, max_new_tokens=NEW, eos_id=eos)
  for row in range(3):
    ids = free.tokens[row].tolist()
    length = ids.index(eos) + 1 if eos in ids else NEW
    assert int(ended.lengths[row]) == length
    assert ended.tokens[row, :length].tolist() == ids[:length]
    assert not ended.tokens[row, length:].any()
    assert not ended.log_probs[row, length:].any()


def test_text_only_prompts_decode(prompts):
  model, params, tokens, lengths, *_ = prompts
  output = decode.generate(
    model, params, tokens, lengths, max_new_tokens=3, eos_id=-1
  )
  logits = model.apply({"params": params}, tokens[1:2, :7])
  assert int(output.tokens[1, 0]) == int(logits[0, -1].argmax())


def test_what_a_prefix_says_is_not_repeated_either(prompts):
  model, params, tokens, _, images, image_mask = prompts
  start = 7
  tokens = tokens.at[:, :start].set(tokens[:1, :start])
  # What this model likes to say; the last assertion below holds it to that.
  tokens = tokens.at[:, start - 1].set(538)
  options = decode.Options(no_repeat_ngram_size=1)
  asked = {"max_new_tokens": NEW, "eos_id": -1, "options": options}
  lengths = jnp.full(3, tokens.shape[1])
  # Every row is about the first one's picture.
  whole = decode.generate(
    model,
    params,
    tokens,
    lengths,
    jnp.stack([images[0]] * 3),
    image_mask,
    **asked,
  )
  prefix = decode.Prefix(
    tokens[:1, :start],
    images[:1],
    image_mask[:1, :start],
    jnp.zeros(3, jnp.int32),
  )
  split = decode.generate(
    model,
    params,
    tokens[:, start:],
    lengths - start,
    prefix=prefix,
    **asked,
  )
  np.testing.assert_array_equal(split.tokens, whole.tokens)
  free = decode.generate(
    model,
    params,
    tokens[:, start:],
    lengths - start,
    prefix=prefix,
    max_new_tokens=NEW,
    eos_id=-1,
  )
  assert 538 in np.asarray(free.tokens)
