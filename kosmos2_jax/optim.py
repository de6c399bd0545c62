"""Optimisers: the published AdamW, and Muon for training from scratch.

Both with linear warm-up, decay of the learning rate and global clipping.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import PyTree

SCHEDULES = ("polynomial", "cosine", "constant")
ALGORITHMS = ("adamw", "muon")
DECAY_MASKS = ("all", "matrices")
# Last names of parameters that "matrices" does not decay.
VECTORS = ("bias", "scale", "class_token")


def make_schedule(
  *,
  learning_rate: float,
  num_steps: int,
  warmup_steps: int = 0,
  schedule: str = "polynomial",
  power: float = 1.0,
  end_learning_rate: float = 0.0,
) -> optax.Schedule:
  """The learning rate by the number of updates already made.

  With t = finished updates, w = `warmup_steps` and n = `num_steps`:

    t <= w       learning_rate · t / w, so the first update runs with 0
    polynomial   end + (learning_rate - end) · (1 - (t - w) / (n - w)) ^ power
    cosine       end + (learning_rate - end) · (1 + cos(pi (t-w) / (n-w))) / 2
    constant     learning_rate
    t >= n       end_learning_rate (not for "constant")

  Returns:
    A function from t (int) to a float32 scalar.

  Raises:
    ValueError: for an unknown schedule, or a warm-up longer than the run.
  """
  if schedule not in SCHEDULES:
    raise ValueError(
      f"optimizer.schedule is one of {SCHEDULES}; found {schedule!r}."
    )
  if not 0 <= warmup_steps <= num_steps:
    raise ValueError(
      f"optimizer.warmup_steps must lie between 0 and num_steps ({num_steps});"
      f" found {warmup_steps}."
    )

  def rate(count):
    t = jnp.asarray(count, jnp.float32)
    span = max(num_steps - warmup_steps, 1)
    left = 1.0 - jnp.clip((t - warmup_steps) / span, 0.0, 1.0)
    if schedule == "polynomial":
      left = left**power
    elif schedule == "cosine":
      left = 0.5 * (1.0 - jnp.cos(jnp.pi * left))
    else:
      left = jnp.ones_like(left)
    decayed = end_learning_rate + (learning_rate - end_learning_rate) * left
    if schedule == "constant":
      decayed = jnp.full_like(t, learning_rate)
    if not warmup_steps:
      return decayed
    return jnp.where(
      t <= warmup_steps, learning_rate * t / warmup_steps, decayed
    )

  return rate


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
  fast (https://kellerjordan.github.io/posts/muon). Matrices are the kernels;
  embeddings, latents, positions, norms and biases are Adam's.

  Args:
    b1: of Adam; Muon's momentum has 0.95.
    b2: of Adam.
    eps: of Adam.
  """

  def is_matrix(params):
    return jax.tree_util.tree_map_with_path(
      lambda path, _: "muon" if path[-1].key == "kernel" else "adam", params
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


def kernel_axes(kernels: PyTree) -> PyTree:
  """Which axes of each kernel are inputs, and which outputs.

  Queries, keys and values are [… D N H], the stem's kernels [… E] and all
  others [… in out]; axes before those are of scanned layers.

  Returns:
    A tree of `optax.contrib.MuonDimensionNumbers`.
  """

  def axes(key_path, kernel):
    if any(part.key == "stem" for part in key_path):
      first, last = range(kernel.ndim - 1), [kernel.ndim - 1]
    elif key_path[-2].key in ("query", "key", "value"):
      first, last = [kernel.ndim - 3], [kernel.ndim - 2, kernel.ndim - 1]
    else:
      first, last = [kernel.ndim - 2], [kernel.ndim - 1]
    return optax.contrib.MuonDimensionNumbers(tuple(first), tuple(last))

  return jax.tree_util.tree_map_with_path(axes, kernels)


def decay_tree(params: PyTree, which: str) -> PyTree:
  """True for every parameter that weight decay acts on.

  Args:
    params: parameters, or anything of that structure.
    which: "all" (as the original trained), or "matrices": neither biases, nor
      scales of norms, nor the class token.

  Raises:
    ValueError: for an unknown `which`.
  """
  if which not in DECAY_MASKS:
    raise ValueError(
      f"optimizer.decay_mask is one of {DECAY_MASKS}; found {which!r}."
    )

  def decays(key_path, _):
    # optax also asks with one placeholder instead of a tree: no path.
    return which == "all" or not key_path or key_path[-1].key not in VECTORS

  return jax.tree_util.tree_map_with_path(decays, params)


def make_transformation(
  schedule: optax.Schedule,
  *,
  algorithm: str = "adamw",
  b1: float = 0.9,
  b2: float = 0.98,
  eps: float = 1e-6,
  weight_decay: float = 0.01,
  decay_mask: str = "all",
  clip_norm: float = 2.0,
) -> optax.GradientTransformation:
  """The update p <- p - lr · (scaled + weight_decay · p).

  Args:
    schedule: see `make_schedule`.
    algorithm: what scales the clipped gradient: "adamw" (as published), see
      `scale_by_adam`, or "muon", see `scale_by_muon`.
    b1: decay of the mean of gradients.
    b2: decay of the mean of their squares.
    eps: see `scale_by_adam`.
    weight_decay: decoupled, scaled by the learning rate of the update.
    decay_mask: "all" or "matrices"; see `decay_tree`.
    clip_norm: largest global L2 norm of the gradient, which is already divided
      by the number of targets; 0 for none.

  Raises:
    ValueError: for an unknown algorithm or decay mask.
  """
  if algorithm not in ALGORITHMS:
    raise ValueError(
      f"optimizer.algorithm is one of {ALGORITHMS}; found {algorithm!r}."
    )
  scale = scale_by_adam if algorithm == "adamw" else scale_by_muon
  decay_tree({}, decay_mask)  # a wrong name is told now, not at the first step
  clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
  return optax.chain(
    clip,
    scale(b1, b2, eps),
    optax.add_decayed_weights(
      weight_decay, mask=lambda params: decay_tree(params, decay_mask)
    ),
    optax.scale_by_learning_rate(schedule),
  )


class Optimizer(NamedTuple):
  """How parameters are updated.

  Attributes:
    tx: the optax transformation.
    schedule: the learning rate inside of it, for logs.
  """

  tx: optax.GradientTransformation
  schedule: optax.Schedule


def make_optimizer(
  *,
  num_steps: int,
  learning_rate: float,
  warmup_steps: int = 0,
  schedule: str = "polynomial",
  power: float = 1.0,
  end_learning_rate: float = 0.0,
  **options: Any,
) -> Optimizer:
  """`make_transformation` with what is left over, on a `make_schedule`."""
  rate = make_schedule(
    num_steps=num_steps,
    learning_rate=learning_rate,
    warmup_steps=warmup_steps,
    schedule=schedule,
    power=power,
    end_learning_rate=end_learning_rate,
  )
  return Optimizer(make_transformation(rate, **options), rate)
