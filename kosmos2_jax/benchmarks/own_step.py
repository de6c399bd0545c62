"""How long a config's training step takes on the devices that are here."""

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from kosmos2_jax import chips, sharding
from kosmos2_jax.benchmarks import random_rows
from kosmos2_jax.compiling import roofline
from kosmos2_jax.compiling.jobs import Job
from kosmos2_jax.models import flops
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training.step import STEP_KEYS
from kosmos2_jax.training.trainer import make_trainer

WARM_UP = 2  # updates that are not timed


class StepReport(NamedTuple):
  """What was measured.

  Attributes:
    job: what was run.
    device_kind: as jax names it.
    num_devices: that took part.
    mesh: sizes by axis.
    attention: the implementation that computed the decoder's.
    compile_seconds: tracing included.
    seconds: of an update, in each repetition.
    losses: before the first and before the last update, in nats per target.
    argument_bytes: state and batch on a device, as the compiler says.
    temp_bytes: what lives inside of the step, as the compiler says.
    peak_bytes: the most that was in use on the fullest device; None where
      devices do not say.
    tokens_per_second: of all devices, by the median.
    model_flops: of an update, see `flops.train_flops`.
    mfu: None for a device of unknown peak.
  """

  job: Job
  device_kind: str
  num_devices: int
  mesh: dict[str, int]
  attention: str
  compile_seconds: float
  seconds: list[float]
  losses: tuple[float, float]
  argument_bytes: int
  temp_bytes: int
  peak_bytes: int | None
  tokens_per_second: float
  model_flops: float
  mfu: float | None

  def as_json(self) -> dict[str, Any]:
    """As one object of numbers and names."""
    fields = self._asdict()
    job = fields.pop("job")
    return job.shape | {"num_microbatches": job.num_microbatches} | fields


def measure_step(
  job: Job,
  *,
  repeats: int,
  num_steps: int,
  devices: Sequence[jax.Device] | None = None,
) -> StepReport:
  """Trains on one random batch and looks at the clock.

  As in training, an update is dispatched before the last one is done, so a
  repetition's time is that of all its updates, divided.

  Args:
    job: the step; its batch is made of random words and pictures.
    repeats: repetitions.
    num_steps: updates of each.
    devices: default: all there are.

  Raises:
    ValueError: for what the parts of a trainer refuse, rows that the mesh
      cannot share evenly, or a step that does not fit the devices' memory.
  """
  trainer = make_trainer(job.sizes, job.compute, devices=devices, **job.options)
  mesh = trainer.mesh
  sharding.check_batch_size(mesh, job.num_rows, job.num_microbatches)
  rows = random_rows.make_rows(job)
  placed = sharding.put_batch(mesh, {key: rows[key] for key in STEP_KEYS})
  used = list(mesh.devices.flat)
  started = time.perf_counter()
  try:
    compiled = trainer.train_step.lower(trainer.abstract, placed).compile()
    compile_seconds = time.perf_counter() - started
    seconds, losses = _run(trainer, compiled, placed, repeats, num_steps)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise ValueError(
      f"a step of {job.num_rows:,} rows of {job.seq_len:,} tokens does not fit"
      f" {len(used)} x {used[0].device_kind}; take fewer rows, more"
      " microbatches (config.num_microbatches) or config.model.remat=full"
    ) from error
  memory = compiled.memory_analysis()
  peaks = [(d.memory_stats() or {}).get("peak_bytes_in_use") for d in used]
  trained = trainer.optimizer.trainable.parts(trainer.abstract.params)
  model_flops = flops.train_flops(job.sizes, **job.shape, trained=trained)
  median = statistics.median(seconds)
  chip = chips.chip_of(used[0].device_kind)
  mfu = chip and roofline.mfu(chip, len(used), model_flops, median)
  return StepReport(
    job=job,
    device_kind=used[0].device_kind,
    num_devices=len(used),
    mesh=dict(mesh.shape),
    attention=trainer.model.decoder.attention,
    compile_seconds=compile_seconds,
    seconds=seconds,
    losses=losses,
    argument_bytes=memory.argument_size_in_bytes,
    temp_bytes=memory.temp_size_in_bytes,
    peak_bytes=None if None in peaks else max(peaks),
    tokens_per_second=job.num_rows * job.seq_len / median,
    model_flops=model_flops,
    mfu=mfu,
  )


def _run(trainer, compiled, batch, repeats, num_steps):
  """Seconds of an update by repetition; the first loss and the last."""
  state = state_lib.init_state(
    trainer.model, trainer.optimizer.tx, trainer.abstract, 0
  )
  seconds, losses = [], []
  for repeat in range(1 + repeats):
    updates = num_steps if repeat else WARM_UP
    started = time.perf_counter()
    for _ in range(updates):
      state, metrics = compiled(state, batch)
      losses.append(metrics["loss"])
    jax.block_until_ready((state, metrics))
    seconds.append((time.perf_counter() - started) / updates)
  return seconds[1:], (float(losses[0]), float(losses[-1]))
