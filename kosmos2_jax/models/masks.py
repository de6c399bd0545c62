"""Attention masks: boolean, True = may attend, shaped [B, 1, T, S].

A `CausalMask` is the rule instead of the array, for kernels that never need it.
"""

import flax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def causal_mask(segment_ids: Int[Array, "B T"]) -> Bool[Array, "B 1 T T"]:
  """Every token sees itself and what stands before it in its own segment.

  Padding (segment 0) sees only padding, and nothing else sees padding.

  Args:
    segment_ids: 0 = padding, 1, 2, … = the packed examples of a row.
  """
  length = segment_ids.shape[1]
  causal = jnp.tril(jnp.ones((length, length), bool))
  same = segment_ids[:, :, None] == segment_ids[:, None, :]
  return (causal & same)[:, None]


def cache_mask(
  cache_index: Int[Array, " B"], num_queries: int, num_slots: int
) -> Bool[Array, "B 1 T S"]:
  """Causal mask over the slots of a key/value cache.

  Query t of row b stands at slot cache_index[b] + t and sees that slot and
  those before it. Slots behind it may hold the padding of a longer prompt;
  decoding overwrites each of them before any query can see it.

  Args:
    cache_index: slot of the first query in every row.
    num_queries: T.
    num_slots: S, the length of the cache.
  """
  slot = cache_index[:, None] + jnp.arange(num_queries)
  return (jnp.arange(num_slots) <= slot[..., None])[:, None]


@flax.struct.dataclass
class CausalMask:
  """`causal_mask` as a rule.

  Attributes:
    segment_ids: int32 [B, T], see `causal_mask`.
  """

  segment_ids: Array

  def written_out(self) -> Bool[Array, "B 1 T T"]:
    """The mask as an array."""
    return causal_mask(self.segment_ids)


AttnMask = Bool[Array, "#B 1 #T S"] | CausalMask
