"""The training loop. There is one."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from kosmos2_jax.training.checkpoint import Checkpointer
from kosmos2_jax.training.metrics import Reporter
from kosmos2_jax.training.prefetch import Prefetcher
from kosmos2_jax.training.state import TrainState
from kosmos2_jax.training.step import TrainStep

Evaluate = Callable[[PyTree, int], Mapping[str, float]]


def run(
  state: TrainState,
  train_step: TrainStep,
  stream: Iterable[Mapping[str, np.ndarray]],
  mesh: Mesh,
  *,
  num_steps: int,
  checkpointer: Checkpointer,
  reporter: Reporter,
  save_every: int,
  log_every: int,
  evaluate: Evaluate | None = None,
  eval_every: int = 0,
  prefetch: int = 2,
) -> TrainState:
  """Trains from `state.step` to `num_steps`.

  Args:
    state: fresh or restored; its arrays are donated.
    train_step: see `step.make_train_step`.
    stream: batches from `state.step` on.
    mesh: the devices.
    num_steps: updates of the whole run, those before a restart included.
    checkpointer: the last state is always saved.
    reporter: takes metrics and scores, and shows progress.
    save_every: steps between checkpoints.
    log_every: steps between lines of metrics.
    evaluate: from parameters and step to scores; must not keep the parameters.
    eval_every: steps between evaluations; 0 for none.
    prefetch: batches made ahead.

  Returns:
    The state after `num_steps` updates, saved.

  Raises:
    ValueError: if the state is past `num_steps` already.
    FloatingPointError: when the loss or the gradient is not finite, naming
      the step and the examples of its batch. Such a state is never saved.
  """
  start = int(state.step)
  log = _Log(num_steps, log_every, reporter)
  if start > num_steps:
    raise ValueError(
      f"the run is at step {start}, past num_steps {num_steps}; raise"
      " config.num_steps, or start in another --workdir."
    )
  if start == num_steps:
    reporter.say(f"all {num_steps} steps were done before: nothing to train.")
    return state
  size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  reporter.say(
    f"training {size:,} parameters from step {start} to {num_steps} on"
    f" {mesh.size} {jax.default_backend()} device(s)"
  )
  reporter.advance(start)
  with Prefetcher(stream, mesh, prefetch) as batches:
    # One round: `state` has made `step` updates; the round makes one more.
    for step in range(start, num_steps + 1):
      last = step == num_steps
      # What was saved before a restart was evaluated before it, too.
      fresh = step > start
      evaluating = evaluate is not None and fresh and _due(step, eval_every)
      saving = last or (fresh and _due(step, save_every))
      saving |= evaluating and bool(checkpointer.best_metric)
      if evaluating or saving:
        # Wait for the step in flight: a broken state must not be saved.
        log.fetch()
        log.pause()

      # 1. Evaluate.
      scores = None
      if evaluating:
        scores = dict(evaluate(state.params, step))
        reporter.write_scalars(step, scores)

      # 2. Save: after evaluating, so that the best can be told.
      if saving:
        checkpointer.save(state, step, scores)
        reporter.flush()
      log.resume()
      if last:
        return state

      # 3. Fetch the batch; it waits on the devices already.
      batch = next(batches)

      # 4. Step: dispatched here, computed while the host goes on. Nothing may
      # move between host and devices by accident.
      with jax.transfer_guard("disallow"):
        state, metrics = train_step(state, batch.inputs)

      # 5. Log the step before, whose numbers are ready or will be soon.
      log.fetch()
      log.pending = (step, metrics, batch.example_index)
  raise AssertionError("the last round returns")


def _due(step: int, every: int) -> bool:
  return every > 0 and step % every == 0


class _Log:
  """Fetches the metrics of one step in flight; writes means of several."""

  def __init__(self, num_steps, log_every, reporter):
    self.pending: tuple[int, dict[str, Any], np.ndarray] | None = None
    self._num_steps = num_steps
    self._log_every = max(log_every, 1)
    self._reporter = reporter
    self._rows = []
    self._num_examples = 0
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
      FloatingPointError: see `run`.
    """
    if self.pending is None:
      return
    step, metrics, example_index = self.pending
    self.pending = None
    row = {key: float(v) for key, v in jax.device_get(metrics).items()}
    for key in ("loss", "grad_norm"):
      if not math.isfinite(row[key]):
        raise FloatingPointError(
          f"{key} is {row[key]} at step {step}, on the batch of examples"
          f" {example_index.tolist()}; look at them with tools.show_data, or"
          " lower optimizer.learning_rate or optimizer.clip_norm. The newest"
          " checkpoint is from before."
        )
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
