"""Which checkpoint of a workdir is used: the newest, or the best one.

A run with patience ends where its score is no longer better, some evaluations
behind the best one; what it was for is that best checkpoint, so that one is
used wherever the workdir is: by its own last evaluation, by `Predictor`, by
`eval.py`, by `init_from` and by `tools.convert`.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from kosmos2_jax.training.workdir import CONFIG_FILE, open_folder

# Below the workdir, and what orbax calls the scores of a checkpoint.
FOLDER = "checkpoints"
_SCORES = "metrics"


def scores_of(workdir: str | os.PathLike, name: str) -> dict[int, float]:
  """One score of every checkpoint that was evaluated, by its step."""
  folder = open_folder(workdir) / FOLDER
  found = {}
  for place in folder.iterdir() if folder.is_dir() else ():
    file = place / _SCORES / _SCORES
    if place.name.isdecimal() and file.exists():
      scores = json.loads(file.read_text())
      if name in scores:
        found[int(place.name)] = scores[name]
  return found


def best_step(
  workdir: str | os.PathLike, name: str, mode: str = "max"
) -> int | None:
  """The step with the best score, the first of equals; None if none has one.

  Args:
    workdir: folder of a run.
    name: of the score.
    mode: "max" or "min" is best.
  """
  return _first_best(scores_of(workdir, name), mode)


def _first_best(scores: Mapping[int, float], mode: str) -> int | None:
  sign = -1 if mode == "max" else 1
  return min(scores, key=lambda step: (sign * scores[step], step), default=None)


class KeepBest:
  """A policy of orbax: keeps the checkpoint with the best score.

  The first of equals, as those behind it are what patience waits for; orbax's
  own keeps the last.

  Args:
    name: of the score.
    mode: "max" or "min" is best.
  """

  def __init__(self, name: str, mode: str):
    self._name = name
    self._mode = mode

  def should_preserve(
    self, checkpoints: Sequence[Any], *, context: Any
  ) -> list[bool]:
    """For each checkpoint whether it is kept."""
    del context
    scores = {
      info.step: info.metrics[self._name]
      for info in checkpoints
      if info.metrics is not None
    }
    best = _first_best(scores, self._mode)
    return [info.step == best for info in checkpoints]


def chosen_step(workdir: str | os.PathLike) -> int | None:
  """The best step of a run with patience; None for the newest of all others."""
  file: epath.Path = open_folder(workdir) / CONFIG_FILE
  if not file.exists():
    return None
  section = json.loads(file.read_text()).get("checkpoint", {})
  if not section.get("patience"):
    return None
  return best_step(workdir, section["best_metric"], section["best_mode"])


def newest_step(workdir: str | os.PathLike) -> int | None:
  """Step of the newest checkpoint of a workdir, which is only looked at."""
  folder = epath.Path(workdir) / FOLDER
  if not folder.is_dir():
    return None
  names = [path.name for path in folder.iterdir()]
  return max((int(name) for name in names if name.isdecimal()), default=None)


def find_step(
  folder: os.PathLike, manager: ocp.CheckpointManager, step: int | None
) -> int:
  """The step, or the newest one for None; FileNotFoundError without it."""
  steps = sorted(manager.all_steps())
  if not steps or (step is not None and step not in steps):
    what = "any step" if step is None else f"step {step}"
    raise FileNotFoundError(
      f"there is no checkpoint of {what} in {str(folder)!r}; it has"
      f" {steps or 'none'}."
    )
  return steps[-1] if step is None else step
