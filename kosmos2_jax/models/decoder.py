"""The location-aware decoder: a sub-LN transformer whose words include boxes.

Location tokens are ordinary rows of the tied embedding table, so the language
head is the location head.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax.activations import constrain
from kosmos2_jax.models import (
  embedding,
  initializers,
  layers,
  masks,
  stacking,
)
from kosmos2_jax.models.attention import MASKED_LOGIT
from kosmos2_jax.models.masks import AttnMask
from kosmos2_jax.models.stacking import KvCache

VOCAB_MULTIPLE = 128  # rows are padded to this, so that meshes divide them
PAD_ID = 1
KV_NAMES = ("key", "value")
LOCATION_INITS = ("normal", "sincos2d")
LOSS_CHUNK = 256


def padded_size(vocab_size: int) -> int:
  """Rows of the table in memory: `vocab_size` rounded up to 128."""
  return -(-vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def sinusoidal_positions(
  positions: Int[Array, "*B T"], width: int
) -> Float[Array, "*B T D"]:
  """The original's absolute positions: all sines, then all cosines.

  frequency_i = 10000^(-i / (D/2 - 1)). The first token of a sequence uses row
  2 of the original's table (row 1 belongs to padding), so position 0 here is
  its row 2.

  Args:
    positions: 0-based place of a token in its segment.
    width: D.

  Returns:
    float32 codes.
  """
  half = width // 2
  frequencies = jnp.exp(
    jnp.arange(half, dtype=jnp.float32) * (-math.log(10000.0) / (half - 1))
  )
  angles = (positions + 2).astype(jnp.float32)[..., None] * frequencies
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class DecoderLayer(nn.Module):
  """Sub-LN transformer layer: norms before and inside both blocks."""

  num_heads: int
  mlp_dim: int
  gain: float
  dropout_rate: float
  implementation: str = "xla"
  transposed: bool = False
  dtype: jnp.dtype = jnp.dtype("float32")

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    kv_cache: dict[str, Array] | None,
    attn_mask: AttnMask,
    cache_index: Int[Array, " B"] | None,
    deterministic: bool,
  ) -> tuple[Float[Array, "B T D"], dict[str, Array] | None]:
    """Applies attention and MLP; attention weights have no dropout."""
    drop = nn.Dropout(self.dropout_rate, deterministic=deterministic)
    x = constrain(x, "residual")
    h = layers.layer_norm("attn_norm", self.dtype)(x)
    h, kv_cache = layers.Attention(
      x.shape[-1],
      self.num_heads,
      inner_norm=True,
      value_gain=self.gain,
      implementation=self.implementation,
      transposed=self.transposed,
      dtype=self.dtype,
      name="attention",
    )(h, attn_mask=attn_mask, kv_cache=kv_cache, cache_index=cache_index)
    x = x + drop(h)
    h = layers.layer_norm("mlp_norm", self.dtype)(x)
    h = layers.Mlp(
      self.mlp_dim,
      layers.exact_gelu,
      inner_norm=True,
      gain=self.gain,
      transposed=self.transposed,
      dtype=self.dtype,
      name="mlp",
    )(h)
    return constrain(x + drop(h), "residual"), kv_cache


class Decoder(nn.Module):
  """Token ids and image latents to next-token logits.

  Attributes:
    vocab_size: real rows; the table is padded to a multiple of 128.
    num_bins: location bins per side; the last num_bins² real rows are the
      location tokens.
    width: channels D.
    depth: layers.
    mlp_dim: hidden channels of the MLP.
    num_heads: attention heads.
    dropout_rate: dropout on embeddings and residual branches.
    location_init: "normal" (as all rows) or "sincos2d", which starts every
      location token at the code of its place, so that neighbouring bins are
      neighbours from the first step (for models trained from scratch).
    dtype: compute type.
    stacked: see `stacking`.
    attention: see `attention.attend`; a call with a cache uses "xla".
    remat: see `stacking.scan_layers`.
    unroll: see `stacking.scan_layers`.
    loss_chunk: targets whose logits training has at once on a device; see
      `chunked_loss`.
  """

  vocab_size: int
  num_bins: int
  width: int
  depth: int
  mlp_dim: int
  num_heads: int
  dropout_rate: float = 0.0
  location_init: str = "normal"
  dtype: jnp.dtype = jnp.dtype("float32")
  stacked: bool = True
  attention: str = "xla"
  remat: str = "none"
  unroll: int = 1
  loss_chunk: int = LOSS_CHUNK

  @property
  def head_dim(self) -> int:
    """Channels of one head."""
    return self.width // self.num_heads

  def setup(self):
    if self.location_init not in LOCATION_INITS:
      raise ValueError(
        f"location_init must be one of {LOCATION_INITS}; "
        f"got {self.location_init!r}."
      )
    self.embedding = self.param(
      "embedding",
      self._embedding_init,
      (padded_size(self.vocab_size), self.width),
    )
    self.embed_dropout = nn.Dropout(self.dropout_rate)
    self.layers = stacking.make_layers(
      DecoderLayer,
      self.num_heads,
      self.mlp_dim,
      initializers.sub_ln_gain(self.depth),
      self.dropout_rate,
      self.attention,
      depth=self.depth,
      stacked=self.stacked,
      dtype=self.dtype,
      remat=self.remat,
      unroll=self.unroll,
      num_broadcast=2,
    )
    self.final_norm = layers.layer_norm("final_norm", self.dtype)

  def __call__(
    self,
    tokens: Int[Array, "B T"],
    image_latents: Float[Array, "B M L D"] | None = None,
    image_mask: Bool[Array, "B T"] | None = None,
    segment_ids: Int[Array, "B T"] | None = None,
    positions: Int[Array, "B T"] | None = None,
    kv_cache: KvCache | None = None,
    cache_index: Int[Array, " B"] | None = None,
    last: Int[Array, " B"] | None = None,
    deterministic: bool = True,
  ) -> tuple[Float[Array, "B wanted V"], KvCache | None]:
    """Logits of the next token at every position.

    Args:
      tokens: ids; those under `image_mask` are placeholders.
      image_latents: latents of the rows' pictures; needed where `image_mask`
        is True.
      image_mask: slots that latents fill, in order of pictures and latents.
      segment_ids: packing; one segment a row if None. Unused with a cache.
      positions: 0-based place in the segment; counted from the cache index
        (or 0) if None.
      kv_cache: see `new_kv_cache`; the new keys and values are written to it.
      cache_index: int32 [B], the slot of the first token; needed with a cache.
      last: int32 [B], the only token of each row whose logits are wanted, for
        a result [B, 1, V]; None for all.
      deterministic: False turns dropout on (rng "dropout").

    Returns:
      float32 logits over the padded vocabulary (padding rows at -1e30) and
      the updated cache (None without one).
    """
    x, kv_cache = self.hidden(
      tokens,
      image_latents,
      image_mask,
      segment_ids,
      positions,
      kv_cache,
      cache_index,
      last,
      deterministic,
    )
    logits = jnp.einsum(
      "btd,vd->btv",
      x,
      self.embedding.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )
    real = jnp.arange(logits.shape[-1]) < self.vocab_size
    return jnp.where(real, logits, MASKED_LOGIT), kv_cache

  def hidden(
    self,
    tokens: Int[Array, "B T"],
    image_latents: Float[Array, "B M L D"] | None = None,
    image_mask: Bool[Array, "B T"] | None = None,
    segment_ids: Int[Array, "B T"] | None = None,
    positions: Int[Array, "B T"] | None = None,
    kv_cache: KvCache | None = None,
    cache_index: Int[Array, " B"] | None = None,
    last: Int[Array, " B"] | None = None,
    deterministic: bool = True,
  ) -> tuple[Float[Array, "B wanted D"], KvCache | None]:
    """What the language head multiplies with the embedding; see `__call__`.

    Returns:
      The last layer's output after the final norm, and the updated cache.
    """
    length = tokens.shape[1]
    if kv_cache is not None:
      one = kv_cache if self.stacked else kv_cache[0]
      num_slots = one["key"].shape[-3]
      attn_mask = masks.cache_mask(cache_index, length, num_slots)
      start = cache_index[:, None]
    else:
      if segment_ids is None:
        segment_ids = jnp.ones_like(tokens)
      attn_mask = masks.CausalMask(segment_ids)
      if self.attention == "xla":
        attn_mask = attn_mask.written_out()  # once for all layers
      start = 0
    if positions is None:
      positions = jnp.broadcast_to(start + jnp.arange(length), tokens.shape)
    x = embedding.look_up(self.embedding, tokens, self.dtype)
    if image_latents is not None and image_latents.shape[1]:
      image_latents = constrain(image_latents, "image_latents")
      x = splice(x, image_latents.astype(self.dtype), image_mask)
    # Rounded once, behind the sum: float32 up to there.
    x = x.astype(jnp.float32) * math.sqrt(self.width)
    x = x + sinusoidal_positions(positions, self.width)
    x = x.astype(self.dtype)
    x = self.embed_dropout(x, deterministic=deterministic)
    x = constrain(x, "residual")
    x, kv_cache = stacking.run_layers(
      self.layers, x, kv_cache, attn_mask, cache_index, deterministic
    )
    if last is not None:
      x = jnp.take_along_axis(x, last[:, None, None], axis=1)
    return self.final_norm(x), kv_cache

  def new_kv_cache(self, batch_size: int, num_slots: int) -> KvCache:
    """An empty cache: `key` and `value` [depth, B, num_slots, N, H].

    With separate layers a list of `depth` such dicts without the first axis.
    """
    shape = (batch_size, num_slots, self.num_heads, self.head_dim)

    def empty(*lead):
      return {k: jnp.zeros((*lead, *shape), self.dtype) for k in KV_NAMES}

    if self.stacked:
      return empty(self.depth)
    return [empty() for _ in range(self.depth)]

  def _embedding_init(self, key, shape, dtype=jnp.float32):
    table = jax.random.normal(key, shape, dtype) * self.width**-0.5
    table = table.at[PAD_ID].set(0.0).at[self.vocab_size :].set(0.0)
    if self.location_init == "sincos2d":
      codes = initializers.sincos_2d(self.width, self.num_bins, self.num_bins)
      # Entries of a sinusoid have variance 1/2; keep the other rows' norm.
      codes = codes * math.sqrt(2.0) * self.width**-0.5
      first = self.vocab_size - self.num_bins**2
      table = table.at[first : self.vocab_size].set(codes.astype(dtype))
    return table


def splice(
  x: Float[Array, "B T D"],
  image_latents: Float[Array, "B M L D"],
  image_mask: Bool[Array, "B T"],
) -> Float[Array, "B T D"]:
  """Puts latents into the slots of their own row, in order.

  Slot k of a row gets the k-th of its M·L latents. Rows may use fewer
  pictures than M; latents beyond a row's slots are not read.
  """
  flat = image_latents.reshape(x.shape[0], -1, x.shape[-1])
  slot = jnp.cumsum(image_mask, axis=1) - 1
  slot = jnp.clip(slot, 0, flat.shape[1] - 1)
  latents = jnp.take_along_axis(flat, slot[..., None], axis=1)
  return jnp.where(image_mask[..., None], latents, x)
