"""Weights & Biases, if it is installed and asked for."""

import json
import os
import sys
import types
from collections.abc import Mapping

import numpy as np
from etils import epath

from kosmos2_jax.training.writers import SilentWriter, write_whole

# Below the workdir: the project and the id of the run, so that a restart goes
# on with the same run.
FILE = "wandb.json"


class WandbWriter(SilentWriter):
  """Sends numbers, pictures and the config to a run of Weights & Biases.

  Whether it is online is for the package's own settings to say, as the
  variable WANDB_MODE. The step is a number among the others and the axis of
  all of them: the package's own counter never goes back, and would drop what
  is done again after a restart.

  Args:
    project: name of the project.
    folder: the workdir; its run, if it has one of this project, goes on.
    texts: "command" and, as JSON, "config" of the run, if there are any.

  Raises:
    ValueError: if the package is missing, or refuses to start.
  """

  def __init__(
    self, project: str, folder: str | os.PathLike, texts: Mapping[str, str]
  ):
    self._wandb = _load(project)
    path = epath.Path(folder) / FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    same = known.get("project") == project
    try:
      self._run = self._wandb.init(
        project=project,
        id=known["id"] if same else None,
        resume="allow",
        # It writes beside the run, and there has to be a disk.
        dir=None if "://" in os.fspath(folder) else os.fspath(folder),
        config={
          **json.loads(texts.get("config", "{}")),
          "command": texts.get("command", ""),
        },
        # A changed field is told by the console, and is no mistake.
        allow_val_change=True,
        # The progress bar is nothing to be recorded.
        settings={"console": "off"},
      )
    except self._wandb.Error as error:
      raise ValueError(
        f"Weights & Biases did not start ({error}); set WANDB_MODE=offline, or"
        " --config.wandb= for none."
      ) from error
    write_whole(path, json.dumps({"project": project, "id": self._run.id}))
    self._run.define_metric("step", hidden=True)
    self._run.define_metric("*", step_metric="step")

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """See the base class."""
    self._run.log({"step": step, **scalars})

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """See the base class."""
    shown = {key: self._wandb.Image(image) for key, image in images.items()}
    self._run.log({"step": step, **shown})

  def close(self) -> None:
    """Ends the run: as failed, if an exception is on its way."""
    self._run.finish(exit_code=int(sys.exc_info()[0] is not None))


def _load(project: str) -> types.ModuleType:
  try:
    import wandb
  except ImportError as error:
    raise ValueError(
      f"config.wandb is {project!r}, but the package wandb cannot be imported"
      f" ({error}); install it with pip install wandb, or set --config.wandb="
      " for none."
    ) from error
  return wandb
