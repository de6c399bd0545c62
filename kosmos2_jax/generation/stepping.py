"""The loop of single-token steps: to its end, or a few steps at a time."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax.generation import sampling
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.models.stacking import KvCache


class GenerateOutput(NamedTuple):
  """What followed each prompt.

  Attributes:
    tokens: new ids; `eos_id` is among them if it was reached, zeros follow.
    lengths: how many of `tokens` count, the ending `eos_id` included.
    log_probs: natural log-probability of each new id under the model itself,
      before any rule or temperature; zeros behind the end.
    scores: what answers of one prompt are compared by: the sum of
      `log_probs`; with beams that of what the rules left, divided by
      length^penalty.
  """

  tokens: Int[Array, "B new"]
  lengths: Int[Array, " B"]
  log_probs: Float[Array, "B new"]
  scores: Float[Array, " B"]


class Loop(NamedTuple):
  """What one decode step hands to the next.

  Attributes:
    step: new tokens of each row so far, at least 1.
    token: the newest of each row.
    done: which rows have ended.
    history: prompts and answers; the newest token is not in it yet.
    lengths: tokens of each prompt.
    kv_cache: of `history`.
    output: the answers so far.
  """

  step: Int[Array, ""]
  token: Int[Array, " B"]
  done: Bool[Array, " B"]
  history: Int[Array, "B S"]
  lengths: Int[Array, " B"]
  kv_cache: KvCache
  output: GenerateOutput


def begin(
  logits: Float[Array, "B V"],
  kv_cache: KvCache,
  history: Int[Array, "B S"],
  lengths: Int[Array, " B"],
  *,
  max_new_tokens: int,
  eos_id: int | Int[Array, ""],
  options: Options,
  keys: Array | None,
) -> Loop:
  """Chooses the first token of every row.

  Args:
    logits: after each prompt.
    kv_cache: of the prompts, with room for the answers.
    history: the prompts, with room for the answers.
    lengths: tokens of each prompt.
    max_new_tokens: most tokens to add.
    eos_id: the id that ends a row.
    options: how the next token is chosen.
    keys: one random key a row; needed above temperature 0.
  """
  batch_size = len(history)
  start = jnp.zeros((), jnp.int32)
  nothing = GenerateOutput(
    jnp.zeros((batch_size, max_new_tokens), jnp.int32),
    jnp.zeros(batch_size, jnp.int32),
    jnp.zeros((batch_size, max_new_tokens), jnp.float32),
    jnp.zeros(batch_size, jnp.float32),
  )
  done = jnp.zeros(batch_size, bool)
  loop = Loop(start, lengths, done, history, lengths, kv_cache, nothing)
  return _choose(loop, logits, eos_id, options, keys)


def advance(
  decode_step: Callable,
  loop: Loop,
  until: int | Int[Array, ""],
  *,
  eos_id: int | Int[Array, ""],
  options: Options,
  keys: Array | None,
) -> Loop:
  """Runs steps until every row has so many new tokens, or has ended.

  Args:
    decode_step: from (token, cache_index, kv_cache) to logits and kv_cache.
    loop: see `begin`.
    until: new tokens; at most `max_new_tokens` of `begin`.
    eos_id: see `begin`.
    options: see `begin`.
    keys: see `begin`.
  """

  def unfinished(loop: Loop) -> Bool[Array, ""]:
    return (loop.step < until) & ~jnp.all(loop.done)

  def body(loop: Loop) -> Loop:
    place = loop.lengths + loop.step - 1
    logits, kv_cache = decode_step(loop.token, place, loop.kv_cache)
    rows = jnp.arange(len(loop.history))
    history = loop.history.at[rows, place].set(loop.token)
    loop = loop._replace(history=history, kv_cache=kv_cache)
    return _choose(loop, logits, eos_id, options, keys)

  return jax.lax.while_loop(unfinished, body, loop)


def _choose(loop: Loop, logits, eos_id, options, keys) -> Loop:
  log_probs = jax.nn.log_softmax(logits, axis=-1)
  step, done, output = loop.step, loop.done, loop.output
  allowed = sampling.restrict(
    logits, loop.history, loop.lengths + step, step, options, eos_id
  )
  token = sampling.choose(allowed, keys, step, options)
  token = jnp.where(done, 0, token)
  log_prob = jnp.take_along_axis(log_probs, token[:, None], axis=-1)[:, 0]
  log_prob = jnp.where(done, 0.0, log_prob)
  output = GenerateOutput(
    output.tokens.at[:, step].set(token),
    output.lengths + ~done,
    output.log_probs.at[:, step].set(log_prob),
    output.scores + log_prob,
  )
  return loop._replace(
    step=step + 1, token=token, done=done | (token == eos_id), output=output
  )
