"""Recording some steps with JAX's profiler, on all processes at once."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import jax
from etils import epath

from kosmos2_jax.training.processes import Group

FOLDER = "profile"


class Profile:
  """Records the steps from `first` on; a profiler started on one process of
  several would make it late, and the others wait.

  TensorBoard finds `plugins/profile/step_N/process_K.xplane.pb` in the folder
  `profile` of the workdir.

  Args:
    folder: the workdir.
    first: the first step that is recorded.
    count: how many are.
    group: the processes.
  """

  def __init__(
    self, folder: str | os.PathLike, first: int, count: int, group: Group
  ):
    self.first = first
    self.last = first + count
    self._folder = epath.Path(folder) / FOLDER
    self._index = group.index
    self._local: str | None = None

  @classmethod
  def parse(
    cls, text: str | None, folder: str | os.PathLike, group: Group
  ) -> "Profile | None":
    """From STEP:COUNT; None where nothing is asked for.

    Raises:
      ValueError: if it is not that.
    """
    if not text:
      return None
    if not (found := re.fullmatch(r"(\d+):([1-9]\d*)", text)):
      raise ValueError(
        "--profile is STEP:COUNT, the first step to record and how many;"
        f" found {text!r}"
      )
    return cls(folder, int(found[1]), int(found[2]), group)

  def turns_at(self, step: int) -> bool:
    """Whether recording begins or ends before this step."""
    return step == (self.first if self._local is None else self.last)

  def turn(self, step: int) -> None:
    """Begins or ends recording, where `turns_at`."""
    if step == self.first and self._local is None:
      self._local = tempfile.mkdtemp(prefix="profile")
      jax.profiler.start_trace(self._local)
    else:
      self.stop()

  def stop(self) -> None:
    """Ends recording, if it has begun, and writes it to the workdir."""
    if self._local is None:
      return
    jax.profiler.stop_trace()
    # The profiler knows local folders only, and names files after the host,
    # which several processes may share.
    target = self._folder / "plugins" / "profile" / f"step_{self.first}"
    target.mkdir(parents=True, exist_ok=True)
    for file in Path(self._local).rglob("*.xplane.pb"):
      name = f"process_{self._index}.xplane.pb"
      (target / name).write_bytes(file.read_bytes())
    shutil.rmtree(self._local)
    self._local, self.first = None, -1
