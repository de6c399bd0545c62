"""Rates and weight decay of single parameters, by patterns and by layers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from kosmos2_jax.optim.patterns import flatten, matches, unflatten
from kosmos2_jax.optim.trainable import LAST_NORM, STACK, VISION

DECAY_MASKS = ("all", "matrices")
# Last names of parameters that "matrices" does not decay.
VECTORS = ("bias", "scale", "class_token")


class Group(NamedTuple):
  """Parameters that are updated in a way of their own.

  Attributes:
    pattern: is found in their paths, and no earlier group's is.
    scale: times the learning rate; above 0.
    weight_decay: instead of the optimizer's, whatever its mask says; None is
      the optimizer's own.
  """

  pattern: str
  scale: float = 1.0
  weight_decay: float | None = None


def make_groups(groups: Sequence[Mapping[str, Any]]) -> tuple[Group, ...]:
  """The groups of a config.

  Raises:
    ValueError: for a field that is missing or unknown, or a scale that is not
      above 0.
  """
  made = []
  for number, fields in enumerate(groups):
    fields = dict(fields)
    where = f"optimizer.groups[{number}]"
    if "pattern" not in fields or set(fields) - set(Group._fields):
      raise ValueError(
        f"{where} has a pattern, and may have a scale and a weight_decay;"
        f" found {sorted(fields)}."
      )
    group = Group(**fields)
    if not (group.scale > 0 and math.isfinite(group.scale)):
      raise ValueError(
        f"{where}.scale is a number above 0; found {group.scale}: what is to"
        " stay as it is belongs into optimizer.frozen."
      )
    made.append(group)
  return tuple(made)


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
  return jax.tree_util.tree_map_with_path(
    lambda path, _: which == "all" or path[-1].key not in VECTORS, params
  )


def decay_and_scale(
  *,
  weight_decay: float,
  decay_mask: str = "all",
  groups: Sequence[Group] = (),
  vision_layer_decay: float = 1.0,
) -> optax.GradientTransformation:
  """The update (u + weight_decay · p) · scale, each parameter with its own.

  `vision_layer_decay` d lets the vision encoder learn more slowly the nearer a
  layer is to the pixels (as in BEiT, https://arxiv.org/abs/2106.08254): layer
  l of n has the scale d^(n - l), l from 1 to n. What is below the layers (stem,
  class token, positions, first norm) has d^n and the last norm has 1. Stacked
  layers get one factor for each row. A group's scale comes on top.

  Args:
    weight_decay: of what `decay_mask` says.
    decay_mask: see `decay_tree`.
    groups: the first whose pattern is found in a path counts.
    vision_layer_decay: above 0, at most 1.

  Returns:
    A transformation without state. Its `init` raises ValueError for a group
    that no trained parameter is in, and for a layer decay without trained
    layers.

  Raises:
    ValueError: for an unknown `decay_mask`, or a layer decay out of range.
  """
  decay_tree({}, decay_mask)  # a wrong name is told now, not at the first step
  if not 0 < vision_layer_decay <= 1:
    raise ValueError(
      "optimizer.vision_layer_decay is above 0 and at most 1 (none); found"
      f" {vision_layer_decay}."
    )

  def init(params):
    # optax also asks with one placeholder instead of a tree.
    if isinstance(params, Mapping):
      _members(params, groups)
      _layer_scales(params, vision_layer_decay)
    return optax.EmptyState()

  def update(updates, state, params):
    members = _members(params, groups)
    decays = flatten(decay_tree(params, decay_mask))
    layers = _layer_scales(params, vision_layer_decay)
    olds, result = flatten(params), {}
    for path, new in flatten(updates).items():
      group = members.get(path, Group(""))
      decay = weight_decay if decays[path] else 0.0
      if group.weight_decay is not None:
        decay = group.weight_decay
      if decay:
        new = new + decay * olds[path]
      scale = group.scale * layers.get(path, 1.0)
      result[path] = new if np.all(scale == 1.0) else new * scale
    return unflatten(result), state

  return optax.GradientTransformation(init, update)


def _members(params: PyTree, groups: Sequence[Group]) -> dict[str, Group]:
  """The group of every parameter that is in one, by path."""
  paths = list(flatten(params))
  members = {}
  for number, group in enumerate(groups):
    field = f"optimizer.groups[{number}].pattern"
    found = matches(group.pattern, paths, field)
    own = [path for path in found if path not in members]
    if not own:
      raise ValueError(
        f"{field} {group.pattern!r} is found in {found[0]} and others, which"
        " are all in earlier groups; put it before them, or take it out."
      )
    members |= dict.fromkeys(own, group)
  return members


def _layer_scales(params: PyTree, decay: float) -> dict[str, Any]:
  """Scales of the vision encoder by path; of stacks float32 [depth, 1, …]."""
  leaves = flatten(params)
  if decay == 1.0:
    return {}
  depths = [
    leaf.shape[0] for path, leaf in leaves.items() if path.startswith(STACK)
  ]
  if not depths:
    raise ValueError(
      "optimizer.vision_layer_decay needs layers of the vision encoder that"
      f" are trained, and there are none; found {decay}: set it to 1, or train"
      " some."
    )
  # Of an encoder that is trained in part, the last layers are there.
  factors = np.float32(decay) ** np.arange(depths[0] - 1, -1, -1, np.float32)
  scales = {}
  for path, leaf in leaves.items():
    if path.startswith(STACK):
      scales[path] = factors.reshape(-1, *[1] * (leaf.ndim - 1))
    elif path.startswith(VISION) and not path.startswith(LAST_NORM):
      scales[path] = decay ** depths[0]
  return scales
