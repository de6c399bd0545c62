"""Kosmos-2: pictures and text in, text with boxes out."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax.activations import constrain
from kosmos2_jax.models.decoder import Decoder
from kosmos2_jax.models.resampler import PerceiverResampler
from kosmos2_jax.models.stacking import KvCache
from kosmos2_jax.models.vision import VisionEncoder

NORM_EPS = 1e-12


def l2_normalize(x: Float[Array, "*dims E"]) -> Float[Array, "*dims E"]:
  """Every token to unit length, computed in float32 (PyTorch's F.normalize)."""
  wide = x.astype(jnp.float32)
  norm = jnp.sqrt(jnp.sum(jnp.square(wide), axis=-1, keepdims=True))
  return (wide / jnp.maximum(norm, NORM_EPS)).astype(x.dtype)


class Kosmos2(nn.Module):
  """The whole model.

  Attributes:
    vision: encodes a picture into patch features; None in a model of text
      alone.
    resampler: turns patch features into the latents that fill text slots;
      None in a model of text alone.
    decoder: predicts the next token.
  """

  vision: VisionEncoder | None
  resampler: PerceiverResampler | None
  decoder: Decoder

  def with_attention(self, name: str) -> "Kosmos2":
    """The same model with another implementation; see `attention.attend`."""
    return self.clone(
      vision=self.vision and self.vision.clone(attention=name),
      decoder=self.decoder.clone(attention=name),
    )

  def __call__(
    self,
    tokens: Int[Array, "B T"],
    images: Float[Array, "B M height width 3"] | None = None,
    image_mask: Bool[Array, "B T"] | None = None,
    segment_ids: Int[Array, "B T"] | None = None,
    positions: Int[Array, "B T"] | None = None,
    deterministic: bool = True,
  ) -> Float[Array, "B T V"]:
    """Logits of the next token at every position.

    Args:
      tokens: ids of a row; slots for latents hold any id.
      images: the rows' pictures, CLIP-normalised, or None (or M = 0) for
        text alone.
      image_mask: True in the slots; each row has at most M·L of them.
      segment_ids: 0 = padding, 1, 2, … = packed examples; all 1 if None.
      positions: 0-based place in the segment; 0, 1, 2, … if None.
      deterministic: False turns dropout on (rng "dropout").

    Returns:
      float32 logits over the padded vocabulary; padding rows at -1e30.

    Raises:
      ValueError: for pictures in a model of text alone.
    """
    logits, _ = self.decoder(
      tokens,
      self._latents(images, deterministic),
      image_mask,
      segment_ids,
      positions,
      deterministic=deterministic,
    )
    return logits

  def hidden(
    self,
    tokens: Int[Array, "B T"],
    images: Float[Array, "B M height width 3"] | None = None,
    image_mask: Bool[Array, "B T"] | None = None,
    segment_ids: Int[Array, "B T"] | None = None,
    positions: Int[Array, "B T"] | None = None,
    deterministic: bool = True,
  ) -> Float[Array, "B T D"]:
    """What `__call__` makes its logits of, for losses that need none."""
    hidden, _ = self.decoder.hidden(
      tokens,
      self._latents(images, deterministic),
      image_mask,
      segment_ids,
      positions,
      deterministic=deterministic,
    )
    return hidden

  def _latents(self, images, deterministic):
    if images is None or not images.shape[1]:
      return None
    return self.encode_images(images, deterministic)

  def encode_images(
    self,
    images: Float[Array, "B M height width 3"],
    deterministic: bool = True,
  ) -> Float[Array, "B M L D"]:
    """The latents of every picture.

    Raises:
      ValueError: in a model of text alone.
    """
    if self.vision is None:
      raise ValueError(
        "a model of text alone reads no pictures, found images of shape"
        f" {images.shape}; train with data.images_per_row=0, or with"
        " model.text_only=False."
      )
    flat = images.reshape(-1, *images.shape[2:])
    flat = constrain(flat, "pixels")
    patch_features = l2_normalize(self.vision(flat))
    patch_features = constrain(patch_features, "patch_features")
    latents = self.resampler(patch_features, deterministic)
    return latents.reshape(*images.shape[:2], *latents.shape[1:])

  def decode(
    self,
    tokens: Int[Array, "B T"],
    kv_cache: KvCache,
    cache_index: Int[Array, " B"],
    image_latents: Float[Array, "B M L D"] | None = None,
    image_mask: Bool[Array, "B T"] | None = None,
    last: Int[Array, " B"] | None = None,
  ) -> tuple[Float[Array, "B wanted V"], KvCache]:
    """Logits and the grown cache; prefill and decode steps are the same call.

    Args:
      tokens: the next T ids of every row.
      kv_cache: from `decoder.new_kv_cache` or an earlier call.
      cache_index: slot (and position) of the first of these tokens in a row.
      image_latents: see `encode_images`; needed where `image_mask` is True.
      image_mask: slots among these T tokens that latents fill.
      last: the only token of each row whose logits are wanted, for a result
        [B, 1, V]; None for all.
    """
    return self.decoder(
      tokens,
      image_latents,
      image_mask,
      kv_cache=kv_cache,
      cache_index=cache_index,
      last=last,
    )
