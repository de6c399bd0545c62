"""Checkpoints of parameters alone: read by those who use a model."""

import os

import flax.linen as nn
import jax
import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree

from kosmos2_jax.training import integrity
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training.matching import check_shapes
from kosmos2_jax.training.workdir import open_folder

FOLDER = "checkpoints"


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
    ValueError: naming the first parameter that is not as the model has it, or
      a damaged file.
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
  reader = {
    "params": ocp.StandardCheckpointHandler(multiprocessing_options=alone)
  }
  with ocp.CheckpointManager(
    folder, item_handlers=reader, options=options
  ) as manager:
    step = find_step(folder, manager, step)
    integrity.refuse(folder / str(step), part="params/")
    saved = manager.item_metadata(step).params
    check_shapes(folder / str(step), saved, abstract, "parameter", "model")
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
    folder, item_handlers=handlers("params"), options=options
  ) as manager:
    manager.save(
      step, args=ocp.args.Composite(params=ocp.args.StandardSave(params))
    )


def newest_step(workdir: str | os.PathLike) -> int | None:
  """Step of the newest checkpoint of a workdir, which is only looked at."""
  folder = open_folder(workdir) / FOLDER
  if not folder.is_dir():
    return None
  names = [path.name for path in folder.iterdir()]
  return max((int(name) for name in names if name.isdecimal()), default=None)


def find_step(
  folder: epath.Path, manager: ocp.CheckpointManager, step: int | None
) -> int:
  """A step that there is; the newest for None.

  Raises:
    FileNotFoundError: if there is none, naming those that there are.
  """
  steps = sorted(manager.all_steps())
  if not steps or (step is not None and step not in steps):
    what = "any step" if step is None else f"step {step}"
    raise FileNotFoundError(
      f"there is no checkpoint of {what} in {str(folder)!r}; it has"
      f" {steps or 'none'}."
    )
  return steps[-1] if step is None else step


def handlers(*items: str) -> dict[str, ocp.CheckpointHandler]:
  """Read and write arrays, for these parts of a checkpoint."""
  return {item: ocp.StandardCheckpointHandler() for item in items}
