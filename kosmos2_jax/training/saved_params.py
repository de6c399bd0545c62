"""The parameters of a checkpoint alone: for use, not for training on."""

import os

import flax.linen as nn
import jax
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from kosmos2_jax.optim import lora, trainable
from kosmos2_jax.training import choosing, integrity
from kosmos2_jax.training import state as state_lib
from kosmos2_jax.training.checkpoint import FOLDER, handlers
from kosmos2_jax.training.matching import check_shapes
from kosmos2_jax.training.workdir import open_folder, read_lora


def restore(
  workdir: str | os.PathLike,
  model: nn.Module,
  step: int | None = None,
  *,
  use_ema: bool = True,
) -> tuple[PyTree, int]:
  """Reads the parameters alone, to the first device, adapters merged.

  Args:
    workdir: a folder that `train.py` wrote.
    model: the module they are for.
    step: which checkpoint; default: the newest, or of a run with patience the
      best one.
    use_ema: takes averages for the parameters that have one.

  Returns:
    The model's parameters and their step.

  Raises:
    ValueError: naming the first parameter that is not as the model has it, or
      a damaged file.
    FileNotFoundError: if there is no such checkpoint.
  """
  folder = open_folder(workdir) / FOLDER
  place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  wanted = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  adapters = lora.described(read_lora(workdir))
  if adapters is not None:
    wanted = {**wanted, lora.PART: adapters.shapes(wanted)}
  abstract = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
    wanted,
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
  items = handlers("params", "ema_params", multiprocessing_options=alone)
  with ocp.CheckpointManager(
    folder, item_handlers=items, options=options
  ) as manager:
    if step is None:
      step = choosing.chosen_step(workdir)
    step = choosing.find_step(folder, manager, step)
    integrity.refuse(folder / str(step), part="params/")
    saved = manager.item_metadata(step)
    check_shapes(
      folder / str(step), saved.params, abstract, "parameter", "model"
    )
    wanted = {"params": abstract}
    if use_ema and "ema_params" in saved:
      integrity.refuse(folder / str(step), part="ema_params/")
      wanted["ema_params"] = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
          leaf.shape, leaf.dtype, sharding=place
        ),
        dict(saved.ema_params.tree),
      )
    restored = manager.restore(
      step,
      args=ocp.args.Composite(
        **{name: ocp.args.StandardRestore(x) for name, x in wanted.items()}
      ),
    )
  params = restored.params
  if "ema_params" in wanted:
    params = trainable.put(params, restored.ema_params)
  if adapters is not None:
    params = adapters.merge(params)
  return params, step


def save(workdir: str | os.PathLike, params: PyTree, step: int = 0) -> None:
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
