"""Checkpoints: written in the background, whole or not at all, read exactly.

A checkpoint `checkpoints/<step>` of a workdir holds `params`, `opt_state`, the
`guard` and, where parameters are averaged, `ema_params`; its step is its name.
It is written to a temporary folder and renamed when complete, so a process
killed at any moment leaves complete ones only. What happens to them later is
found by their manifests (see `integrity`).
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from kosmos2_jax.training import choosing, guard, integrity
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training.matching import check_shapes
from kosmos2_jax.training.processes import ALONE, Group
from kosmos2_jax.training.state import TrainState
from kosmos2_jax.training.workdir import open_folder

FOLDER = choosing.FOLDER
BEST_MODES = ("max", "min")
# In the metadata of a checkpoint: its step was to be evaluated, and was not.
_OWED = "evaluation_owed"


class SaveError(OSError):
  """A checkpoint could not be written; those before it are as they were."""


class Checkpointer:
  """The checkpoints of one workdir; a context manager.

  Keeps the newest `keep`, and the one with the best score where a score is
  named. Saving copies the state to the host and returns; a failure of the
  background write is raised by the next `check`, `save`, `wait` or `close`.

  Args:
    workdir: folder of the run; made if it does not exist.
    keep: how many of the newest to keep, at least 1.
    best_metric: name of the score, or "" for none.
    best_mode: "max" or "min" is best.
    checksums: whether every byte that was written is looked at again, when a
      checkpoint is written and when it is restored; else names and sizes.
    patience: evaluations without a better score after which `is_over` says so;
      0: never.
    patience: evaluations without a better score after which `is_over` says so;
      0: never.
    say: takes a line about a damaged checkpoint, and about averages that begin
      or end with a restart.
    group: the processes; each writes its part, process 0 what is one thing.

  Raises:
    ValueError: for a wrong `keep` or `best_mode`.
    OSError: if checkpoints cannot be written there.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    *,
    keep: int = 1,
    best_metric: str = "",
    best_mode: str = "max",
    checksums: bool = True,
    patience: int = 0,
    say: Callable[[str], None] = print,
    group: Group = ALONE,
  ):
    if keep < 1:
      raise ValueError(f"checkpoint.keep is at least 1; found {keep}.")
    if best_mode not in BEST_MODES:
      raise ValueError(
        f"checkpoint.best_mode is one of {BEST_MODES}; found {best_mode!r}."
      )
    if patience < 0 or (patience and not best_metric):
      raise ValueError(
        "checkpoint.patience is a number of evaluations, and needs a"
        f" checkpoint.best_metric to look at; found {patience} and"
        f" {best_metric!r}."
      )
    self.best_metric = best_metric
    self.patience = patience
    self._best_mode = best_mode
    policies = [checkpoint_managers.LatestN(keep)]
    options = {}
    if best_metric:
      options = {"best_fn": self._score, "best_mode": best_mode}
      policies.append(choosing.KeepBest(best_metric, best_mode))
    self._checksums = checksums
    self._say = say
    self._folder = open_folder(workdir) / FOLDER
    self._saving = None  # the step, and how many bytes
    self._group = group
    if group.is_main:
      integrity.check_writable(self._folder)
    group.wait("the folder of checkpoints")
    self._manager = ocp.CheckpointManager(
      self._folder,
      item_handlers=handlers("params", "opt_state", "guard", "ema_params"),
      options=ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
        # What a killed process left half-written is of no use to anybody.
        cleanup_tmp_directories=True,
        save_root_metadata=False,
        async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
        **options,
      ),
    )

  def __enter__(self) -> "Checkpointer":
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def latest_step(self) -> int | None:
    """Step of the newest complete checkpoint."""
    return self._manager.latest_step()

  def all_steps(self) -> list[int]:
    """Steps of all complete checkpoints, oldest first."""
    return sorted(self._manager.all_steps())

  def save(
    self,
    state: TrainState,
    step: int,
    scores: Mapping[str, float] | None,
    *,
    owes_evaluation: bool = False,
  ) -> None:
    """Saves the state after `step` updates, unless it is saved already.

    Args:
      state: its arrays may be donated as soon as this returns.
      step: the value of `state.step`, known without asking the device.
      scores: of an evaluation of this state, if there was one.
      owes_evaluation: whether there should have been one.

    Raises:
      ValueError: if there are scores, but not the one that tells the best.
      SaveError: if this save, or the one before, failed.
    """
    if scores is not None and self.best_metric:
      if self.best_metric not in scores:
        raise ValueError(
          f"checkpoint.best_metric is {self.best_metric!r}, which no"
          f" evaluation gives; choose one of {sorted(scores)}."
        )
    else:
      scores = None
    self.wait()
    if step in self._manager.all_steps():
      if scores is not None:
        self._add_scores(step, scores)
      return
    items = {"params": state.params, "opt_state": state.opt_state}
    if state.guard is not None:
      items["guard"] = state.guard
    if state.ema_params is not None:
      items["ema_params"] = state.ema_params
    self._saving = step, sum(x.nbytes for x in jax.tree.leaves(items))
    try:
      self._manager.save(
        step,
        args=ocp.args.Composite(
          **{name: ocp.args.StandardSave(item) for name, item in items.items()}
        ),
        metrics=None if scores is None else dict(scores),
        custom_metadata={_OWED: owes_evaluation},
        force=True,
      )
    except Exception as error:
      raise self._failure(error) from error

  def best_step(self) -> int | None:
    """The step with the best score, the first of equals; None for none."""
    self.wait()
    return choosing.best_step(
      self._folder.parent, self.best_metric, self._best_mode
    )

  def is_over(self, step: int, eval_every: int) -> bool:
    """Whether there is no hope left, `patience` evaluations after the best."""
    if not self.patience or (found := self.best_step()) is None:
      return False
    return step - found >= self.patience * eval_every

  def settle(self, state: TrainState, abstract: TrainState) -> TrainState:
    """What a run ends with: with patience the best state, else this one."""
    found = self.best_step() if self.patience else None
    if found is None or found == int(state.step):
      return state
    self._say(f"the best checkpoint is that of step {found}, and is used")
    return self.restore(abstract, found)

  def check(self) -> None:
    """Raises SaveError if the last save failed; costs next to nothing."""
    if self._saving and not self._manager.is_saving_in_progress():
      self.wait()

  def wait(self) -> None:
    """Waits until all is written; raises SaveError if that failed."""
    try:
      self._manager.wait_until_finished()
    except Exception as error:
      raise self._failure(error) from error
    self._saving = None

  def owes_evaluation(self, step: int) -> bool:
    """Whether a saved step was to be evaluated when the run stopped."""
    if step not in self._manager.all_steps() or self._manager.metrics(step):
      return False
    metadata = self._manager.metadata(step)
    return bool((metadata.custom_metadata or {}).get(_OWED))

  def restore(
    self, abstract: TrainState, step: int | None = None
  ) -> TrainState:
    """The saved state, bit for bit, on the devices `abstract` names.

    Averages that `abstract` has and the checkpoint has not begin with the
    parameters, and those that only the checkpoint has are left; either is said.

    Args:
      abstract: see `state.abstract_state`; the mesh may differ from the one
        that saved.
      step: which checkpoint; default: the newest whole one. Damaged ones are
        moved to `damaged_checkpoints` of the workdir, and it is said.

    Raises:
      ValueError: naming the first array that differs from `abstract`, or the
        damaged file of the step that was asked for, or if none is whole.
      FileNotFoundError: if there is no checkpoint.
    """
    if step is None:
      step = self._newest_whole() if self._group.is_main else None
      step = self._group.from_main("the checkpoint to go on from", step)
      self._manager.reload()
    else:
      choosing.find_step(self._folder, self._manager, step)
      integrity.refuse(self._folder / str(step), checksums=self._checksums)
    saved = self._manager.item_metadata(step)
    place = self._folder / str(step)
    if "opt_state" not in saved:
      raise ValueError(
        f"the checkpoint {place} holds parameters and no optimizer state, so"
        " no run can go on from it; start in another --workdir."
      )
    check_shapes(place, saved.params, abstract.params, "parameter", "model")
    check_shapes(
      place, saved.opt_state, abstract.opt_state, "moment", "optimizer"
    )
    wanted = {"params": abstract.params, "opt_state": abstract.opt_state}
    # Earlier versions saved none.
    has_guard = abstract.guard is not None and saved.guard is not None
    if has_guard:
      wanted["guard"] = abstract.guard
    has_ema = "ema_params" in saved
    if abstract.ema_params is not None and has_ema:
      ema = abstract.ema_params
      check_shapes(place, saved.ema_params, ema, "average", "optimizer")
      wanted["ema_params"] = ema
    elif has_ema:
      self._say(
        f"optimizer.ema_decay is 0: the averages in {place} are left, and the"
        " next checkpoints have none"
      )
    elif abstract.ema_params is not None:
      self._say(
        f"{place} has no averages, as optimizer.ema_decay was 0: they begin"
        " with its parameters"
      )
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        **{name: ocp.args.StandardRestore(x) for name, x in wanted.items()}
      ),
    )
    state = TrainState(
      step=jax.device_put(np.int32(step), abstract.step.sharding),
      params=restored.params,
      opt_state=restored.opt_state,
      guard=restored.guard if has_guard else guard.fresh_like(abstract.guard),
      ema_params=restored.get("ema_params"),
    )
    if state.ema_params is None:
      state = state_lib.begin_average(state, abstract)
    return state

  def close(self) -> None:
    """Waits until everything is written; raises what went wrong meanwhile."""
    try:
      self.wait()
    finally:
      self._manager.close()

  def _score(self, scores: Mapping[str, float]) -> float:
    return scores[self.best_metric]

  def _seal(self):
    """Called in the background, before a checkpoint gets its name."""
    step, _ = self._saving
    # One save at a time; object stores write to the last name at once.
    for place in self._folder.iterdir():
      if place.name.partition(".")[0] == str(step):
        integrity.seal(place, checksums=self._checksums)

  def _failure(self, error):
    """The error of a save, in words."""
    step, needed = self._saving or ("?", 0)
    self._saving = None
    self._manager.reload()  # it counts what it began to write
    whole = self._manager.latest_step()
    reason = " ".join(str(error).split())[:200]
    return SaveError(
      f"the checkpoint of step {step} could not be written to"
      f" {str(self._folder)!r} ({reason});"
      f" {integrity.room(self._folder, needed)}. Make room and"
      " start the same command again:"
      + (f" it goes on from step {whole}." if whole else " it starts anew.")
    )

  def _newest_whole(self):
    """Finds it; damaged ones are moved only if there is a whole one."""
    faults = {}
    for step in reversed(self.all_steps()):
      place = self._folder / str(step)
      fault = integrity.fault(place, checksums=self._checksums)
      if fault is None:
        break
      faults[step] = fault
    else:
      if faults:
        newest = max(faults)
        raise ValueError(
          f"no checkpoint in {str(self._folder)!r} is whole (step {newest}:"
          f" {faults[newest]}); bring back a copy, or start in another"
          " --workdir."
        )
      return choosing.find_step(self._folder, self._manager, None)
    for damaged, fault in faults.items():
      moved = integrity.set_aside(self._folder / str(damaged))
      self._say(
        f"DAMAGED CHECKPOINT of step {damaged}: {fault}; it was moved to"
        f" {moved}, and the run goes on from step {step}."
      )
    if faults:
      self._manager.reload()
    return step

  def _add_scores(self, step, scores):
    """Scores of a step that was saved before it could be evaluated."""
    if self._group.is_main:
      item = self._folder / str(step) / "metrics"
      item.mkdir(exist_ok=True)
      # Where orbax looks for them; whole or not at all.
      unfinished = item / "metrics.tmp"
      unfinished.write_text(json.dumps(dict(scores)))
      unfinished.replace(item / "metrics")
    self._group.wait("the scores")
    self._manager.reload()


def handlers(*items: str, **options: Any) -> dict[str, ocp.CheckpointHandler]:
  """What reads and writes each item; `options` as orbax has them."""
  return {item: ocp.StandardCheckpointHandler(**options) for item in items}
