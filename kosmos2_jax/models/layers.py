"""Layers that the vision encoder, the resampler and the decoder share.

Parameters are float32; `dtype` is the compute type. Softmax and layer norm
statistics are always float32.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from kosmos2_jax.activations import constrain
from kosmos2_jax.models import attention, initializers
from kosmos2_jax.models.masks import AttnMask
from kosmos2_jax.models.rematerialisation import PROJECTIONS

LAYER_NORM_EPS = 1e-5
FEW_ROWS = 32  # as many as gain by `few_rows_product`


def quick_gelu(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
  """x · sigmoid(1.702 x), OpenAI CLIP's activation, computed in float32."""
  wide = x.astype(jnp.float32)
  return (wide * jax.nn.sigmoid(1.702 * wide)).astype(x.dtype)


def tanh_gelu(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
  """GELU by its tanh approximation, computed in float32 and cast back."""
  return jax.nn.gelu(x.astype(jnp.float32)).astype(x.dtype)


def exact_gelu(x: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
  """GELU by the error function, computed in float32 and cast back.

  In half precision the backward pass keeps `x` alone and computes the error
  function again: kept in float32, it is the largest array of a layer.
  """
  return _wide_gelu(x) if x.dtype == jnp.float32 else _lean_gelu(x)


def _wide_gelu(x):
  return jax.nn.gelu(x.astype(jnp.float32), approximate=False).astype(x.dtype)


@jax.custom_vjp
def _lean_gelu(x):
  return _wide_gelu(x)


def _lean_gelu_backward(x, grad):
  # The barrier hides from the compiler that it could keep the first one.
  _, pull = jax.vjp(_wide_gelu, jax.lax.optimization_barrier(x))
  return pull(grad)


_lean_gelu.defvjp(lambda x: (_wide_gelu(x), x), _lean_gelu_backward)


def layer_norm(name: str, dtype: jnp.dtype) -> nn.LayerNorm:
  """The layer norm used everywhere: eps 1e-5, float32 statistics."""
  return nn.LayerNorm(epsilon=LAYER_NORM_EPS, dtype=dtype, name=name)


def few_rows_product(
  x: Float[Array, "R D"], kernel: Float[Array, "F D"]
) -> Float[Array, "R F"]:
  """x · kernelᵀ, in the form that a CPU computes fastest.

  Matrices alone: with more axes XLA transposes the kernel in every call. Two to
  `FEW_ROWS` rows are multiplied with the halves of the kernel as a batch of
  two, which reads it half again as fast as one product does.
  """
  rows, width = x.shape
  if not 1 < rows <= FEW_ROWS or len(kernel) % 2:
    return jnp.einsum("rd,fd->rf", x, kernel)
  halves = kernel.reshape(2, -1, width)
  product = jnp.einsum("hfd,hrd->hfr", halves, jnp.stack([x, x]))
  return product.reshape(-1, rows).T


class TransposedDense(nn.Module):
  """A linear layer with the kernel [*features, in]: rows are read in order.

  A product with few rows is bound by reading the kernel, and XLA on CPU reads
  this one up to twice as fast as [in, *features].
  """

  features: tuple[int, ...]
  kernel_init: Callable[..., Array]
  bias_init: Callable[..., Array]
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Float[Array, "*dims D"]) -> Float[Array, "..."]:
    """Applies the layer to the last axis."""
    width = x.shape[-1]
    kernel = self.param("kernel", self.kernel_init, (*self.features, width))
    bias = self.param("bias", self.bias_init, self.features)
    product = few_rows_product(
      x.reshape(-1, width).astype(self.dtype),
      kernel.reshape(-1, width).astype(self.dtype),
    )
    product = product.reshape(*x.shape[:-1], *self.features)
    return product + bias.astype(self.dtype)


def linear(
  name: str,
  features: int | tuple[int, ...],
  kernel_init: Callable[..., Array],
  bias_init: Callable[..., Array],
  dtype: jnp.dtype,
  transposed: bool,
) -> nn.Module:
  """A linear layer with a bias; `transposed` is a matter of speed alone."""
  if isinstance(features, int):
    features = (features,)
  kind = TransposedDense if transposed else nn.DenseGeneral
  return kind(
    features,
    kernel_init=kernel_init,
    bias_init=bias_init,
    dtype=dtype,
    name=name,
  )


class Attention(nn.Module):
  """Multi-head attention with biased projections and an optional inner norm.

  Attributes:
    width: channels of queries and of the output.
    num_heads: heads; they split `width` head-major.
    inner_norm: layer norm over the concatenated heads before the output
      projection (Magneto's sub-LN).
    value_gain: gain on the initial value and output projections.
    kernel_inits: initialisers of the query, key, value and output kernels,
      and zeros for the output bias, instead of PyTorch's default for Linear.
    dropout_rate: dropout on attention weights.
    implementation: see `attention.attend`.
    transposed: see `linear`.
    dtype: compute type.
  """

  width: int
  num_heads: int
  inner_norm: bool = False
  value_gain: float = 1.0
  kernel_inits: tuple[Callable[..., Array], ...] | None = None
  dropout_rate: float = 0.0
  implementation: str = "xla"
  transposed: bool = False
  dtype: jnp.dtype = jnp.dtype("float32")

  def setup(self):
    if self.width % self.num_heads:
      raise ValueError(
        f"width {self.width} does not divide into {self.num_heads} heads; "
        "choose num_heads so that it does."
      )
    head_dim = self.width // self.num_heads
    default = initializers.torch_uniform(self.width)
    gained = initializers.torch_uniform(self.width, self.value_gain)
    inits = self.kernel_inits or (default, default, gained, gained)

    def project(name, kernel_init, bias_init):
      features = (self.num_heads, head_dim)
      return linear(
        name, features, kernel_init, bias_init, self.dtype, self.transposed
      )

    self.query = project("query", inits[0], default)
    self.key = project("key", inits[1], default)
    self.value = project("value", inits[2], gained)
    if self.inner_norm:
      self.norm = layer_norm("inner_norm", self.dtype)
    bias_init = nn.initializers.zeros if self.kernel_inits else gained
    self.out = linear(
      "out", self.width, inits[3], bias_init, self.dtype, self.transposed
    )
    self.weight_dropout = nn.Dropout(self.dropout_rate)

  def __call__(
    self,
    x: Float[Array, "B T D"],
    source: Float[Array, "B S_new D"] | None = None,
    attn_mask: AttnMask | None = None,
    kv_cache: dict[str, Array] | None = None,
    cache_index: Array | None = None,
    deterministic: bool = True,
  ) -> tuple[Float[Array, "B T D"], dict[str, Array] | None]:
    """Attends from `x` to `source` (or to itself), through a cache if given.

    Args:
      x: where the queries come from.
      source: where keys and values come from; `x` if None.
      attn_mask: True = may attend, or a rule; S is the cache's length if there
        is one.
      kv_cache: `key` and `value` [B, S, N, H]; the new ones are written into
        it, row b at slots cache_index[b] … cache_index[b]+T-1.
      cache_index: int32 [B], the first slot to write in every row.
      deterministic: False turns attention dropout on (rng "dropout").

    Returns:
      The output and the updated cache (None without a cache).
    """
    source = x if source is None else source
    key, value = (
      checkpoint_name(constrain(project(source), "heads"), PROJECTIONS)
      for project in (self.key, self.value)
    )
    if kv_cache is not None:
      write = jax.vmap(
        lambda cache, new, start: jax.lax.dynamic_update_slice(
          cache, new.astype(cache.dtype), (start, 0, 0)
        )
      )
      kv_cache = {
        "key": write(kv_cache["key"], key, cache_index),
        "value": write(kv_cache["value"], value, cache_index),
      }
      key, value = (kv_cache[k].astype(self.dtype) for k in ("key", "value"))
    dropout = None
    if self.dropout_rate and not deterministic:
      dropout = lambda w: self.weight_dropout(w, deterministic=False)  # noqa: E731
    # Whoever makes parameters needs no kernel, on whatever devices.
    name = "xla" if self.is_initializing() else self.implementation
    query = checkpoint_name(constrain(self.query(x), "heads"), PROJECTIONS)
    heads = attention.attend(query, key, value, attn_mask, dropout, name)
    heads = constrain(heads, "heads")
    merged = heads.reshape(*heads.shape[:-2], self.width)
    if self.inner_norm:
      merged = self.norm(merged)
    return checkpoint_name(self.out(merged), PROJECTIONS), kv_cache


class Mlp(nn.Module):
  """Two linear layers around an activation, with an optional inner norm.

  Attributes:
    mlp_dim: hidden channels.
    activation: elementwise function after the first layer.
    inner_norm: layer norm after the activation (Magneto's sub-LN).
    gain: gain on the initial weights and biases.
    transposed: see `linear`.
    dtype: compute type.
  """

  mlp_dim: int
  activation: Callable[[Array], Array]
  inner_norm: bool = False
  gain: float = 1.0
  transposed: bool = False
  dtype: jnp.dtype = jnp.dtype("float32")

  @nn.compact
  def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """Applies the block to every token on its own."""
    width = x.shape[-1]
    init_up = initializers.torch_uniform(width, self.gain)
    init_down = initializers.torch_uniform(self.mlp_dim, self.gain)
    kind = (self.dtype, self.transposed)
    x = linear("up", self.mlp_dim, init_up, init_up, *kind)(x)
    x = self.activation(constrain(x, "mlp_hidden"))
    if self.inner_norm:
      x = layer_norm("inner_norm", self.dtype)(x)
    return linear("down", width, init_down, init_down, *kind)(x)
