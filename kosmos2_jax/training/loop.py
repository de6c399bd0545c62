"""The training loop. There is one."""

from collections.abc import Callable, Iterable, Mapping

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from kosmos2_jax.training.checkpoint import Checkpointer
from kosmos2_jax.training.log import StepLog
from kosmos2_jax.training.metrics import Reporter
from kosmos2_jax.training.prefetch import Prefetcher
from kosmos2_jax.training.profile import Profile
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
  profile: Profile | None = None,
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
    profile: which steps are recorded, if any.

  Returns:
    The state after `num_steps` updates, saved.

  Raises:
    ValueError: if the state is past `num_steps` already.
    FloatingPointError: when the loss or the gradient is not finite, naming
      the step and the examples of its batch. Such a state is never saved.
  """
  start = int(state.step)
  log = StepLog(num_steps, log_every, reporter)
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
        if profile is not None:
          profile.stop()
        return state
      if profile is not None and profile.turns_at(step):
        # What is in flight belongs to what was before.
        log.fetch()
        profile.turn(step)

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
