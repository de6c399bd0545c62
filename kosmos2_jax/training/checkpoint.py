"""Checkpoints: written in the background, whole or not at all, read exactly.

A checkpoint `checkpoints/<step>` of a workdir holds `params` and `opt_state`;
its step is its name. It is written to a temporary folder and renamed when
complete, so a process killed at any moment leaves complete ones only.
"""

import os
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree
from orbax.checkpoint import checkpoint_managers

from kosmos2_jax.sharding import param_path
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training.state import TrainState
from kosmos2_jax.training.workdir import open_folder

FOLDER = "checkpoints"
BEST_MODES = ("max", "min")


class Checkpointer:
  """The checkpoints of one workdir; a context manager.

  Keeps the newest `keep`, and the one with the best score where a score is
  named. Saving copies the state to the host and returns; a failure of the
  background write is raised by the next call.

  Args:
    workdir: folder of the run; made if it does not exist.
    keep: how many of the newest to keep, at least 1.
    best_metric: name of the score, or "" for none.
    best_mode: "max" or "min" is best.

  Raises:
    ValueError: for a wrong `keep` or `best_mode`.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    *,
    keep: int = 1,
    best_metric: str = "",
    best_mode: str = "max",
  ):
    if keep < 1:
      raise ValueError(f"checkpoint.keep is at least 1; found {keep}.")
    if best_mode not in BEST_MODES:
      raise ValueError(
        f"checkpoint.best_mode is one of {BEST_MODES}; found {best_mode!r}."
      )
    self.best_metric = best_metric
    policies = [checkpoint_managers.LatestN(keep)]
    options = {}
    if best_metric:
      options = {"best_fn": self._score, "best_mode": best_mode}
      policies.append(
        checkpoint_managers.BestN(
          get_metric_fn=self._score,
          reverse=best_mode == "min",
          n=1,
          keep_checkpoints_without_metrics=False,
        )
      )
    self._folder = open_folder(workdir) / FOLDER
    self._manager = ocp.CheckpointManager(
      self._folder,
      item_handlers=_handlers("params", "opt_state"),
      options=ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
        # What a killed process left half-written is of no use to anybody.
        cleanup_tmp_directories=True,
        save_root_metadata=False,
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
    self, state: TrainState, step: int, scores: Mapping[str, float] | None
  ) -> None:
    """Saves the state after `step` updates, unless it is saved already.

    Args:
      state: its arrays may be donated as soon as this returns.
      step: the value of `state.step`, known without asking the device.
      scores: of an evaluation of this state, if there was one.

    Raises:
      ValueError: if there are scores, but not the one that tells the best.
    """
    if scores is not None and self.best_metric:
      if self.best_metric not in scores:
        raise ValueError(
          f"checkpoint.best_metric is {self.best_metric!r}, which no"
          f" evaluation gives; choose one of {sorted(scores)}."
        )
    else:
      scores = None
    self._manager.check_for_errors()
    if step in self._manager.all_steps():
      return
    self._manager.save(
      step,
      args=ocp.args.Composite(
        params=ocp.args.StandardSave(state.params),
        opt_state=ocp.args.StandardSave(state.opt_state),
      ),
      metrics=None if scores is None else dict(scores),
      force=True,
    )

  def restore(
    self, abstract: TrainState, step: int | None = None
  ) -> TrainState:
    """The saved state, bit for bit, on the devices `abstract` names.

    Args:
      abstract: see `state.abstract_state`; the mesh may differ from the one
        that saved.
      step: which checkpoint; default: the newest.

    Raises:
      ValueError: naming the first array that differs from `abstract`.
      FileNotFoundError: if there is no checkpoint.
    """
    step = _find(self._folder, self._manager, step)
    saved = self._manager.item_metadata(step)
    place = self._folder / str(step)
    if "opt_state" not in saved:
      raise ValueError(
        f"the checkpoint {place} holds parameters and no optimizer state, so"
        " no run can go on from it; start in another --workdir."
      )
    _check(place, saved.params, abstract.params, "parameter", "model")
    _check(place, saved.opt_state, abstract.opt_state, "moment", "optimizer")
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        params=ocp.args.StandardRestore(abstract.params),
        opt_state=ocp.args.StandardRestore(abstract.opt_state),
      ),
    )
    return TrainState(
      step=jax.device_put(np.int32(step), abstract.step.sharding),
      params=restored.params,
      opt_state=restored.opt_state,
    )

  def close(self) -> None:
    """Waits until everything is written; raises what went wrong meanwhile."""
    self._manager.wait_until_finished()
    self._manager.close()

  def _score(self, scores: Mapping[str, float]) -> float:
    return scores[self.best_metric]


def restore_params(
  workdir: str | os.PathLike, model: nn.Module, step: int | None = None
) -> tuple[PyTree, int]:
  """Reads the parameters alone, to the first device.

  Args:
    workdir: a folder that `train.py` wrote.
    model: the module they are for.
    step: which checkpoint; default: the newest.

  Returns:
    The parameters and their step.

  Raises:
    ValueError: naming the first parameter that is not as the model has it.
    FileNotFoundError: if there is no such checkpoint.
  """
  folder = open_folder(workdir) / FOLDER
  place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  abstract = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
    jax.eval_shape(lambda: state_lib.init_params(model, jax.random.key(0))),
  )
  if not folder.is_dir():
    raise FileNotFoundError(
      f"there is no checkpoint in {str(workdir)!r}; give a workdir that"
      " train.py wrote."
    )
  # Every process that calls this reads for itself, and waits for nobody.
  index = jax.process_index()
  alone = ocp.options.MultiprocessingOptions(
    primary_host=index,
    active_processes={index},
    barrier_sync_key_prefix=f"process_{index}",
  )
  options = ocp.CheckpointManagerOptions(
    read_only=True, save_interval_steps=0, multiprocessing_options=alone
  )
  handlers = {
    "params": ocp.StandardCheckpointHandler(multiprocessing_options=alone)
  }
  with ocp.CheckpointManager(
    folder, item_handlers=handlers, options=options
  ) as manager:
    step = _find(folder, manager, step)
    saved = manager.item_metadata(step).params
    _check(folder / str(step), saved, abstract, "parameter", "model")
    restored = manager.restore(
      step,
      args=ocp.args.Composite(params=ocp.args.StandardRestore(abstract)),
    )
  return restored.params, step


def save_params(
  workdir: str | os.PathLike, params: PyTree, step: int = 0
) -> None:
  """Writes a checkpoint that holds parameters and nothing else.

  Args:
    workdir: made if it does not exist.
    params: nested arrays.
    step: the training step they are of.
  """
  folder = open_folder(workdir) / FOLDER
  options = ocp.CheckpointManagerOptions(
    save_root_metadata=False, enable_async_checkpointing=False
  )
  with ocp.CheckpointManager(
    folder, item_handlers=_handlers("params"), options=options
  ) as manager:
    manager.save(
      step, args=ocp.args.Composite(params=ocp.args.StandardSave(params))
    )


def _find(folder, manager, step):
  steps = sorted(manager.all_steps())
  if not steps or (step is not None and step not in steps):
    what = "any step" if step is None else f"step {step}"
    raise FileNotFoundError(
      f"there is no checkpoint of {what} in {str(folder)!r}; it has"
      f" {steps or 'none'}."
    )
  return steps[-1] if step is None else step


def _check(
  folder: epath.Path, metadata: Any, abstract: PyTree, what: str, owner: str
) -> None:
  """Raises ValueError unless the saved shapes are those of `abstract`."""
  saved, wanted = _shapes(metadata.tree), _shapes(abstract)
  advice = (
    f"give the config the values this {owner} was made with, or start in"
    " another --workdir."
  )
  for name in sorted(saved.keys() | wanted.keys()):
    was, should = (shapes.get(name, "none") for shapes in (saved, wanted))
    if was != should:
      raise ValueError(
        f"{what} {name} has shape {was} in the checkpoint {folder} and"
        f" {should} in the {owner} of this config: {advice}"
      )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  leaves = jax.tree_util.tree_flatten_with_path(
    tree, is_leaf=lambda x: hasattr(x, "shape")
  )[0]
  return {param_path(path): tuple(leaf.shape) for path, leaf in leaves}


def _handlers(*items: str) -> dict[str, ocp.CheckpointHandler]:
  return {item: ocp.StandardCheckpointHandler() for item in items}
