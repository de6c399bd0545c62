"""The training loop. There is one."""

import time
from collections.abc import Callable, Iterable, Mapping

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from kosmos2_jax.training import timing
from kosmos2_jax.training.checkpoint import Checkpointer
from kosmos2_jax.training.ledger import Ledger
from kosmos2_jax.training.log import StepLog
from kosmos2_jax.training.metrics import Reporter
from kosmos2_jax.training.preemption import Preempted, Stop
from kosmos2_jax.training.prefetch import Prefetcher
from kosmos2_jax.training.profile import Profile
from kosmos2_jax.training.state import TrainState, averaged_params
from kosmos2_jax.training.step import TrainStep

# Arguments of `run` that a config has under the same names.
RHYTHM = ("save_every", "save_every_minutes", "log_every")

Evaluate = Callable[[PyTree, int], Mapping[str, float]]


class SaveTimes:
  """When to save: every so many steps, and every so many minutes.

  Args:
    every_steps: steps between checkpoints; 0: none.
    every_minutes: minutes between them, whatever the step; 0: none.
    clock: seconds.
  """

  def __init__(
    self,
    every_steps: int,
    every_minutes: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
  ):
    self._every_steps = every_steps
    self._every_seconds = 60 * every_minutes
    self._clock = clock
    self._last = clock()

  def step_due(self, step: int) -> bool:
    """Whether the number of steps says so: the same on all processes."""
    return _due(step, self._every_steps)

  def time_due(self) -> bool:
    """Whether this process's clock says so."""
    late = self._clock() - self._last >= self._every_seconds
    return self._every_seconds > 0 and late

  def saved(self) -> None:
    """A checkpoint was begun; the minutes count from here."""
    self._last = self._clock()


def check_start(start: int, num_steps: int) -> None:
  """Raises ValueError if a run is past its end already."""
  if start > num_steps:
    raise ValueError(
      f"the run is at step {start}, past num_steps {num_steps}; raise"
      " config.num_steps, or start in another --workdir."
    )


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
  save_every_minutes: float = 0.0,
  evaluate: Evaluate | None = None,
  eval_every: int = 0,
  flops_of: Callable[[Mapping[str, jax.Array]], float] | None = None,
  prefetch: int = 2,
  stop: Stop | None = None,
  ledger: Ledger | None = None,
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
    save_every_minutes: minutes between checkpoints; 0: steps alone decide.
    evaluate: from parameters (averages, where the state has them) and step to
      scores; must not keep the parameters.
    eval_every: steps between evaluations; 0 for none.
    flops_of: model FLOPs of a step on a batch, for the MFU; None: none is told.
    prefetch: batches made ahead.
    stop: asks the run to stop; looked at between steps and while input is
      waited for, and by `evaluate`.
    ledger: where the time went.
    profile: which steps are recorded, if any.

  Returns:
    The state after `num_steps` updates, or fewer where the checkpointer's
    patience is over; saved.

  Raises:
    ValueError: if the state is past `num_steps` already, or there is patience
      and no evaluation.
    FloatingPointError: when the loss or the gradient is not finite, naming
      the step and the examples of its batch. Such a state is never saved.
    SaveError: within a step of the moment when a checkpoint failed.
    Preempted: if the run was asked to stop; the state is saved.
  """
  start = int(state.step)
  peak = timing.peak_flops(mesh.devices.flat)
  clock = timing.Timing(num_steps, peak)
  check_start(start, num_steps)
  if checkpointer.patience and not (evaluate and eval_every):
    raise ValueError(
      f"checkpoint.patience is {checkpointer.patience} evaluations, but none is"
      " made while training: set evals.every_steps, or checkpoint.patience=0."
    )
  stop = stop or Stop()
  profile = profile or Profile()
  ledger = ledger or Ledger(None)
  ledger.start(start)
  if start == num_steps:
    reporter.start(start)
    reporter.say(f"all {num_steps} steps were done before: nothing to train.")
    return state
  log = StepLog(num_steps, log_every, reporter, clock)
  saves = SaveTimes(save_every, save_every_minutes)
  reporter.say(
    f"training from step {start} to {num_steps} on {mesh.size}"
    f" {jax.default_backend()} device(s)"
  )
  if flops_of is not None and peak is None:
    kind = mesh.devices.flat[0].device_kind
    reporter.say(f"no MFU: the peak of a {kind!r} device is not known")
  reporter.start(start)
  # What was saved before a restart was evaluated before it, too; unless the
  # run was stopped in between.
  owed = evaluate is not None and checkpointer.owes_evaluation(start)
  with Prefetcher(stream, mesh, prefetch, stop.check_waiting) as batches:
    # One round: `state` has made `step` updates; the round makes one more.
    for step in range(start, num_steps + 1):
      last = step == num_steps
      fresh = step > start
      evaluating = owed or (
        evaluate is not None and fresh and _due(step, eval_every)
      )
      try:
        checkpointer.check()
        asked, save_now = stop.poll(saves.time_due())
        if asked and not last:
          stop.check()
        saving = last or (fresh and (save_now or saves.step_due(step)))
        saving |= evaluating and bool(checkpointer.best_metric)
        if evaluating or saving:
          # Wait for the step in flight: a broken state must not be saved.
          log.fetch()
          ledger.steps(step)

        # 1. Evaluate.
        scores = None
        if evaluating:
          with clock.during("evaluation"):
            scores = dict(evaluate(averaged_params(state), step))
          reporter.write_scalars(step, scores)
          ledger.spent("evaluation", step)
          evaluating = owed = False

        scored = scores is not None or not fresh
        # 2. Save: after evaluating, so that the best can be told.
        if saving:
          with clock.during("checkpoint"):
            checkpointer.save(state, step, scores)
            if last:
              checkpointer.wait()
          saves.saved()
          reporter.flush()
          ledger.spent("save", step)
        if last or (scored and checkpointer.is_over(step, eval_every)):
          profile.stop()
          if not last:
            reporter.say(
              f"stopped after {step} of {num_steps} steps: no better"
              f" {checkpointer.best_metric} in"
              f" {checkpointer.patience} evaluations"
            )
          return state
        if profile.turns_at(step):
          # What is in flight belongs to what was before.
          log.fetch()
          profile.turn(step)

        # 3. Fetch the batch; it waits on the devices already.
        with clock.during("input"):
          batch = next(batches)
        if flops_of is not None and step == start:
          clock.step_flops = flops_of(batch.inputs)
      except Preempted as asked_to:
        profile.stop()
        if fresh:
          log.fetch()
          ledger.steps(step)
          checkpointer.save(state, step, None, owes_evaluation=evaluating)
          checkpointer.wait()
          ledger.spent("save", step)
        raise Preempted(
          f"{asked_to}: the state after {step} steps is saved; start the same"
          " command again to go on."
        ) from None

      # 4. Step: dispatched here, computed while the host goes on. Nothing may
      # move between host and devices by accident.
      with jax.transfer_guard("disallow"):
        state, metrics = train_step(state, batch.inputs)
      stop.hold()  # from here on there are steps to lose

      # 5. Log the step before, whose numbers are ready or will be soon.
      log.fetch()
      log.pending = (step, metrics, batch.example_index)
      if step == start:
        ledger.compiled(step)
      else:
        ledger.steps(step, now=False)
  raise AssertionError("the last round returns")


def _due(step: int, every: int) -> bool:
  return every > 0 and step % every == 0
