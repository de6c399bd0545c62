"""How the next token is chosen from the logits: rules, then a choice.

Everything here runs inside jit, for all rows of a batch at once. The rules and
their order are those of Hugging Face's `generate`: forbidden n-grams, minimal
length, (grammar of boxes,) temperature, top-k, top-p.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax.generation.constraints import BoxGrammar

# Low enough for any softmax, and finite: -inf minus -inf would be no number.
FORBIDDEN = -1e30


@dataclasses.dataclass(frozen=True)
class Options:
  """How to decode; static, so a function is compiled once for each of them.

  Attributes:
    temperature: 0 takes the most probable token; else logits are divided by
      it and a token is drawn.
    top_k: draw from the k most probable tokens only; 0 for all.
    top_p: draw from the fewest tokens whose probabilities add up to this.
    min_new_tokens: the end is forbidden before so many tokens.
    no_repeat_ngram_size: no sequence of so many tokens occurs twice in prompt
      and answer; 0 for no such rule. The released model was evaluated with 3.
    boxes: keeps boxes well-formed, or None.
  """

  temperature: float = 0.0
  top_k: int = 0
  top_p: float = 1.0
  min_new_tokens: int = 0
  no_repeat_ngram_size: int = 0
  boxes: BoxGrammar | None = None

  def __post_init__(self):
    """Raises ValueError for a number out of range."""
    if not self.temperature >= 0:
      raise ValueError(f"temperature is 0 or more; got {self.temperature}.")
    if not 0 < self.top_p <= 1:
      raise ValueError(f"top_p is in (0, 1]; got {self.top_p}.")
    for name in ("top_k", "min_new_tokens", "no_repeat_ngram_size"):
      if getattr(self, name) < 0:
        raise ValueError(f"{name} is 0 or more; got {getattr(self, name)}.")
    if not self.temperature and (self.top_k or self.top_p < 1):
      raise ValueError(
        "top_k and top_p need a temperature above 0: without one the most"
        " probable token is taken."
      )


def restrict(
  logits: Float[Array, "B V"],
  history: Int[Array, "B S"],
  lengths: Int[Array, " B"],
  step: Int[Array, ""],
  options: Options,
  eos_id: int | Int[Array, ""],
) -> Float[Array, "B V"]:
  """The logits with what the rules forbid at `FORBIDDEN`.

  Args:
    logits: float32.
    history: prompt and answer so far of each row.
    lengths: how many tokens of `history` count.
    step: tokens of the answer so far.
    options: the rules.
    eos_id: the id that ends a row.
  """
  if options.no_repeat_ngram_size:
    repeated = _repeated(
      history, lengths, options.no_repeat_ngram_size, logits.shape[-1]
    )
    logits = jnp.where(repeated, FORBIDDEN, logits)
  if options.min_new_tokens:
    is_end = jnp.arange(logits.shape[-1]) == eos_id
    too_early = is_end & (step < options.min_new_tokens)
    logits = jnp.where(too_early, FORBIDDEN, logits)
  if options.boxes is not None:
    allowed = options.boxes.allowed(history, lengths, logits.shape[-1])
    logits = jnp.where(allowed, logits, FORBIDDEN)
  return logits


def choose(
  logits: Float[Array, "B V"],
  keys: Array | None,
  step: Int[Array, ""],
  options: Options,
) -> Int[Array, " B"]:
  """The next token of every row.

  Args:
    logits: after `restrict`.
    keys: one random key a row, of its request's seed; a row's answer does not
      depend on the others. None is enough at temperature 0.
    step: folded into the keys.
    options: temperature, top-k, top-p.
  """
  if not options.temperature:
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)
  logits = narrow(logits, options)
  step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
  return jax.vmap(jax.random.categorical)(step_keys, logits).astype(jnp.int32)


def narrow(
  logits: Float[Array, "B V"], options: Options
) -> Float[Array, "B V"]:
  """What tokens are drawn from: temperature, top-k, top-p, in this order.

  Args:
    logits: after `restrict`.
    options: with a temperature above 0.
  """
  logits = logits / options.temperature
  if options.top_k:
    k = min(options.top_k, logits.shape[-1])
    least = jax.lax.top_k(logits, k)[0][:, -1:]
    logits = jnp.where(logits < least, FORBIDDEN, logits)
  if options.top_p < 1:
    logits = jnp.where(_nucleus(logits, options.top_p), logits, FORBIDDEN)
  return logits


def _nucleus(logits, top_p) -> Bool[Array, "B V"]:
  """The fewest most probable tokens that have `top_p` together; at least one.

  A token stays if those more probable than it do not have `top_p` already.
  """
  order = jnp.argsort(-logits, axis=-1)
  probs = jnp.take_along_axis(jax.nn.softmax(logits, axis=-1), order, axis=-1)
  before = jnp.cumsum(probs, axis=-1) - probs
  rows = jnp.arange(len(logits))[:, None]
  return jnp.zeros(logits.shape, bool).at[rows, order].set(before < top_p)


def _repeated(history, lengths, size, vocab_size) -> Bool[Array, "B V"]:
  """Tokens that would end an n-gram which the row has had already."""
  rows = jnp.arange(len(history))[:, None]
  num_windows = history.shape[1] - size + 1
  if num_windows < 1:
    return jnp.zeros((len(history), vocab_size), bool)
  start = jnp.arange(num_windows)
  # Only n-grams that end before the next token count.
  same = start + size <= lengths[:, None]
  for offset in range(size - 1):
    place = lengths[:, None] - (size - 1) + offset
    last = jnp.take_along_axis(history, jnp.maximum(place, 0), axis=1)
    same &= (history[:, offset : offset + num_windows] == last) & (place >= 0)
  ending = history[:, size - 1 :]
  return jnp.zeros((len(history), vocab_size), bool).at[rows, ending].max(same)
