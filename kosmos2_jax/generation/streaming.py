"""One prompt, answered a few tokens at a time."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from kosmos2_jax.generation import decode, prompting, requests, stepping
from kosmos2_jax.generation.latents import Latents
from kosmos2_jax.generation.placement import DEFAULT, Placement
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.generation.stepping import Loop
from kosmos2_jax.models.kosmos2 import Kosmos2
from kosmos2_jax.text.vocab import Vocab


def stream(
  model: Kosmos2,
  params: Mapping[str, Any],
  row: prompting.Row,
  *,
  vocab: Vocab,
  eos_id: int,
  max_new_tokens: int,
  options: Options,
  seed: int,
  every: int,
  placement: Placement = DEFAULT,
) -> Iterator[requests.Answer]:
  """Continues a row; yields the answer so far, and at last the whole one.

  The steps are those of `requests.generate` for this row alone, with a pause
  after some of them. Nothing is computed for who asks for no more.

  Args:
    model: the module.
    params: its parameters, on devices.
    row: see `prompting.make_row`.
    vocab: the layout of the ids.
    eos_id: ends an answer.
    max_new_tokens: where an answer is cut off.
    options: how tokens are chosen.
    seed: of the tokens that are drawn.
    every: steps between two answers, at least 1; the first one comes after
      the first token.
    placement: of the rows.
  """
  latents = Latents(model, params, 1, placement)
  stacked, _ = requests.stack([row], vocab, latents, placement)
  keys = None
  if options.temperature:
    seeds = jnp.full(stacked[0].shape[0], seed, jnp.uint32)
    keys = jax.vmap(jax.random.key)(seeds)
  choosing = {"eos_id": eos_id, "options": options, "keys": keys}
  loop = _begin(
    model, params, *stacked, max_new_tokens=max_new_tokens, **choosing
  )
  step = 1
  while True:
    tokens, [length, *_], log_probs, scores = jax.device_get(loop.output)
    found = requests.Answer(
      tokens[0, :length].tolist(),
      log_probs[0, :length].tolist(),
      float(scores[0]),
    )
    yield found
    if length < step or length == max_new_tokens or found.tokens[-1] == eos_id:
      return
    step = min(step + every, max_new_tokens)
    loop = _advance(model, params, loop, step, **choosing)


@functools.partial(
  jax.jit, static_argnames=("model", "max_new_tokens", "options")
)
def _begin(
  model: Kosmos2,
  params: Mapping[str, Any],
  tokens: Int[Array, "B T"],
  lengths: Int[Array, " B"],
  images: decode.Images | None,
  image_mask: Bool[Array, "B T"] | None,
  *,
  max_new_tokens: int,
  eos_id: int | Int[Array, ""],
  options: Options,
  keys: Array | None,
) -> Loop:
  logits, kv_cache, history, lengths = decode.read_prompts(
    model,
    params,
    (tokens, lengths, images, image_mask),
    None,
    max_new_tokens,
  )
  return stepping.begin(
    logits,
    kv_cache,
    history,
    lengths,
    max_new_tokens=max_new_tokens,
    eos_id=eos_id,
    options=options,
    keys=keys,
  )


# The loop's arrays are given away: the cache is as large as a small model.
@functools.partial(
  jax.jit, static_argnames=("model", "options"), donate_argnames="loop"
)
def _advance(
  model: Kosmos2,
  params: Mapping[str, Any],
  loop: Loop,
  until: int | Int[Array, ""],
  *,
  eos_id: int | Int[Array, ""],
  options: Options,
  keys: Array | None,
) -> Loop:
  step = functools.partial(decode.decode_step, model, params)
  return stepping.advance(
    step, loop, until, eos_id=eos_id, options=options, keys=keys
  )
