"""Which parameters are trained, and which stay as they are.

What is trained is a tree of its own, made of the parameters without the frozen
ones; gradients, moments and averages have that structure, so frozen parameters
have none. Layers are stacked on an axis in front: of a vision encoder that is
trained in part, the tree holds the last rows of each stack.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import PyTree

from kosmos2_jax.optim import lora
from kosmos2_jax.optim.lora import Lora
from kosmos2_jax.optim.patterns import flatten, matches, unflatten

VISION = "vision/"
STACK = "vision/layers/"
# Layers of the stack before the first trained one, in `Trainable.rest`.
FROZEN_STACK = "vision/frozen_layers/"
LAST_NORM = "vision/post_norm/"


@dataclasses.dataclass(frozen=True)
class Trainable:
  """A rule that splits parameters into trained and frozen ones.

  Attributes:
    frozen: patterns; a parameter in whose path one is found is frozen.
    vision_layers: how much of the vision encoder is trained: -1 all of it, 0
      nothing, k the last k layers and the norm behind them.
    adapters: with them, they alone are trained, and what they name beside
      them; the other two say nothing then.
  """

  frozen: tuple[str, ...] = ()
  vision_layers: int = -1
  adapters: Lora | None = None

  def __post_init__(self):
    if self.adapters and (self.frozen or self.vision_layers != -1):
      raise ValueError(
        "with lora.rank above 0 the adapters are trained, and what lora.whole"
        f" names; found optimizer.frozen {self.frozen} and"
        f" optimizer.vision_layers {self.vision_layers} too: leave them () and"
        " -1."
      )

  def merge(self, params: PyTree) -> PyTree:
    """The parameters that the model computes with: adapters are in kernels."""
    return self.adapters.merge(params) if self.adapters else params

  def description(self) -> dict[str, Any] | None:
    """Of the adapters, see `Lora.description`; None without."""
    return self.adapters.description() if self.adapters else None

  def select(self, params: PyTree) -> PyTree:
    """The trained parameters alone.

    Args:
      params: all of them, nested.

    Raises:
      ValueError: for a pattern that is found in no path, more layers than
        there are, or if nothing is trained.
    """
    return unflatten(self._split(params)[0])

  def rest(self, params: PyTree) -> PyTree:
    """What is not trained: the other part for `join`.

    Frozen layers below trained ones are under `vision/frozen_layers`, as a
    `VisionEncoder` with that `frozen_depth` has them.
    """
    return unflatten(self._split(params)[1])

  def frozen_depth(self, params: PyTree) -> int:
    """Layers of the vision encoder in a stack of their own, without gradient.

    0 unless the encoder is trained in part.
    """
    depth = _depth(flatten(params))
    return depth - self.vision_layers if 0 < self.vision_layers < depth else 0

  def parts(self, params: PyTree) -> tuple[str, ...]:
    """Names of the model's parts in which something is trained, or adapted."""
    trained = jax.eval_shape(self.select, params)
    adapted = trained.get(lora.PART, {})
    return tuple(
      name
      for name in params
      if name != lora.PART
      and jax.tree.leaves((trained.get(name), adapted.get(name)))
    )

  def describe(self, params: PyTree) -> str:
    """One sentence: how many parameters are trained, and of which parts."""
    trained = jax.eval_shape(self.select, params)
    counts = [
      f"{name} {_size(trained.get(name, {})):,} of {_size(tree):,}"
      for name, tree in params.items()
    ]
    share = 100 * _size(trained) / _size(params)
    whole = (
      f"{_size(trained):,} of {_size(params):,} parameters ({share:.3g} %) are"
      " trained"
    )
    return f"{whole}: {', '.join(counts)}"

  def _split(self, params):
    """Trained and other leaves, by path."""
    leaves = flatten(params)
    frozen = set()
    for pattern in self.frozen:
      frozen.update(matches(pattern, list(leaves), "optimizer.frozen"))
    depth = _depth(leaves)
    if not -1 <= self.vision_layers <= depth:
      raise ValueError(
        "optimizer.vision_layers is -1 for the whole vision encoder, or the"
        f" number of its last layers that are trained, from 0 to {depth};"
        f" found {self.vision_layers}."
      )
    whole = set()
    for pattern in self.adapters.whole if self.adapters else ():
      whole.update(matches(pattern, list(leaves), "lora.whole"))
    trained, rest = {}, {}
    below = self.frozen_depth(params)
    for path, leaf in leaves.items():
      if path.startswith(STACK) and below:
        rest[path.replace(STACK, FROZEN_STACK, 1)] = leaf[:below]
        leaf = leaf[below:]
      kept = path in frozen or not self._sees(path)
      if self.adapters:
        kept = not path.startswith(lora.PREFIX) and path not in whole
      (rest if kept else trained)[path] = leaf
    if not trained:
      raise ValueError(
        "optimizer.frozen and optimizer.vision_layers leave no parameter to"
        f" train; found {self.frozen} and {self.vision_layers}: take a pattern"
        " out."
      )
    return trained, rest

  def _sees(self, path):
    """True unless `vision_layers` leaves the parameter out."""
    if not path.startswith(VISION) or self.vision_layers < 0:
      return True
    return self.vision_layers > 0 and path.startswith((STACK, LAST_NORM))


def join(trained: PyTree, rest: PyTree) -> PyTree:
  """Both parts of the parameters in one tree; see `Trainable.rest`."""
  return unflatten(flatten(trained) | flatten(rest))


def take(params: PyTree, like: PyTree) -> PyTree:
  """The parameters that `like` has, of stacks as many last rows as there.

  Args:
    params: all parameters.
    like: a selection of them, or its shapes.
  """
  leaves = flatten(params)
  return unflatten(
    {
      path: leaves[path][-wanted.shape[0] :] if wanted.ndim else leaves[path]
      for path, wanted in flatten(like).items()
    }
  )


def put(params: PyTree, trained: PyTree) -> PyTree:
  """The parameters with a selection of them replaced; the inverse of `take`.

  Raises:
    ValueError: naming the first of them that is no parameter, or that is not
      of its shape.
  """
  leaves = flatten(params)
  for path, new in flatten(trained).items():
    old = leaves.get(path)
    if old is None or not _fits(path, old.shape, new.shape):
      found = "none" if old is None else tuple(old.shape)
      raise ValueError(
        f"{path} has shape {tuple(new.shape)} where the model's has {found}:"
        " it is of another model."
      )
    leaves[path] = _last(old, new)
  return unflatten(leaves)


def _fits(path, old, new):
  """Tells if `new` may replace all of `old`, or the last rows of a stack."""
  rows = path.startswith(STACK) and old[1:] == new[1:] and new[0] < old[0]
  return old == new or rows


def _last(old, new):
  """`old` with its last rows replaced."""
  if old.shape == new.shape:
    return new
  start = old.shape[0] - new.shape[0]
  return jax.lax.dynamic_update_slice_in_dim(old, new, start, axis=0)


def _depth(leaves: Mapping[str, Any]) -> int:
  """Layers of the vision encoder; 0 where there is none."""
  return next(
    (leaf.shape[0] for path, leaf in leaves.items() if path.startswith(STACK)),
    0,
  )


def _size(tree: PyTree) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))
