"""Optimisers: the published AdamW, and Muon for training from scratch.

`make_optimizer` takes a config's section `optimizer` and gives everything that
a step needs to know about updates. `schedules` has the learning rates,
`scaling` what becomes of a gradient, `groups` the rates and decays of single
parameters, `trainable` what is frozen, `lora` the adapters, `averaging` the
moving average.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import optax

from kosmos2_jax.optim import averaging, scaling
from kosmos2_jax.optim.groups import decay_and_scale, make_groups
from kosmos2_jax.optim.lora import make_lora
from kosmos2_jax.optim.schedules import make_schedule
from kosmos2_jax.optim.trainable import Trainable

ALGORITHMS = {"adamw": scaling.scale_by_adam, "muon": scaling.scale_by_muon}


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
  groups: Sequence[Mapping[str, Any]] = (),
  vision_layer_decay: float = 1.0,
) -> optax.GradientTransformation:
  """The update p <- p - lr · scale · (scaled + weight_decay · p).

  Args:
    schedule: see `schedules.make_schedule`.
    algorithm: what scales the clipped gradient: "adamw" (as published), see
      `scaling.scale_by_adam`, or "muon", see `scaling.scale_by_muon`.
    b1: decay of the mean of gradients.
    b2: decay of the mean of their squares.
    eps: see `scaling.scale_by_adam`.
    weight_decay: decoupled, scaled by the learning rate of the update.
    decay_mask: "all" or "matrices"; see `groups.decay_tree`.
    clip_norm: largest global L2 norm of the gradient, which is already divided
      by the number of targets; 0 for none.
    groups: parameters with a scale or a weight decay of their own; fields as
      in `groups.Group`.
    vision_layer_decay: see `groups.decay_and_scale`.

  Raises:
    ValueError: for an unknown algorithm or decay mask, or wrong groups.
  """
  if algorithm not in ALGORITHMS:
    raise ValueError(
      f"optimizer.algorithm is one of {tuple(ALGORITHMS)}; found {algorithm!r}."
    )
  clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
  return optax.chain(
    clip,
    ALGORITHMS[algorithm](b1, b2, eps),
    decay_and_scale(
      weight_decay=weight_decay,
      decay_mask=decay_mask,
      groups=make_groups(groups),
      vision_layer_decay=vision_layer_decay,
    ),
    optax.scale_by_learning_rate(schedule),
  )


class Optimizer(NamedTuple):
  """How parameters are updated.

  Attributes:
    tx: the optax transformation. Its `init` takes all parameters and keeps
      moments of the trained ones; its `update` takes trained ones alone.
    schedule: the learning rate inside of it, for logs.
    trainable: which parameters are trained.
    ema_decay: what each update keeps of their average, see
      `averaging.make_ema_decay`; None for no average.
  """

  tx: optax.GradientTransformation
  schedule: optax.Schedule
  trainable: Trainable = Trainable()
  ema_decay: optax.Schedule | None = None


def make_optimizer(
  *,
  num_steps: int,
  learning_rate: float,
  warmup_steps: int = 0,
  schedule: str = "polynomial",
  power: float = 1.0,
  end_learning_rate: float = 0.0,
  decay_fraction: float = 0.1,
  frozen: Sequence[str] = (),
  vision_layers: int = -1,
  ema_decay: float = 0.0,
  ema_warmup: bool = True,
  lora: Mapping[str, Any] | None = None,
  **options: Any,
) -> Optimizer:
  """`make_transformation` with what is left over, on a `make_schedule`.

  Args:
    num_steps: see `schedules.make_schedule`, as for the next six.
    learning_rate: the peak.
    warmup_steps: see there.
    schedule: its name.
    power: see there.
    end_learning_rate: see there.
    decay_fraction: see there.
    frozen: see `trainable.Trainable`.
    vision_layers: see there.
    ema_decay: see `averaging.make_ema_decay`.
    ema_warmup: see there.
    lora: a config's section of that name, see `lora.Lora`; None for none.
    **options: see `make_transformation`.

  Raises:
    ValueError: for anything the parts refuse. What depends on the parameters
      is told by `tx.init`.
  """
  rate = make_schedule(
    num_steps=num_steps,
    learning_rate=learning_rate,
    warmup_steps=warmup_steps,
    schedule=schedule,
    power=power,
    end_learning_rate=end_learning_rate,
    decay_fraction=decay_fraction,
  )
  trainable = Trainable(tuple(frozen), vision_layers, make_lora(lora))
  tx = make_transformation(rate, **options)

  def init(params):
    # optax also asks with one placeholder instead of a tree.
    whole = isinstance(params, Mapping)
    return tx.init(trainable.select(params) if whole else params)

  return Optimizer(
    optax.GradientTransformation(init, tx.update),
    rate,
    trainable,
    averaging.make_ema_decay(ema_decay, ema_warmup),
  )
