"""The numbers of steps: fetched one step late, checked, written as means."""

import time
from typing import Any

import jax
import numpy as np

from kosmos2_jax.training import guard
from kosmos2_jax.training.metrics import Reporter


class StepLog:
  """Fetches the metrics of one step in flight; writes means of several.

  Args:
    num_steps: updates of the whole run.
    log_every: steps between lines of metrics.
    reporter: takes the lines.

  Attributes:
    pending: step, metrics on the devices and `example_index` of the step in
      flight, or None.
  """

  def __init__(self, num_steps: int, log_every: int, reporter: Reporter):
    self.pending: tuple[int, dict[str, Any], np.ndarray] | None = None
    self._num_steps = num_steps
    self._log_every = max(log_every, 1)
    self._reporter = reporter
    self._rows = []
    self._num_examples = 0
    self._num_skipped = 0  # of the whole process, as a count has no mean
    self._since = None  # not before the first step is compiled
    self._timed_steps = 0
    self._paused_at = 0.0

  def pause(self) -> None:
    """Time from here to `resume` is not training time."""
    self._paused_at = time.perf_counter()

  def resume(self) -> None:
    """See `pause`."""
    if self._paused_at and self._since is not None:
      self._since += time.perf_counter() - self._paused_at
    self._paused_at = 0.0

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
    if self._since is None:
      self._since = time.perf_counter()
    else:
      self._timed_steps += 1
      self._num_examples += row["num_examples"]
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
    tokens = sum(row["num_tokens"] for row in rows)
    scalars = {
      # Weighted by targets, as the loss of one larger batch would be.
      f"train/{key}": sum(row[key] * row["num_tokens"] for row in rows)
      / max(tokens, 1.0)
      for key in ("loss", "accuracy")
    }
    scalars["train/grad_norm"] = sum(r["grad_norm"] for r in rows) / len(rows)
    scalars["train/learning_rate"] = rows[-1]["learning_rate"]
    scalars["train/num_tokens"] = tokens / len(rows)
    for key in rows[0]:
      if key.startswith("loss/"):
        counts = [row[f"tokens/{key.removeprefix('loss/')}"] for row in rows]
        total = sum(r[key] * n for r, n in zip(rows, counts, strict=True))
        if any(counts):  # else there is no loss to speak of
          scalars[f"train/{key}"] = total / sum(counts)
      elif key.startswith("tokens/"):
        scalars[f"train/{key}"] = sum(row[key] for row in rows) / len(rows)
    seconds = time.perf_counter() - self._since
    if self._timed_steps:
      scalars["train/steps_per_sec"] = self._timed_steps / seconds
      scalars["train/examples_per_sec"] = self._num_examples / seconds
    self._reporter.write_scalars(done, scalars)
    self._rows, self._num_examples, self._timed_steps = [], 0, 0
    self._since = time.perf_counter()
