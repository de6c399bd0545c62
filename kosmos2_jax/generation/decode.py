"""Decoding: one prefill, then single-token steps inside one loop."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax.generation import sampling
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.models.kosmos2 import Kosmos2

GREEDY = Options()


class GenerateOutput(NamedTuple):
  """What followed each prompt.

  Attributes:
    tokens: new ids; `eos_id` is among them if it was reached, zeros follow.
    lengths: how many of `tokens` count, the ending `eos_id` included.
    log_probs: natural log-probability of each new id under the model itself,
      before any rule or temperature; zeros behind the end.
  """

  tokens: Int[Array, "B new"]
  lengths: Int[Array, " B"]
  log_probs: Float[Array, "B new"]


class _Loop(NamedTuple):
  """What one decode step hands to the next."""

  step: Int[Array, ""]
  token: Int[Array, " B"]
  log_prob: Float[Array, " B"]
  done: Bool[Array, " B"]
  history: Int[Array, "B S"]
  kv_cache: dict[str, Array]
  output: GenerateOutput


@functools.partial(
  jax.jit, static_argnames=("model", "max_new_tokens", "options")
)
def generate(
  model: Kosmos2,
  params: dict,
  tokens: Int[Array, "B T"],
  lengths: Int[Array, " B"],
  images: Float[Array, "B M height width 3"] | None = None,
  image_mask: Bool[Array, "B T"] | None = None,
  *,
  max_new_tokens: int,
  eos_id: int | Int[Array, ""],
  options: Options = GREEDY,
  keys: Array | None = None,
) -> GenerateOutput:
  """Continues every prompt.

  Prompts of different lengths stand in one batch, padded on the right. Row b
  goes on at slot lengths[b] of the cache, so a row's answer does not depend
  on what else is in the batch. The loop ends when every row has ended.

  Args:
    model: the module; static, so one compilation per model and shape.
    params: its parameters.
    tokens: prompts.
    lengths: real tokens in each row, at least 1.
    images: normalised pictures, or None.
    image_mask: slots among `tokens` that image latents fill.
    max_new_tokens: most tokens to add.
    eos_id: the id that ends a row.
    options: how the next token is chosen; greedy by default.
    keys: one random key a row; needed above temperature 0.

  Returns:
    The new tokens; see `GenerateOutput`.

  Raises:
    ValueError: if tokens are to be drawn and there are no keys.
  """
  if options.temperature and keys is None:
    raise ValueError("temperature above 0 needs a random key for every row.")
  batch_size, prompt_length = tokens.shape
  variables = {"params": params}
  kv_cache = model.decoder.new_kv_cache(
    batch_size, prompt_length + max_new_tokens
  )
  image_latents = None
  if images is not None and images.shape[1]:
    image_latents = model.apply(variables, images, method="encode_images")
  logits, kv_cache = prefill(
    model, params, tokens, lengths, kv_cache, image_latents, image_mask
  )

  def next_token(logits, history, step):
    log_probs = jax.nn.log_softmax(logits, axis=-1)
    allowed = sampling.restrict(
      logits, history, lengths + step, step, options, eos_id
    )
    token = sampling.choose(allowed, keys, step, options)
    log_prob = jnp.take_along_axis(log_probs, token[:, None], axis=-1)
    return token, log_prob[:, 0]

  history = jnp.pad(tokens, ((0, 0), (0, max_new_tokens)))
  first_step = jnp.zeros((), jnp.int32)
  token, log_prob = next_token(logits, history, first_step)
  start = _Loop(
    step=first_step,
    token=token,
    log_prob=log_prob,
    done=jnp.zeros(batch_size, bool),
    history=history,
    kv_cache=kv_cache,
    output=GenerateOutput(
      jnp.zeros((batch_size, max_new_tokens), jnp.int32),
      jnp.zeros(batch_size, jnp.int32),
      jnp.zeros((batch_size, max_new_tokens), jnp.float32),
    ),
  )

  def unfinished(loop: _Loop) -> Bool[Array, ""]:
    return (loop.step < max_new_tokens) & ~jnp.all(loop.done)

  def body(loop: _Loop) -> _Loop:
    output = GenerateOutput(
      loop.output.tokens.at[:, loop.step].set(
        jnp.where(loop.done, 0, loop.token)
      ),
      loop.output.lengths + ~loop.done,
      loop.output.log_probs.at[:, loop.step].set(
        jnp.where(loop.done, 0.0, loop.log_prob)
      ),
    )
    logits, kv_cache = decode_step(
      model, params, loop.token, lengths + loop.step, loop.kv_cache
    )
    rows = jnp.arange(batch_size)
    history = loop.history.at[rows, lengths + loop.step].set(loop.token)
    token, log_prob = next_token(logits, history, loop.step + 1)
    done = loop.done | (loop.token == eos_id)
    return _Loop(
      loop.step + 1, token, log_prob, done, history, kv_cache, output
    )

  return jax.lax.while_loop(unfinished, body, start).output


def prefill(
  model: Kosmos2,
  params: dict,
  tokens: Int[Array, "B T"],
  lengths: Int[Array, " B"],
  kv_cache: dict[str, Array],
  image_latents: Float[Array, "B M L D"] | None = None,
  image_mask: Bool[Array, "B T"] | None = None,
) -> tuple[Float[Array, "B V"], dict[str, Array]]:
  """Runs the prompts once; logits of the token after each, and the cache.

  Padding behind a short prompt is written to the cache too; no query sees it
  before a decode step has overwritten it (see `masks.cache_mask`).
  """
  logits, kv_cache = model.apply(
    {"params": params},
    tokens,
    kv_cache,
    jnp.zeros(tokens.shape[0], jnp.int32),
    image_latents,
    image_mask,
    method="decode",
  )
  last = jnp.take_along_axis(logits, (lengths - 1)[:, None, None], axis=1)
  return last[:, 0], kv_cache


def decode_step(
  model: Kosmos2,
  params: dict,
  token: Int[Array, " B"],
  cache_index: Int[Array, " B"],
  kv_cache: dict[str, Array],
) -> tuple[Float[Array, "B V"], dict[str, Array]]:
  """Adds one token to every row; logits of the next one, and the cache."""
  logits, kv_cache = model.apply(
    {"params": params}, token[:, None], kv_cache, cache_index, method="decode"
  )
  return logits[:, 0], kv_cache
