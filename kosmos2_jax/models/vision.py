"""The vision encoder: CLIP's ViT without its projection head."""

import math

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from kosmos2_jax.activations import constrain
from kosmos2_jax.models import initializers, layers, stacking

POSITION_INITS = ("normal", "sincos2d")
STEMS = ("patch", "conv")


class VisionLayer(nn.Module):
  """Pre-norm transformer layer with QuickGELU."""

  num_heads: int
  mlp_dim: int
  implementation: str = "xla"
  transposed: bool = False
  dtype: jnp.dtype = jnp.dtype("float32")

  @nn.compact
  def __call__(
    self, x: Float[Array, "B P E"], per_layer: None, deterministic: bool
  ) -> tuple[Float[Array, "B P E"], None]:
    """Applies attention and MLP; CLIP has no dropout."""
    del deterministic
    x = constrain(x, "patch_features")
    h = layers.layer_norm("attn_norm", self.dtype)(x)
    h, _ = layers.Attention(
      x.shape[-1],
      self.num_heads,
      implementation=self.implementation,
      transposed=self.transposed,
      dtype=self.dtype,
      name="attention",
    )(h)
    x = x + h
    h = layers.layer_norm("mlp_norm", self.dtype)(x)
    h = layers.Mlp(
      self.mlp_dim,
      layers.quick_gelu,
      transposed=self.transposed,
      dtype=self.dtype,
      name="mlp",
    )(h)
    return constrain(x + h, "patch_features"), per_layer


class ConvStem(nn.Module):
  """Pixels to patches in small non-linear steps (for small models).

  4×4 pixels first, then 2×2 neighbours joined until the patch is reached,
  then a depthwise 3×3 convolution over the patches. Edges and corners are
  found from fewer examples than by one linear map of each patch, and all of
  it is matrix products and contiguous shifts, which a CPU runs well.
  """

  patch_size: int
  width: int
  dtype: jnp.dtype = jnp.dtype("float32")

  @nn.compact
  def __call__(
    self, images: Float[Array, "B height width 3"]
  ) -> Float[Array, "B rows columns E"]:
    """Reduces the resolution by `patch_size`, a power of two from 4 on."""
    steps = int(math.log2(self.patch_size)) - 2
    x, block = images, 4
    for i in range(steps + 1):
      x = rearrange(x, "b (h p) (w q) c -> b h w (p q c)", p=block, q=block)
      features = self.width >> (steps - i)
      x = nn.Dense(features, dtype=self.dtype, name=f"join_{i}")(x)
      x, block = layers.tanh_gelu(x), 2
    kernel = self.param(
      "neighbours", initializers.torch_uniform(9), (3, 3, self.width)
    ).astype(self.dtype)
    rows, columns = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    mixed = sum(
      kernel[dy, dx] * padded[:, dy : dy + rows, dx : dx + columns]
      for dy in range(3)
      for dx in range(3)
    )
    return nn.Dense(self.width, dtype=self.dtype, name="out")(x + mixed)


