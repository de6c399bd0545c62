"""Recording some steps with JAX's profiler, on all processes at once."""

import importlib.util
import os
import re
import shutil
import tempfile
from pathlib import Path

import jax
from etils import epath

FOLDER = "profile"


class Profile:
  """Records the steps from `first` on; a profiler started on one process of
  several would make it late, and the others wait.

  TensorBoard finds `plugins/profile/step_N/process_K.xplane.pb` in the folder
  `profile` of the workdir.

  Args:
    text: STEP:COUNT, the first step that is recorded and how many are; None
      or "": nothing is.
    folder: the workdir.
    index: number of this process.

  Raises:
    ValueError: if the text is not that, or recording would end the program.
  """

  def __init__(
    self,
    text: str | None = None,
    folder: str | os.PathLike = "",
    index: int = 0,
  ):
    self._first = self._last = -1
    self._folder = epath.Path(folder) / FOLDER
    self._index = index
    self._local: str | None = None
    if not text:
      return
    if not (found := re.fullmatch(r"(\d+):([1-9]\d*)", text)):
      raise ValueError(
        "--profile is STEP:COUNT, the first step to record and how many;"
        f" found {text!r}"
      )
    _check_libtpu()
    self._first = int(found[1])
    self._last = self._first + int(found[2])

  def turns_at(self, step: int) -> bool:
    """Whether recording begins or ends before this step."""
    return step == (self._first if self._local is None else self._last)

  def turn(self, step: int) -> None:
    """Begins or ends recording, where `turns_at`."""
    if self._local is None and step == self._first:
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
    target = self._folder / "plugins" / "profile" / f"step_{self._first}"
    target.mkdir(parents=True, exist_ok=True)
    for file in Path(self._local).rglob("*.xplane.pb"):
      name = f"process_{self._index}.xplane.pb"
      (target / name).write_bytes(file.read_bytes())
    shutil.rmtree(self._local)
    self._local = None


def _check_libtpu():
  """libtpu without a TPU ends the process as soon as recording begins."""
  platforms = (jax.config.jax_platforms or "tpu").split(",")
  if "tpu" not in platforms or not importlib.util.find_spec("libtpu"):
    return
  if jax.default_backend() != "tpu":
    raise ValueError(
      "--profile crashes where libtpu is installed and no TPU is; set the"
      " environment variable JAX_PLATFORMS to what this machine has, e.g. cpu"
      " or cuda,cpu."
    )
