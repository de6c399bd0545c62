"""Beam search inside jit, with the scores and the end of Hugging Face's.

A step extends every live answer by every token, keeps the 2 K best of all
(K = `num_beams`), moves those among the first K of them that end to the
finished answers, and goes on with the K best that do not end. A finished
answer is worth the sum of its log-probabilities / length^penalty. A row is
over when no live answer can be worth more than the worst finished one.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax.generation import sampling
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.models import stacking
from kosmos2_jax.models.stacking import KvCache

# Below every real score and above what the rules forbid.
UNSET = -1e9
EARLY_STOPPING = (False, True, "never")


@dataclasses.dataclass(frozen=True)
class BeamOptions:
  """How to search; static.

  Attributes:
    num_beams: answers of a row that are followed at once.
    length_penalty: exponent of the length by which a sum of log-probabilities
      is divided; above 0 favours long answers.
    early_stopping: when a row is over. True: with `num_beams` finished
      answers. False: when the best live answer, ended now, would not be among
      them. "never": when it could not be at any length.
    num_results: how many answers of a row are returned.
  """

  num_beams: int
  length_penalty: float = 1.0
  early_stopping: bool | str = False
  num_results: int = 1

  def __post_init__(self):
    """Raises ValueError for a number out of range."""
    if self.num_beams < 2:
      raise ValueError(f"num_beams is 2 or more; got {self.num_beams}.")
    if not 1 <= self.num_results <= self.num_beams:
      raise ValueError(
        f"num_results is 1 to num_beams, {self.num_beams}; got"
        f" {self.num_results}."
      )
    if self.early_stopping not in EARLY_STOPPING:
      raise ValueError(
        f"early_stopping is one of {EARLY_STOPPING}; got"
        f" {self.early_stopping!r}."
      )


class _Answers(NamedTuple):
  """K answers of every row, best first.

  Attributes:
    tokens: new ids, zeros behind the end.
    lengths: how many count.
    log_probs: of each id under the model itself.
    scores: sums of what the rules left; divided by the length if finished.
  """

  tokens: Int[Array, "B K new"]
  lengths: Int[Array, "B K"]
  log_probs: Float[Array, "B K new"]
  scores: Float[Array, "B K"]

  def take(self, places: Int[Array, "B J"]) -> "_Answers":
    """The answers at these places of each row."""

    def one(array):
      index = places.reshape(*places.shape, *[1] * (array.ndim - 2))
      return jnp.take_along_axis(array, index, axis=1)

    return _Answers(*map(one, self))


class _Search(NamedTuple):
  """What one step hands to the next.

  Attributes:
    step: tokens that the live answers have.
    live: answers that go on.
    finished: answers that ended.
    is_finished: which of `finished` there are.
    improvable: rows that can still get a better finished answer.
    ended: all continuations of all rows ended.
    history: prompt and live answer of each beam.
    kv_cache: rows are beams.
  """

  step: Int[Array, ""]
  live: _Answers
  finished: _Answers
  is_finished: Bool[Array, "B K"]
  improvable: Bool[Array, " B"]
  ended: Bool[Array, ""]
  history: Int[Array, "BK S"]
  kv_cache: KvCache


def search(
  decode_step: Callable[..., tuple[Array, KvCache]],
  logits: Float[Array, "B V"],
  kv_cache: KvCache,
  history: Int[Array, "B S"],
  lengths: Int[Array, " B"],
  *,
  max_new_tokens: int,
  eos_id: int | Int[Array, ""],
  options: Options,
  beam: BeamOptions,
) -> tuple[Array, Array, Array, Array]:
  """Finds the best continuations of prompts that have been read.

  Args:
    decode_step: from a token, its slot and the cache of every row to the
      next logits and the cache.
    logits: of the token after each prompt.
    kv_cache: of the prompts.
    history: the prompts, with room for the answers.
    lengths: tokens of each prompt.
    max_new_tokens: where an answer is cut off.
    eos_id: ends an answer.
    options: the rules; nothing is drawn.
    beam: how to search.

  Returns:
    `tokens` int32 [B·n, new], `lengths` int32 [B·n], `log_probs` float32
    [B·n, new] and `scores` float32 [B·n]; n = `num_results` answers of a row
    after each other, best first.
  """
  batch_size, num_beams = len(logits), beam.num_beams
  rows = jnp.repeat(jnp.arange(batch_size), num_beams)
  lengths = lengths[rows]
  first = _start(batch_size, num_beams, max_new_tokens)._replace(
    history=history[rows], kv_cache=stacking.take_rows(kv_cache, rows)
  )

  def advance(now: _Search, logits) -> _Search:
    candidates, parents = _extend(now, logits, lengths, options, eos_id)
    return _select(now, candidates, parents, lengths, eos_id, beam)

  def body(now: _Search) -> _Search:
    token = now.live.tokens[:, :, now.step - 1].reshape(-1)
    logits, kv_cache = decode_step(token, lengths + now.step - 1, now.kv_cache)
    return advance(now._replace(kv_cache=kv_cache), logits)

  def unfinished(now: _Search) -> Bool[Array, ""]:
    open_rows = jnp.any(now.improvable) & ~now.ended
    if beam.early_stopping is True:
      open_rows &= ~jnp.all(now.is_finished)
    return open_rows

  last = jax.lax.while_loop(unfinished, body, advance(first, logits[rows]))
  best = jax.tree.map(lambda x: x[:, : beam.num_results], last.finished)
  return tuple(x.reshape(-1, *x.shape[2:]) for x in best)


def _start(batch_size: int, num_beams: int, max_new_tokens: int) -> _Search:
  shape = (batch_size, num_beams)
  empty = _Answers(
    jnp.zeros((*shape, max_new_tokens), jnp.int32),
    jnp.zeros(shape, jnp.int32),
    jnp.zeros((*shape, max_new_tokens), jnp.float32),
    jnp.full(shape, UNSET, jnp.float32),
  )
  return _Search(
    step=jnp.zeros((), jnp.int32),
    # All beams of a row are the same at first: only one of them counts.
    live=empty._replace(scores=empty.scores.at[:, 0].set(0.0)),
    finished=empty,
    is_finished=jnp.zeros(shape, bool),
    improvable=jnp.ones(batch_size, bool),
    ended=jnp.zeros((), bool),
    history=None,
    kv_cache=None,
  )


def _extend(now, logits, lengths, options, eos_id):
  """The 2 K best continuations of each row, and the beams they continue."""
  batch_size, num_beams = now.live.scores.shape
  own = jax.nn.log_softmax(logits, axis=-1)
  left = sampling.restrict(
    own, now.history, lengths + now.step, now.step, options, eos_id
  )
  vocab_size = logits.shape[-1]
  total = left.reshape(batch_size, num_beams, -1) + now.live.scores[..., None]
  scores, places = jax.lax.top_k(
    total.reshape(batch_size, -1), min(2 * num_beams, total[0].size)
  )
  parents, tokens = jnp.divmod(places, vocab_size)
  own = own.reshape(batch_size, -1)
  log_probs = jnp.take_along_axis(own, places, axis=1)
  before = now.live.take(parents)
  candidates = _Answers(
    before.tokens.at[:, :, now.step].set(tokens),
    before.lengths + 1,
    before.log_probs.at[:, :, now.step].set(log_probs),
    scores,
  )
  return candidates, parents


def _select(now, candidates, parents, lengths, eos_id, beam) -> _Search:
  """Sorts continuations into finished answers and live ones."""
  step = now.step + 1
  batch_size, num_beams = now.live.scores.shape
  max_new_tokens = now.live.tokens.shape[-1]
  tokens = candidates.tokens[:, :, now.step]
  ends = (tokens == eos_id) | (step >= max_new_tokens)
  # The others are there so that K remain, whatever ends.
  newly = ends & (jnp.arange(ends.shape[1]) < num_beams)
  worth = candidates.scores / step.astype(jnp.float32) ** beam.length_penalty
  closed = ~now.improvable
  if beam.early_stopping is True:
    closed |= jnp.all(now.is_finished, axis=1)
  worth = jnp.where(newly & ~closed[:, None], worth, worth + UNSET)
  merged = jax.tree.map(
    lambda one, other: jnp.concatenate([one, other], axis=1),
    now.finished,
    candidates._replace(scores=worth),
  )
  best = jax.lax.top_k(merged.scores, num_beams)[1]
  finished = merged.take(best)
  is_finished = jnp.take_along_axis(
    jnp.concatenate([now.is_finished, newly], axis=1), best, axis=1
  )

  running = candidates._replace(scores=candidates.scores + ends * UNSET)
  going_on = jax.lax.top_k(running.scores, num_beams)[1]
  live = running.take(going_on)
  parents = jnp.take_along_axis(parents, going_on, axis=1)
  rows = (parents + num_beams * jnp.arange(batch_size)[:, None]).reshape(-1)
  history = now.history[rows]
  place = lengths + now.step
  history = history.at[jnp.arange(len(rows)), place].set(
    live.tokens[:, :, now.step].reshape(-1)
  )

  length = step.astype(jnp.float32)
  if beam.early_stopping == "never" and beam.length_penalty > 0:
    length = jnp.float32(max_new_tokens)
  hope = live.scores[:, 0] / length**beam.length_penalty
  worst = jnp.min(finished.scores, axis=1, keepdims=True)
  worst = jnp.where(is_finished, worst, UNSET)
  return _Search(
    step=step,
    live=live,
    finished=finished,
    is_finished=is_finished,
    improvable=now.improvable & jnp.any(hope[:, None] > worst, axis=1),
    ended=jnp.all(ends),
    history=history,
    kv_cache=stacking.take_rows(now.kv_cache, rows),
  )
