"""How fast a run goes and what it waits for, by the clock of the host.

A step is done when its numbers have come from the devices, so dispatching a
step is never mistaken for computing it.
"""

import collections
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

import jax
import psutil

from kosmos2_jax import chips
from kosmos2_jax.models import flops

GIB = 2**30

# What the loop does beside steps. A wait for input is training time; the
# others stop the clock.
Occupation = Literal["input", "evaluation", "checkpoint"]


class Timing:
  """Times the steps from one line of metrics to the next.

  The clock starts when the first step is done: before, it was compiled.

  Args:
    num_steps: updates of the whole run.
    peak_flops: of all devices together, see `peak_flops`; None: no MFU.
    clock: seconds.

  Attributes:
    step_flops: model FLOPs of a step, see `models.flops`; 0: no MFU.
  """

  def __init__(
    self,
    num_steps: int,
    peak_flops: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
  ):
    self.step_flops = 0.0
    self._num_steps = num_steps
    self._peak_flops = peak_flops
    self._clock = clock
    self._since: float | None = None
    self._num_timed = 0  # steps since then
    self._counts = collections.Counter()
    self._spent = collections.Counter()  # seconds by occupation, since then
    self._all_steps = 0  # of this start, as all that follows
    self._all_away = 0.0

  @contextlib.contextmanager
  def during(self, occupation: Occupation) -> Iterator[None]:
    """Times what the loop does inside."""
    begin = self._clock()
    try:
      yield
    finally:
      seconds = self._clock() - begin
      self._spent[occupation] += seconds
      if occupation != "input":
        self._all_away += seconds
        if self._since is not None:
          self._since += seconds

  def step_done(self, counts: Mapping[str, float]) -> None:
    """One more step is done.

    Args:
      counts: what was in it, "examples" or "tokens" for example, by name.
    """
    self._all_steps += 1
    if self._since is None:
      self._since = self._clock()
      del self._spent["input"]  # the first batches came before the clock
      return
    self._num_timed += 1
    self._counts.update(counts)

  def read(self, done: int) -> dict[str, float]:
    """What was measured since the last call, by name, when `done` are done.

    `NAME_per_sec` for steps and all that was counted, `mfu`, `input_wait` (a
    share), `eta_seconds`; `evaluation_seconds` and `checkpoint_seconds` if
    there were any. No rates before a second step is done.
    """
    now = self._clock()
    found = {}
    if self._num_timed and self._since is not None and now > self._since:
      seconds = now - self._since
      pace = seconds / self._num_timed
      found["steps_per_sec"] = 1.0 / pace
      for name, count in self._counts.items():
        found[f"{name}_per_sec"] = count / seconds
      if self._peak_flops and self.step_flops:
        found["mfu"] = self.step_flops / (pace * self._peak_flops)
      found["input_wait"] = self._spent["input"] / seconds
      # What kept the loop from training so far will go on doing so.
      away = self._all_away / self._all_steps
      found["eta_seconds"] = (self._num_steps - done) * (pace + away)
    for name in ("evaluation", "checkpoint"):
      if self._spent[name]:
        found[f"{name}_seconds"] = self._spent[name]
    self._spent.clear()
    self._counts.clear()
    self._num_timed = 0
    if self._since is not None:
      self._since = now
    return found


def batch_flops(
  sizes: Mapping[str, Any],
  inputs: Mapping[str, jax.Array],
  trained: Collection[str] = flops.PARTS,
) -> float:
  """Model FLOPs of a step on a batch, padding and empty places counted.

  Args:
    sizes: of the model, see `presets.PRESETS`.
    inputs: what the step reads.
    trained: see `flops.train_flops`.
  """
  num_rows, seq_len = inputs["tokens"].shape
  return flops.train_flops(
    sizes,
    num_rows=num_rows,
    seq_len=seq_len,
    num_images=num_rows * inputs["images"].shape[1],
    trained=trained,
  )


def peak_flops(devices: Iterable[Any]) -> float | None:
  """bfloat16 FLOP/s of all jax devices at most; None if one is not known."""
  found = [chips.chip_of(device.device_kind) for device in devices]
  if not all(found):
    return None
  return sum(chip.bf16_flops / chip.devices for chip in found)


def memory(devices: Iterable[Any]) -> dict[str, float]:
  """GiB in use: on the fullest device, or where none says, of this process.

  Returns:
    `device_memory_gib` and `device_memory_peak_gib` (the most since the
    start), or `process_memory_gib` (resident).
  """
  stats = [device.memory_stats() for device in devices]
  if not stats or not all(stats):
    return {"process_memory_gib": psutil.Process().memory_info().rss / GIB}
  names = {"bytes_in_use": "", "peak_bytes_in_use": "_peak"}
  return {
    f"device_memory{suffix}_gib": max(each[name] for each in stats) / GIB
    for name, suffix in names.items()
    if all(name in each for each in stats)
  }
