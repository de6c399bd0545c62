"""Cross-entropy over a large vocabulary that never makes [B, T, V] logits.

Targets that count are moved to the front of each device's tokens, and logits
are made for `chunk` of them at a time; the loop ends with the last one that
counts. While a chunk's logits are there, its share of both gradients is made
from them, so the backward pass has nothing left to compute but a product with
one number: no logits are made twice.

On a mesh each device has its own rows and its own part of the vocabulary. The
table is gathered along `fsdp` once, in the compute type; its gradient is added
up in float32 on every device and leaves in one reduce-scatter.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from kosmos2_jax import activations
from kosmos2_jax.activations import ROWS
from kosmos2_jax.sharding import table_spec

MASKED_LOGIT = -1e30  # of padded vocabulary rows
PIECES = 8  # in which the table's gradient is shared out


class ChunkedSums(NamedTuple):
  """Sums over the targets that count, float32 (float64 for float64 inputs).

  Attributes:
    loss: summed negative log-likelihood in nats; the only one with a gradient.
    correct: how many targets had the largest logit.
    kind_losses: `loss` by kind, 1, 2, … in this order.
  """

  loss: Float[Array, ""]
  correct: Float[Array, ""]
  kind_losses: Float[Array, " kinds"]


class _Settings(NamedTuple):
  """What is known before tracing; see `chunked_cross_entropy`."""

  vocab_size: int
  num_kinds: int
  chunk: int


class _Axes(NamedTuple):
  """The axes of the mesh that a device has to talk along; None for none."""

  rows: tuple[str, ...] = ()
  columns: str | None = None  # cuts rows of the table: vocabulary
  channels: str | None = None  # cuts columns of the table: D


def chunked_cross_entropy(
  hidden: Float[Array, "B T D"],
  table: Float[Array, "V D"],
  targets: Int[Array, "B T"],
  loss_mask: Bool[Array, "B T"],
  kinds: Int[Array, "B T"],
  *,
  vocab_size: int,
  num_kinds: int = 0,
  chunk: int,
) -> ChunkedSums:
  """The summed loss of the targets that count, with exact gradients.

  Equals `losses.cross_entropy` and `losses.accuracy` of `hidden · tableᵀ`, but
  for the order of sums; of two largest logits, either is called correct.

  Args:
    hidden: what the language head reads; its dtype is the compute type.
    table: the tied embedding, of any float type.
    targets: the next token at every position.
    loss_mask: True where the target counts.
    kinds: 0 = padding, 1, 2, … = the kind of every target.
    vocab_size: real rows of the table; those behind them are never predicted.
    num_kinds: kinds that are told apart.
    chunk: targets whose logits are there at once, on each device.

  Raises:
    ValueError: for a chunk that is not positive, or rows that a mesh cannot
      share evenly.
  """
  if chunk < 1:
    raise ValueError(
      f"config.model.loss_chunk is a positive number of targets; found {chunk}."
    )
  settings = _Settings(vocab_size, num_kinds, chunk)
  return ChunkedSums(*_loss(settings, hidden, table, targets, loss_mask, kinds))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loss(settings, hidden, table, targets, mask, kinds):
  return _everywhere(settings, False, hidden, table, targets, mask, kinds)[0]


def _forward(settings, hidden, table, targets, mask, kinds):
  return _everywhere(settings, True, hidden, table, targets, mask, kinds)


def _backward(settings, grads, cotangents):
  del settings
  factor = cotangents[0]
  scaled = (
    (grad * factor.astype(grad.dtype)).astype(grad.dtype) for grad in grads
  )
  return *scaled, None, None, None


_loss.defvjp(_forward, _backward)


def _everywhere(settings, with_grads, hidden, table, *of_tokens):
  """(sums, gradients of hidden and table), on one device or on a mesh."""
  mesh = activations.context_mesh()
  if mesh is None:
    return _local(settings, with_grads, _Axes(), hidden, table, *of_tokens)
  ways = mesh.shape["data"] * mesh.shape["fsdp"]
  if len(hidden) % ways:
    raise ValueError(
      f"the loss has {len(hidden)} rows, which {ways} device(s) (mesh data x"
      f" fsdp) cannot share evenly; make it a multiple of {ways}."
    )
  of_table = table_spec(mesh, table.shape)
  axes = _Axes(ROWS, *of_table)
  chunk = min(settings.chunk, hidden.shape[0] // ways * hidden.shape[1])
  activations.note(
    "logits_chunk",
    (ways, chunk, len(table)),
    _sums_dtype(hidden),
    activations.fit(
      mesh,
      activations.ACTIVATION_RULES["logits_chunk"],
      (ways, chunk, len(table)),
    ),
  )
  return jax.shard_map(
    functools.partial(_local, settings, with_grads, axes),
    mesh=mesh,
    in_specs=(P(ROWS), of_table, *[P(ROWS)] * 3),
    out_specs=((P(), P(), P()), (P(ROWS), of_table) if with_grads else ()),
    check_vma=False,
  )(hidden, table, *of_tokens)


def _local(settings, with_grads, axes, hidden, table, targets, mask, kinds):
  """A device's rows, with its part of the table.

  Gathers the part's channels, and adds up over devices what they share.
  """
  dtype = _sums_dtype(hidden)
  width = hidden.shape[-1]
  num_tokens = targets.size
  head = table.astype(hidden.dtype)
  if axes.channels:
    head = jax.lax.all_gather(head, axes.channels, axis=1, tiled=True)

  # Where channels are cut the table's gradient is added up as [D, V]: cut along
  # its first dim it leaves in one reduce-scatter, and along its last one TPUs
  # make an all-reduce of it, of twice the bytes.
  turned = axes.channels is not None
  shape = head.shape[::-1] if turned else head.shape

  place, count = _front(mask.reshape(-1))
  chunk = min(settings.chunk, num_tokens)
  num_chunks = -(-num_tokens // chunk)
  # What is behind the last token counts for nothing, whatever it holds.
  order = jnp.zeros(num_chunks * chunk, jnp.int32)
  order = order.at[place].set(jnp.arange(num_tokens, dtype=jnp.int32))
  rows = hidden.reshape(-1, width)[order]
  targets, kinds = targets.reshape(-1)[order], kinds.reshape(-1)[order]

  def one(start, sums, grads):
    take = lambda x: jax.lax.dynamic_slice_in_dim(x, start, chunk)  # noqa: E731
    counts = start + jnp.arange(chunk, dtype=jnp.int32) < count
    found, slope = _chunk_sums(
      settings,
      axes,
      dtype,
      take(rows),
      head,
      take(targets),
      counts,
      take(kinds),
      with_grads,
    )
    sums = jax.tree.map(jnp.add, sums, found)
    if not with_grads:
      return sums, grads
    slope = slope.astype(head.dtype)
    of_rows = jax.lax.dot(slope, head, preferred_element_type=dtype)
    if axes.columns:
      of_rows = jax.lax.psum(of_rows, axes.columns)
    sides = (take(rows), slope) if turned else (slope, take(rows))
    of_head = jax.lax.dot_general(
      *sides, (((0,), (0,)), ((), ())), preferred_element_type=dtype
    )
    return sums, (
      jax.lax.dynamic_update_slice_in_dim(
        grads[0], of_rows.astype(rows.dtype), start, 0
      ),
      grads[1] + of_head,
    )

  zero = jnp.zeros((), dtype)
  sums = (zero, zero, jnp.zeros(settings.num_kinds, dtype))
  grads = (jnp.zeros_like(rows), jnp.zeros(shape, dtype))
  grads = grads if with_grads else ()
  if num_chunks == 1:
    sums, grads = one(0, sums, grads)
  else:
    needed = -(-count // chunk)
    _, sums, grads = jax.lax.while_loop(
      lambda carry: carry[0] < needed,
      lambda carry: (carry[0] + 1, *one(carry[0] * chunk, *carry[1:])),
      (jnp.int32(0), sums, grads),
    )
  if axes.rows:
    sums = jax.lax.psum(sums, axes.rows)
  if not with_grads:
    return sums, ()
  of_rows, of_head = grads
  # Those that do not count stand behind, where no gradient was written.
  of_hidden = of_rows[place].reshape(*mask.shape, width)
  if axes.channels:
    of_head = _share_out(of_head, axes.channels)
  left = [name for name in axes.rows if name != axes.channels]
  if left:
    of_head = jax.lax.psum(of_head, left)
  # Without the barrier the compiler may share the table's gradient out after
  # the backward pass of all layers, and keep it whole, in float32, until then.
  of_head = (of_head.T if turned else of_head).astype(table.dtype)
  return sums, jax.lax.optimization_barrier((of_hidden, of_head))


def _chunk_sums(
  settings, axes, dtype, rows, head, targets, counts, kinds, with_grads
):
  """Sums over a chunk, and the gradient of its loss by its logits."""
  logits = jax.lax.dot_general(
    rows, head, (((1,), (1,)), ((), ())), preferred_element_type=dtype
  )
  first = jax.lax.axis_index(axes.columns) * len(head) if axes.columns else 0
  columns = first + jnp.arange(len(head))
  logits = jnp.where(columns < settings.vocab_size, logits, MASKED_LOGIT)
  is_target = columns == targets[:, None]
  largest = jnp.max(logits, axis=1)
  if axes.columns:
    largest = jax.lax.pmax(largest, axes.columns)
  total = jnp.sum(jnp.exp(logits - largest[:, None]), axis=1)
  of_target = jnp.sum(jnp.where(is_target, logits, 0), axis=1)
  if axes.columns:
    total, of_target = jax.lax.psum((total, of_target), axes.columns)
  normalizer = largest + jnp.log(total)
  losses = jnp.where(counts, normalizer - of_target, 0)
  of_kind = kinds == jnp.arange(1, settings.num_kinds + 1)[:, None]
  sums = (
    jnp.sum(losses),
    jnp.sum(counts & (of_target >= largest), dtype=dtype),
    jnp.sum(jnp.where(of_kind, losses, 0), axis=1),
  )
  if not with_grads:
    return sums, None
  slope = jnp.exp(logits - normalizer[:, None]) - is_target
  return sums, jnp.where(counts[:, None], slope, 0)


def _share_out(grad, axis):
  """[D, V] to this device's [D/n, V] of the sum over the axis.

  In pieces: at once it takes as much memory again, as compilers make an
  all-reduce of it that does not overwrite its input.
  """
  pieces = PIECES if grad.shape[1] % PIECES == 0 else 1
  size = grad.shape[1] // pieces

  def one(start):
    piece = jax.lax.dynamic_slice_in_dim(grad, start, size, axis=1)
    return jax.lax.psum_scatter(piece, axis, scatter_dimension=0, tiled=True)

  shares = jax.lax.map(one, size * jnp.arange(pieces, dtype=jnp.int32))
  return shares.swapaxes(0, 1).reshape(-1, grad.shape[1])


def _front(mask):
  """Where each token goes when those under `mask` come first, and how many."""
  before = jnp.cumsum(mask, dtype=jnp.int32)
  count = before[-1]
  behind = count + jnp.arange(mask.size, dtype=jnp.int32) - before
  return jnp.where(mask, before - 1, behind), count


def _sums_dtype(hidden):
  return jnp.promote_types(hidden.dtype, jnp.float32)
