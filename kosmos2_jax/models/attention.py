"""Scaled dot-product attention, by the name of an implementation.

| name     | what computes            | what it takes                          |
|----------|--------------------------|----------------------------------------|
| "xla"    | products and a softmax   | everything, anywhere                   |
| "splash" | Pallas's kernel for TPUs | `CausalMask`; any dtype and length     |
| "cudnn"  | NVIDIA's fused kernel    | `CausalMask`, or no mask and an even   |
|          |                          | length; bfloat16 only                  |

The two kernels never hold the [T, S] weights of a head: memory grows with the
length, not with its square. What a kernel does not take (a cache's mask,
dropout on the weights, the resampler's and the vision encoder's attention with
its class token) is computed by "xla". All three agree to rounding.

XLA cannot divide a kernel among devices by itself. Where a mesh is set while
the step is traced (`jax.set_mesh`), each device runs the kernel on its rows
(mesh axes data and fsdp) and its heads (tensor); nothing is exchanged. Without
a mesh the kernel is for one device.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax import sharding
from kosmos2_jax.models.masks import AttnMask, CausalMask

AUTO = "auto"
IMPLEMENTATIONS = ("xla", "splash", "cudnn")
PLATFORMS = {"splash": "tpu", "cudnn": "gpu"}
# Names under which remat policies find the attended values, and what splash
# keeps of them and of the softmax's statistics for its backward kernels.
HEADS = "attention_heads"
KERNEL = "attention_kernel"

MASKED_LOGIT = -1e30  # finite, so that a row with no key stays free of NaN
CUDNN_MASKED_LOGIT = -(2.0**41)  # the difference of larger ones fails there
LANES = 128  # splash works on blocks of a multiple of this many tokens
BLOCKS = (512, 384, 256, 128)

Attend = Callable[..., Array]


def choose(name: str, platform: str, dtype: str) -> str:
  """The implementation that a config's `model.attention` means.

  Args:
    name: "auto" (the kernel of the platform, if it can compute in `dtype`) or
      one of `IMPLEMENTATIONS`.
    platform: of the devices that will compute: "tpu", "gpu", "cpu".
    dtype: compute type.

  Raises:
    ValueError: for an unknown name, or one that does not run there.
  """
  if name == AUTO:
    if platform == "tpu":
      return "splash"
    return "cudnn" if (platform, dtype) == ("gpu", "bfloat16") else "xla"
  check(name, dtype)
  if PLATFORMS.get(name, platform) != platform:
    raise ValueError(
      f'attention "{name}" runs on platform "{PLATFORMS[name]}"; the devices of'
      f' this run are "{platform}". Set config.model.attention=auto.'
    )
  return name


def check(name: str, dtype: str) -> None:
  """Raises ValueError unless `name` is an implementation that takes `dtype`."""
  if name not in IMPLEMENTATIONS:
    raise ValueError(
      f"attention must be one of {IMPLEMENTATIONS}, or in a config"
      f' "{AUTO}"; got {name!r}.'
    )
  if name == "cudnn" and dtype != "bfloat16":
    raise ValueError(
      f'attention "cudnn" computes in bfloat16; the model computes in {dtype}.'
      " Set config.model.dtype=bfloat16 or config.model.attention=xla."
    )


def attend(
  query: Float[Array, "B T N H"],
  key: Float[Array, "B S N H"],
  value: Float[Array, "B S N H"],
  attn_mask: AttnMask | None = None,
  dropout: Callable[[Array], Array] | None = None,
  implementation: str = "xla",
) -> Float[Array, "B T N H"]:
  """Scaled dot-product attention with a float32 softmax.

  Args:
    query: queries, not yet scaled; they are scaled by H^-0.5 here.
    key: keys.
    value: values.
    attn_mask: True = may attend, or a rule. A query that may attend to nothing
      gets the mean of all values instead of NaN; under a `CausalMask` there is
      none, because every token may attend to itself.
    dropout: applied to the attention weights, if given.
    implementation: one of `IMPLEMENTATIONS`.

  Returns:
    The attended values in the dtype of `value`.
  """
  causal = isinstance(attn_mask, CausalMask)
  if dropout is None and causal and implementation == "splash":
    return _splash(query, key, value, attn_mask.segment_ids)
  if dropout is None and implementation == "cudnn":
    if causal:
      return _cudnn_causal(query, key, value, attn_mask.segment_ids)
    # It trains with even lengths alone; padding would want a mask.
    even = query.shape[1] % 2 == key.shape[1] % 2 == 0
    if attn_mask is None and even:
      return _on_mesh(_fused(is_causal=False), (query, key, value))
  written_out = attn_mask.written_out() if causal else attn_mask
  return _xla(query, key, value, written_out, dropout)


def _xla(
  query: Float[Array, "B T N H"],
  key: Float[Array, "B S N H"],
  value: Float[Array, "B S N H"],
  attn_mask: Bool[Array, "#B 1 #T S"] | None,
  dropout: Callable[[Array], Array] | None,
) -> Float[Array, "B T N H"]:
  query = query * (query.shape[-1] ** -0.5)
  weights = jnp.einsum(
    "btnh,bsnh->bnts", query, key, preferred_element_type=jnp.float32
  )
  if attn_mask is not None:
    weights = jnp.where(attn_mask, weights, MASKED_LOGIT)
  if dropout is not None:
    weights = dropout(jax.nn.softmax(weights, axis=-1))
    return jnp.einsum("bnts,bsnh->btnh", weights.astype(value.dtype), value)
  # The softmax with its division behind the product: on a CPU a third faster.
  highest = jax.lax.stop_gradient(jnp.max(weights, axis=-1, keepdims=True))
  weights = jnp.exp(weights - highest)
  total = jnp.sum(weights, axis=-1, keepdims=True)
  attended = jnp.einsum("bnts,bsnh->bnth", weights.astype(value.dtype), value)
  attended = (attended / total).astype(value.dtype)
  return checkpoint_name(attended.swapaxes(1, 2), HEADS)


def _splash(
  query: Float[Array, "B T N H"],
  key: Float[Array, "B T N H"],
  value: Float[Array, "B T N H"],
  segment_ids: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
  """Pallas's splash attention; blocks above the diagonal are left out."""
  # A tenth of a second to import, and of no use elsewhere.
  from jax.experimental.pallas.ops.tpu import splash_attention as splash

  length = query.shape[1]
  query = query * (query.shape[-1] ** -0.5)
  # Nothing before the added tokens sees them.
  arrays = _lengthen((query, key, value, segment_ids), LANES)
  padded = arrays[0].shape[1]
  block = next(size for size in BLOCKS if padded % size == 0)
  blocks = splash.BlockSizes(
    block_q=block,
    block_kv=block,
    block_q_dkv=block,
    block_kv_dkv=block,
    block_q_dq=block,
    block_kv_dq=block,
  )

  def on_one_device(query, key, value, segment_ids):
    mask = splash.CausalMask((padded, padded))
    kernel = splash.make_splash_mha(
      splash.MultiHeadMask([mask] * query.shape[2]),
      block_sizes=blocks,
      head_shards=1,
      q_seq_shards=1,
      residual_checkpoint_name=KERNEL,
    )

    def of_a_row(query, key, value, ids):
      return kernel(query, key, value, splash.SegmentIds(ids, ids))

    # The kernel has the heads in front of the tokens.
    rows = (array.swapaxes(1, 2) for array in (query, key, value))
    return jax.vmap(of_a_row)(*rows, segment_ids).swapaxes(1, 2)

  return _on_mesh(on_one_device, arrays)[:, :length]


