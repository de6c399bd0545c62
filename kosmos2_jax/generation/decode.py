"""Decoding: one prefill, then single-token steps inside one loop."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax.generation import beams, stepping
from kosmos2_jax.generation.beams import BeamOptions
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.generation.stepping import GenerateOutput
from kosmos2_jax.models import stacking
from kosmos2_jax.models.kosmos2 import Kosmos2
from kosmos2_jax.models.stacking import KvCache

GREEDY = Options()

# Normalised pictures, or their latents where these are known already.
Images = Float[Array, "B M height width 3"] | Float[Array, "B M L D"]


class Prefix(NamedTuple):
  """What several prompts begin with, computed once.

  Attributes:
    tokens: the beginnings; none is padded.
    images: normalised pictures of each, or their latents, or None.
    image_mask: slots among `tokens` that image latents fill.
    rows: which of the U beginnings each of the B prompts has.
  """

  tokens: Int[Array, "U P"]
  images: Float[Array, "U M height width 3"] | Float[Array, "U M L D"] | None
  image_mask: Bool[Array, "U P"] | None
  rows: Int[Array, " B"]


@functools.partial(
  jax.jit, static_argnames=("model", "max_new_tokens", "options", "beam")
)
def generate(
  model: Kosmos2,
  params: dict,
  tokens: Int[Array, "B T"],
  lengths: Int[Array, " B"],
  images: Images | None = None,
  image_mask: Bool[Array, "B T"] | None = None,
  prefix: Prefix | None = None,
  *,
  max_new_tokens: int,
  eos_id: int | Int[Array, ""],
  options: Options = GREEDY,
  beam: BeamOptions | None = None,
  keys: Array | None = None,
) -> GenerateOutput:
  """Continues every prompt.

  Prompts of different lengths stand in one batch, padded on the right. Row b
  goes on at slot lengths[b] of the cache, so a row's answer does not depend
  on what else is in the batch. The loop ends when every row has ended.

  Args:
    model: the module; static, so one compilation per model and shape.
    params: its parameters.
    tokens: prompts, or with `prefix` what follows it in each.
    lengths: real tokens in each row, at least 1.
    images: normalised pictures, or their latents, or None.
    image_mask: slots among `tokens` that image latents fill.
    prefix: what the prompts begin with, or None; its pictures are the only
      ones then.
    max_new_tokens: most tokens to add.
    eos_id: the id that ends a row.
    options: how the next token is chosen; greedy by default.
    beam: beam search with these options instead of one answer a row. Its
      `num_results` answers of a row follow each other, best first.
    keys: one random key a row; needed above temperature 0.

  Returns:
    The new tokens; see `GenerateOutput`.

  Raises:
    ValueError: if tokens are to be drawn and there are no keys, or in a beam.
  """
  if options.temperature and keys is None:
    raise ValueError("temperature above 0 needs a random key for every row.")
  if options.temperature and beam is not None:
    raise ValueError("beam search draws no tokens; leave temperature at 0.")
  logits, kv_cache, history, lengths = read_prompts(
    model,
    params,
    (tokens, lengths, images, image_mask),
    prefix,
    max_new_tokens,
  )
  if beam is not None:
    found = beams.search(
      functools.partial(decode_step, model, params),
      logits,
      kv_cache,
      history,
      lengths,
      max_new_tokens=max_new_tokens,
      eos_id=eos_id,
      options=options,
      beam=beam,
    )
    return GenerateOutput(*found)

  choosing = {"eos_id": eos_id, "options": options, "keys": keys}
  loop = stepping.begin(
    logits,
    kv_cache,
    history,
    lengths,
    max_new_tokens=max_new_tokens,
    **choosing,
  )
  step = functools.partial(decode_step, model, params)
  return stepping.advance(step, loop, max_new_tokens, **choosing).output


def read_prompts(
  model: Kosmos2,
  params: dict,
  prompts: tuple[
    Int[Array, "B T"],
    Int[Array, " B"],
    Images | None,
    Bool[Array, "B T"] | None,
  ],
  prefix: Prefix | None,
  max_new_tokens: int,
) -> tuple[Float[Array, "B V"], KvCache, Int[Array, "B S"], Int[Array, " B"]]:
  """Logits after each prompt, the cache, and the prompts with their lengths.

  Args:
    model: the module.
    params: its parameters.
    prompts: tokens, lengths, images, image mask; see `generate`.
    prefix: see there.
    max_new_tokens: for which there is room in the cache and behind the prompts.
  """
  tokens, lengths, images, image_mask = prompts
  batch_size, length = tokens.shape
  start, history = 0, tokens
  if prefix is not None:
    num_prefixes, start = prefix.tokens.shape
    _, shared = prefill(
      model,
      params,
      prefix.tokens,
      jnp.full(num_prefixes, start),
      model.decoder.new_kv_cache(num_prefixes, start),
      encode(model, params, prefix.images),
      prefix.image_mask,
    )
    kv_cache = stacking.lengthen_cache(
      stacking.take_rows(shared, prefix.rows), length + max_new_tokens
    )
    history = jnp.concatenate([prefix.tokens[prefix.rows], tokens], axis=1)
  else:
    kv_cache = model.decoder.new_kv_cache(batch_size, length + max_new_tokens)
  logits, kv_cache = prefill(
    model,
    params,
    tokens,
    lengths,
    kv_cache,
    encode(model, params, images),
    image_mask,
    start,
  )
  history = jnp.pad(history, ((0, 0), (0, max_new_tokens)))
  return logits, kv_cache, history, lengths + start


def encode(
  model: Kosmos2,
  params: dict,
  images: Images | None,
) -> Float[Array, "B M L D"] | None:
  """The latents of the pictures; None where there are none."""
  if images is None or not images.shape[1]:
    return None
  if images.ndim == 4:
    return images
  return model.apply({"params": params}, images, method="encode_images")


def prefill(
  model: Kosmos2,
  params: dict,
  tokens: Int[Array, "B T"],
  lengths: Int[Array, " B"],
  kv_cache: KvCache,
  image_latents: Float[Array, "B M L D"] | None = None,
  image_mask: Bool[Array, "B T"] | None = None,
  start: int = 0,
) -> tuple[Float[Array, "B V"], KvCache]:
  """Runs the prompts once; logits of the token after each, and the cache.

  Padding behind a short prompt is written to the cache too; no query sees it
  before a decode step has overwritten it (see `masks.cache_mask`).

  Args:
    model: the module.
    params: its parameters.
    tokens: prompts, padded on the right.
    lengths: real tokens in each row.
    kv_cache: holds what is before slot `start`.
    image_latents: see `Kosmos2.encode_images`.
    image_mask: slots among `tokens` that they fill.
    start: slot of the first token.
  """
  logits, kv_cache = model.apply(
    {"params": params},
    tokens,
    kv_cache,
    jnp.full(tokens.shape[0], start, jnp.int32),
    image_latents,
    image_mask,
    lengths - 1,
    method="decode",
  )
  return logits[:, 0], kv_cache


def decode_step(
  model: Kosmos2,
  params: dict,
  token: Int[Array, " B"],
  cache_index: Int[Array, " B"],
  kv_cache: KvCache,
) -> tuple[Float[Array, "B V"], KvCache]:
  """Adds one token to every row; logits of the next one, and the cache."""
  logits, kv_cache = model.apply(
    {"params": params}, token[:, None], kv_cache, cache_index, method="decode"
  )
  return logits[:, 0], kv_cache
