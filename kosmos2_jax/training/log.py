"""The numbers of steps: fetched one step late, checked, written as means."""

from typing import Any

import jax
import numpy as np

from kosmos2_jax.training import guard, timing
from kosmos2_jax.training.metrics import Reporter
from kosmos2_jax.training.timing import Timing


class StepLog:
  """Fetches the metrics of one step in flight; writes means of several.

  Sums are Python's floats, float64, however many steps a line is about.

  Args:
    num_steps: updates of the whole run.
    log_every: steps between lines of metrics.
    reporter: takes the lines.
    clock: times the steps.

  Attributes:
    pending: step, metrics on the devices and `example_index` of the step in
      flight, or None.
  """

  def __init__(
    self, num_steps: int, log_every: int, reporter: Reporter, clock: Timing
  ):
    self.pending: tuple[int, dict[str, Any], np.ndarray] | None = None
    self._num_steps = num_steps
    self._log_every = max(log_every, 1)
    self._reporter = reporter
    self._clock = clock
    self._rows = []
    self._num_skipped = 0  # of the whole process, as a count has no mean

  def fetch(self) -> None:
    """Waits for the pending metrics, checks them, writes them when due.

    Raises:
      FloatingPointError: see `loop.run`.
    """
    if self.pending is None:
      return
    step, metrics, example_index = self.pending
    self.pending = None
    row = {key: float(v) for key, v in jax.device_get(metrics).items()}
    skipped = guard.check(row, step, example_index.tolist())
    if skipped:
      self._num_skipped += 1
      self._reporter.say(skipped)
    else:
      self._rows.append(row)
    done = step + 1
    self._reporter.advance(done)
    self._clock.step_done(
      {
        "examples": row["num_examples"],
        "tokens": row["num_tokens"],
        "targets": row["num_targets"],
      }
    )
    if done % self._log_every == 0 or done == self._num_steps:
      self._write(done)

  def _write(self, done):
    rows = self._rows
    if self._num_skipped:
      self._reporter.write_scalars(
        done, {"train/num_skipped": float(self._num_skipped)}
      )
    if not rows:  # all of them skipped
      return
    scalars = {
      # Weighted by targets, as the loss of one larger batch would be.
      key: _mean(rows, key, "num_targets")
      for key in ("loss", "accuracy")
    }
    scalars["grad_norm"] = _mean(rows, "grad_norm")
    scalars["learning_rate"] = rows[-1]["learning_rate"]
    for name in ("tokens", "targets"):
      scalars[f"{name}_per_step"] = _mean(rows, f"num_{name}")
    for key in rows[0]:
      if key.startswith("loss/"):
        targets = key.replace("loss/", "targets/")
        if any(row[targets] for row in rows):  # else there is no loss
          scalars[key] = _mean(rows, key, targets)
      elif key.startswith("targets/"):
        scalars[key] = _mean(rows, key)
    scalars |= self._clock.read(done) | timing.memory(jax.local_devices())
    self._reporter.write_scalars(
      done, {f"train/{name}": value for name, value in scalars.items()}
    )
    self._rows = []


def _mean(rows, key, weight=None):
  """Mean of a number of the rows, weighted by another one of theirs."""
  weights = [1.0 if weight is None else row[weight] for row in rows]
  total = sum(
    row[key] * share for row, share in zip(rows, weights, strict=True)
  )
  return total / max(sum(weights), 1.0)