def _cudnn_causal(
  query: Float[Array, "B T N H"],
  key: Float[Array, "B T N H"],
  value: Float[Array, "B T N H"],
  segment_ids: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
  """cuDNN's attention: the causal flag, and segments as a bias of a row.

  The bias [B, 1, T, T] serves all heads, and in a loop over layers all layers.
  """
  length = query.shape[1]
  # With a bias, cuDNN wants an even length.
  *arrays, ids = _lengthen((query, key, value, segment_ids), 2)
  same = ids[:, None, :, None] == ids[:, None, None, :]
  bias = jnp.where(same, 0.0, CUDNN_MASKED_LOGIT).astype(query.dtype)
  return _on_mesh(_fused(is_causal=True), (*arrays, bias))[:, :length]


def _fused(is_causal: bool) -> Attend:
  def on_one_device(query, key, value, bias=None):
    return jax.nn.dot_product_attention(
      query, key, value, bias, is_causal=is_causal, implementation="cudnn"
    )

  return on_one_device


def _lengthen(arrays: Sequence[Array], multiple: int) -> list[Array]:
  """Zeros behind the tokens (axis 1), up to a multiple of so many."""
  more = -arrays[0].shape[1] % multiple
  if not more:
    return list(arrays)
  return [
    jnp.pad(array, ((0, 0), (0, more)) + ((0, 0),) * (array.ndim - 2))
    for array in arrays
  ]


def _on_mesh(function: Attend, arrays: Sequence[Array]) -> Array:
  """Runs `function` on every device of the mesh that is set, if one is.

  Args:
    function: takes the arrays and returns one like the first.
    arrays: queries, keys and values [B, T, N, H], then others that have the
      rows in front and no heads.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return function(*arrays)
  num_rows, _, num_heads, _ = arrays[0].shape
  # As with parameters: what does not divide is whole on every device.
  rows = sharding.BATCH_SPEC[0]
  ways = mesh.shape["data"] * mesh.shape["fsdp"]
  rows = rows if num_rows % ways == 0 else None
  heads = "tensor" if num_heads % mesh.shape["tensor"] == 0 else None
  of_heads = P(rows, None, heads, None)
  return jax.shard_map(
    function,
    in_specs=(of_heads,) * 3 + (P(rows),) * (len(arrays) - 3),
    out_specs=of_heads,
    check_vma=False,  # kernels do not say how their results vary
  )(*arrays)
