"""One small model with everything a step needs, for tests of training."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from kosmos2_jax import optim, sharding
from kosmos2_jax.models import presets
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training import step as step_lib

NUM_STEPS = 6


@dataclasses.dataclass
class TinyRun:
  """Everything a step needs, on one mesh."""

  model: Any
  mesh: Any
  abstract: Any
  train_step: Callable[..., Any]
  initial: Any  # the first state, on the host

  def fresh(self):
    """The state before the first step; a copy, as steps donate theirs."""
    return jax.tree.map(
      lambda value, leaf: jax.device_put(np.copy(value), leaf.sharding),
      self.initial,
      self.abstract,
    )

  def put(self, batch):
    """The step's inputs, on the devices."""
    return sharding.put_batch(
      self.mesh, {key: batch[key] for key in step_lib.STEP_KEYS}
    )


def build(
  mesh_shape=(1, 1, 1),
  *,
  sizes=None,
  num_microbatches=1,
  initial=None,
  dtype="float32",
  unroll=1,
  kind_names=("first", "second"),
  policy=None,
  **options,
):
  """A run on the first devices there are; `initial` saves its compilation.

  `options` are of the optimizer.
  """
  model = presets.build(
    sizes or presets.preset("tiny"), dtype=dtype, unroll=unroll
  )
  given = {
    "learning_rate": 1e-2,
    "warmup_steps": 1,
    "decay_mask": "matrices",
  } | options
  optimizer = optim.make_optimizer(num_steps=NUM_STEPS, **given)
  devices = jax.devices()[: int(np.prod(mesh_shape))]
  mesh = sharding.make_mesh(mesh_shape, devices)
  averaged = optimizer.trainable if optimizer.ema_decay else None
  adapters = optimizer.trainable.adapters
  abstract = state_lib.abstract_state(
    model, optimizer.tx, mesh, averaged, adapters
  )
  train_step = step_lib.make_train_step(
    model,
    optimizer,
    mesh=mesh,
    abstract=abstract,
    seed=0,
    num_microbatches=num_microbatches,
    kind_names=kind_names,
    policy=policy,
  )
  if initial is None:
    initial = state_lib.init_state(model, optimizer.tx, abstract, seed=0)
  return TinyRun(model, mesh, abstract, train_step, jax.device_get(initial))


def make_batch(step, batch_size=16, seq_len=20):
  """A Batch of random text after one picture; rows differ in length.

  Every third row is of the second kind.
  """
  rng = np.random.default_rng(step)
  shape = (batch_size, seq_len)
  column = np.arange(seq_len)
  lengths = rng.integers(10, seq_len + 1, (batch_size, 1))
  ids = rng.integers(4, 600, (batch_size, seq_len + 1)).astype(np.int32)
  real = column < lengths
  return {
    "tokens": ids[:, :-1],
    "targets": ids[:, 1:],
    "loss_mask": real & (column >= 6),
    "image_mask": np.broadcast_to((column >= 2) & (column < 6), shape).copy(),
    "segment_ids": real.astype(np.int32),
    "positions": np.where(real, column, 0).astype(np.int32),
    "kinds": real.astype(np.int32)
    * (1 + np.arange(batch_size) % 3 // 2)[:, None],
    "images": rng.normal(size=(batch_size, 1, 16, 16, 3)).astype(np.float32),
    "example_index": step * batch_size + np.arange(batch_size),
  }


def stream(start_step=0):
  """Batches from `start_step` on, without end."""
  while True:
    yield make_batch(start_step)
    start_step += 1
