"""Everything a training step is made of, built in one way for all commands."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.sharding import Mesh

from kosmos2_jax import optim, sharding
from kosmos2_jax.models import attention, presets
from kosmos2_jax.optim import Optimizer
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training import step as step_lib
from kosmos2_jax.training.guard import Policy
from kosmos2_jax.training.state import TrainState
from kosmos2_jax.training.step import TrainStep

# Arguments of `make_trainer` that a config has under these names: as numbers,
# and as sections.
NUMBERS = ("num_steps", "seed", "num_microbatches")
SECTIONS = ("optimizer", "mesh", "lora")


class Trainer(NamedTuple):
  """What a run computes with.

  Attributes:
    model: a Kosmos2.
    mesh: the devices.
    optimizer: the transformation and its learning rate.
    abstract: see `state.abstract_state`.
    train_step: see `step.make_train_step`.
  """

  model: nn.Module
  mesh: Mesh
  optimizer: Optimizer
  abstract: TrainState
  train_step: TrainStep


def make_trainer(
  sizes: Mapping[str, Any],
  compute: Mapping[str, Any],
  *,
  optimizer: Mapping[str, Any],
  mesh: Mapping[str, int],
  num_steps: int,
  seed: int,
  num_microbatches: int = 1,
  kind_names: Sequence[str] = (),
  guard: Mapping[str, Any] | None = None,
  lora: Mapping[str, Any] | None = None,
  devices: Sequence[jax.Device] | None = None,
) -> Trainer:
  """Builds the step of a run; computes and allocates nothing.

  Args:
    sizes: of the model, see `presets.PRESETS`.
    compute: how it computes, see `presets.split`.
    optimizer: arguments of `optim.make_optimizer`.
    mesh: see `sharding.make_mesh`.
    num_steps: updates of the whole run.
    seed: of parameters and dropout.
    num_microbatches: see `step.make_train_step`.
    kind_names: see there.
    guard: arguments of `guard.Policy`.
    lora: see `optim.make_optimizer`.
    devices: default: all there are. They may be descriptions of devices that
      are somewhere else; the step can then be compiled and not be run.

  Raises:
    ValueError: for anything the parts refuse.
  """
  placed = sharding.make_mesh(mesh, devices)
  name = attention.choose(
    compute.get("attention", attention.AUTO),
    placed.devices.flat[0].platform,
    compute.get("dtype", "float32"),
  )
  model = presets.build(sizes, **{**compute, "attention": name})
  rule = optim.make_optimizer(num_steps=num_steps, lora=lora, **optimizer)
  averaged = rule.trainable if rule.ema_decay is not None else None
  abstract = state_lib.abstract_state(
    model, rule.tx, placed, averaged, rule.trainable.adapters
  )
  train_step = step_lib.make_train_step(
    model,
    rule,
    placed,
    abstract,
    seed,
    num_microbatches,
    kind_names,
    Policy(**(guard or {})),
  )
  return Trainer(model, placed, rule, abstract, train_step)