class VisionEncoder(nn.Module):
  """Pictures to patch features (class token first), after the final norm.

  Attributes:
    image_size: side of the square picture in pixels.
    patch_size: side of a patch in pixels; divides `image_size`.
    width: channels E.
    depth: layers.
    mlp_dim: hidden channels of the MLP.
    num_heads: attention heads.
    stem: "patch" (one linear map, as CLIP) or "conv".
    position_init: "normal" (as CLIP) or "sincos2d"; both are then learned.
    dtype: compute type.
    stacked: see `stacking`.
    attention: see `attention.attend`.
    remat: see `stacking.scan_layers`.
    unroll: see `stacking.scan_layers`.
    frozen_depth: how many of the first layers are a stack of their own, which
      training never goes back through: `frozen_layers`, before `layers`.
  """

  image_size: int
  patch_size: int
  width: int
  depth: int
  mlp_dim: int
  num_heads: int
  stem: str = "patch"
  position_init: str = "normal"
  dtype: jnp.dtype = jnp.dtype("float32")
  stacked: bool = True
  attention: str = "xla"
  remat: str = "none"
  unroll: int = 1
  frozen_depth: int = 0

  @property
  def num_patches(self) -> int:
    """Tokens per picture, the class token included."""
    return (self.image_size // self.patch_size) ** 2 + 1

  @nn.compact
  def __call__(
    self, images: Float[Array, "B height width 3"]
  ) -> Float[Array, "B P E"]:
    """Encodes normalised pictures.

    Args:
      images: CLIP-normalised pixels.

    Returns:
      Features of the class token and of every patch in row-major order.

    Raises:
      ValueError: if the pictures are not `image_size` on both sides, or an
        attribute names something unknown.
    """
    self._check(images.shape)
    x = images.astype(self.dtype)
    if self.stem == "conv":
      x = ConvStem(self.patch_size, self.width, self.dtype, name="stem")(x)
    else:
      x = nn.Conv(
        self.width,
        (self.patch_size, self.patch_size),
        strides=(self.patch_size, self.patch_size),
        padding="VALID",
        use_bias=False,
        kernel_init=initializers.torch_uniform(3 * self.patch_size**2),
        dtype=self.dtype,
        name="stem",
      )(x)
    x = rearrange(x, "b rows columns e -> b (rows columns) e")
    normal = nn.initializers.normal(self.width**-0.5)
    class_token = self.param("class_token", normal, (self.width,))
    class_token = jnp.broadcast_to(
      class_token.astype(self.dtype), (x.shape[0], 1, self.width)
    )
    x = jnp.concatenate([class_token, x], axis=1)
    positions = self.param(
      "positions", self._position_init(), (self.num_patches, self.width)
    )
    x = layers.layer_norm("pre_norm", self.dtype)(x + positions)
    if self.frozen_depth:
      frozen = stacking.scan_layers(
        VisionLayer,
        depth=self.frozen_depth,
        remat="none",  # there is no backward pass to keep anything for
        unroll=self.unroll,
        num_broadcast=0,
      )(
        self.num_heads,
        self.mlp_dim,
        self.attention,
        dtype=self.dtype,
        name="frozen_layers",
      )
      x, _ = stacking.run_layers(frozen, x, None, True)
    stack = stacking.make_layers(
      VisionLayer,
      self.num_heads,
      self.mlp_dim,
      self.attention,
      depth=self.depth - self.frozen_depth,
      stacked=self.stacked,
      dtype=self.dtype,
      remat=self.remat,
      unroll=self.unroll,
      num_broadcast=0,
    )
    x, _ = stacking.run_layers(stack, x, None, True)
    return layers.layer_norm("post_norm", self.dtype)(x)

  def _check(self, shape):
    if self.image_size % self.patch_size:
      raise ValueError(
        f"image_size {self.image_size} is not a multiple of patch_size "
        f"{self.patch_size}."
      )
    if shape[1:] != (self.image_size, self.image_size, 3):
      raise ValueError(
        f"the vision encoder takes pictures of {self.image_size} × "
        f"{self.image_size} × 3 pixels; got {' × '.join(map(str, shape[1:]))}."
      )
    if self.stem not in STEMS:
      raise ValueError(f"stem must be one of {STEMS}; got {self.stem!r}.")
    power_of_two = not self.patch_size & (self.patch_size - 1)
    if self.stem == "conv" and (not power_of_two or self.patch_size < 4):
      raise ValueError(
        'stem "conv" starts from 4 × 4 pixels and halves the grid from there '
        f"on, so patch_size must be 4, 8, 16, …; got {self.patch_size}."
      )
    if self.position_init not in POSITION_INITS:
      raise ValueError(
        f"position_init must be one of {POSITION_INITS}; "
        f"got {self.position_init!r}."
      )

  def _position_init(self):
    if self.position_init == "normal":
      return nn.initializers.normal(self.width**-0.5)
    side = self.image_size // self.patch_size

    def init(key, shape, dtype=jnp.float32):
      del key
      table = initializers.sincos_2d(self.width, side, side)
      return jnp.zeros(shape, dtype).at[1:].set(table)

    return init
