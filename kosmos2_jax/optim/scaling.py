"""What becomes of gradients before the learning rate: Adam's or Muon's way."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import PyTree


def scale_by_adam(
  b1: float, b2: float, eps: float
) -> optax.GradientTransformation:
  """Adam as fairseq computes it: eps is added before bias correction.

  With moments m and v after t updates (t = 1 for the first), the update is

    sqrt(1 - b2^t) / (1 - b1^t) · m / (sqrt(v) + eps)

  while `optax.scale_by_adam` adds eps to sqrt(v / (1 - b2^t)), which is a
  1 / sqrt(1 - b2^t) times smaller eps: seven times at t = 1 and b2 = 0.98.
  """

  def init(params):
    zeros = optax.tree.zeros_like
    return optax.ScaleByAdamState(
      jnp.zeros([], jnp.int32), zeros(params), zeros(params)
    )

  def update(grads, state, params=None):
    del params
    count = optax.safe_increment(state.count)
    mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, grads)
    nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, grads)
    size = jnp.sqrt(_bias(b2, count)) / _bias(b1, count)
    updates = jax.tree.map(lambda m, v: size * m / (jnp.sqrt(v) + eps), mu, nu)
    return updates, optax.ScaleByAdamState(count, mu, nu)

  return optax.GradientTransformation(init, update)


def _bias(decay, count):
  """1 - decay^count, exact also where decay is near 1 (float64 in fairseq)."""
  if not decay:
    return 1.0
  return -jnp.expm1(count.astype(jnp.float32) * math.log(decay))


# Root mean square of an entry of Muon's updates: about that of Adam's, so one
# learning rate serves both (https://arxiv.org/abs/2502.16982, section 2.2).
MUON_RMS = 0.2


def scale_by_muon(
  b1: float, b2: float, eps: float
) -> optax.GradientTransformation:
  """Muon for the matrices, `scale_by_adam` for everything else.

  The momentum of a matrix is replaced by its nearest orthogonal matrix, times
  0.2 · sqrt(max(inputs, outputs)): all directions of a matrix learn equally
  fast (https://kellerjordan.github.io/posts/muon). Matrices are the kernels,
  and both matrices of their adapters; embeddings, latents, positions, norms and
  biases are Adam's.

  Args:
    b1: of Adam; Muon's momentum has 0.95.
    b2: of Adam.
    eps: of Adam.
  """

  def is_matrix(params):
    return jax.tree_util.tree_map_with_path(
      lambda path, _: "muon" if _is_matrix(path) else "adam", params
    )

  def resize(updates):
    def one(update, axes):
      sides = [math.prod(update.shape[axis] for axis in side) for side in axes]
      return MUON_RMS * math.sqrt(max(sides)) * update

    return jax.tree.map(one, updates, kernel_axes(updates))

  matrices = optax.chain(
    optax.contrib.scale_by_muon(weight_dimension_numbers=kernel_axes),
    optax.stateless(lambda updates, params: resize(updates)),
  )
  return optax.partition(
    {"muon": matrices, "adam": scale_by_adam(b1, b2, eps)}, is_matrix
  )


def _is_matrix(key_path: tuple[Any, ...]) -> bool:
  """A kernel, or a matrix of its adapter: `lora/…/kernel/a` and `b`."""
  return "kernel" in [part.key for part in key_path[-2:]]


def kernel_axes(kernels: PyTree) -> PyTree:
  """Which axes of each kernel are inputs, and which outputs.

  Queries, keys and values are [… D N H], the stem's kernels [… E] and all
  others [… in out]; axes before those are of scanned layers. Adapters are
  [… in r] and [… r] with the outputs of their kernel.

  Returns:
    A tree of `optax.contrib.MuonDimensionNumbers`.
  """

  def axes(key_path, kernel):
    names = [part.key for part in key_path]
    side = names.pop() if names[-1] != "kernel" else ""  # of an adapter
    if "stem" in names and not side:
      first, last = range(kernel.ndim - 1), [kernel.ndim - 1]
    elif names[-2] in ("query", "key", "value") and side != "a":
      first, last = [kernel.ndim - 3], [kernel.ndim - 2, kernel.ndim - 1]
    else:
      first, last = [kernel.ndim - 2], [kernel.ndim - 1]
    return optax.contrib.MuonDimensionNumbers(tuple(first), tuple(last))

  return jax.tree_util.tree_map_with_path(axes, kernels)
