"""The perceiver resampler: learned latents that read a picture's patches."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kosmos2_jax.models import initializers, layers


class PerceiverResampler(nn.Module):
  """One cross-attention from latents to patches, as the original has it.

  Features are projected to the decoder's width; the latents attend to the
  projected features *and to themselves*. There is no residual, no norm and no
  MLP around the attention.

  Attributes:
    num_latents: latents L, the slots a picture takes in the text.
    width: decoder width D.
    num_heads: attention heads.
    dropout_rate: dropout on attention weights while training.
    feature_gain: factor on the initial projection of the features. They
      arrive with unit length, so at gain 1 (the original) they start far
      weaker than the latents; small models learn sooner from about
      sqrt(width).
    latent_init: "normal", or "grid" for models trained from scratch: latent i
      starts as a reader of cell i of a square grid over the picture and
      passes on what it reads. That needs a square number of latents, features
      as wide as the decoder, and `sincos2d` patch positions. Only the start
      differs; what is computed is the same.
    transposed: see `layers.linear`.
    dtype: compute type.
  """

  num_latents: int
  width: int
  num_heads: int
  dropout_rate: float = 0.0
  feature_gain: float = 1.0
  latent_init: str = "normal"
  transposed: bool = False
  dtype: jnp.dtype = jnp.dtype("float32")

  @nn.compact
  def __call__(
    self, patch_features: Float[Array, "B P E"], deterministic: bool = True
  ) -> Float[Array, "B L D"]:
    """Reads L latents from the features of one picture per row.

    Args:
      patch_features: L2-normalised features.
      deterministic: False turns attention dropout on (rng "dropout").
    """
    vision_width = patch_features.shape[-1]
    inits = self._initialisers(vision_width)
    features = layers.linear(
      "project",
      self.width,
      inits["project"],
      initializers.torch_uniform(vision_width),
      self.dtype,
      self.transposed,
    )(patch_features)
    latents = self.param(
      "latents", inits["latents"], (self.num_latents, self.width)
    ).astype(self.dtype)
    latents = jnp.broadcast_to(
      latents, (features.shape[0], self.num_latents, self.width)
    )
    read, _ = layers.Attention(
      self.width,
      self.num_heads,
      kernel_inits=inits["attention"],
      dropout_rate=self.dropout_rate,
      transposed=self.transposed,
      dtype=self.dtype,
      name="attention",
    )(
      latents,
      jnp.concatenate([features, latents], axis=1),
      deterministic=deterministic,
    )
    return read

  def _initialisers(self, vision_width):
    """Initialisers of the projection, the latents and the attention."""
    width = self.width
    if self.latent_init == "normal":
      inner = initializers.xavier_uniform(width, width, 1 / math.sqrt(2))
      return {
        "project": initializers.torch_uniform(vision_width, self.feature_gain),
        "latents": nn.initializers.normal(1.0),
        "attention": (
          inner,
          inner,
          inner,
          initializers.xavier_uniform(width, width),
        ),
      }
    side = math.isqrt(self.num_latents)
    if self.latent_init != "grid":
      raise ValueError(
        f'latent_init must be "normal" or "grid"; got {self.latent_init!r}.'
      )
    if side**2 != self.num_latents or vision_width != width:
      raise ValueError(
        'latent_init "grid" needs a square num_latents and features of the '
        f"decoder's width; got {self.num_latents} latents, features of "
        f"{vision_width} and width {width}."
      )
    # One rotation for queries and keys keeps their inner products; the same
    # rotation back and forth on the value path hands features through. Any
    # rotation does; a random one shows every head every frequency.
    rotation = nn.initializers.orthogonal()(jax.random.key(0), (width, width))

    def constant(matrix):
      return lambda key, shape, dtype=jnp.float32: matrix.reshape(shape).astype(
        dtype
      )

    return {
      "project": constant(jnp.eye(width) * self.feature_gain),
      "latents": constant(initializers.sincos_2d(width, side, side)),
      "attention": (
        constant(rotation),
        constant(rotation),
        constant(rotation),
        # The decoder multiplies every embedding by sqrt(width).
        constant(rotation.T * width**-0.5),
      ),
    }
