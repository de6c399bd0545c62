"""Writes the report of a run while it goes; it can never end the run."""

import os
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
from etils import epath

from kosmos2_jax.evals.protocol import Outcome
from kosmos2_jax.training import workdir
from kosmos2_jax.training.report import environment, page
from kosmos2_jax.training.report.samples import Samples
from kosmos2_jax.training.writers import SilentWriter

# The picture that is kept as the first batch.
FIRST_BATCH = "input/first_batch"
# A report is left out where writing would take a larger part of the time: the
# last one took so long, and the one before is so short ago.
MAX_SHARE = 0.05


class ReportWriter(SilentWriter):
  """Keeps what the report is made of, and makes it after each evaluation.

  Whatever fails is said in a sentence, and the run goes on.

  Args:
    folder: the workdir.
    say: takes a line.
    clock: seconds.
  """

  def __init__(
    self,
    folder: str | os.PathLike,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
  ):
    self._folder = epath.Path(folder)
    self._samples = Samples(folder)
    self._say = say
    self._clock = clock
    self._started = False
    self._written = -float("inf")  # when
    self._seconds = 0.0  # that it took

  def start(self, step: int) -> None:
    """The run starts, or goes on, with `step` updates done."""
    self._started = True
    self._try("samples", lambda: self._samples.cut(step))
    self._try(
      environment.FILE, lambda: environment.write(self._folder, sys.argv)
    )

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Keeps the first batch; the others are kept by `write_samples`."""
    del step
    if FIRST_BATCH in images:
      sheet = np.asarray(images[FIRST_BATCH])
      self._try("samples", lambda: self._samples.write_first_batch(sheet))

  def write_samples(self, step: int, outcomes: Mapping[str, Outcome]) -> None:
    """Keeps answers of an evaluation."""
    self._try("samples", lambda: self._samples.write(step, outcomes))

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Makes the report anew, after an evaluation."""
    del step
    if all(name.startswith("train/") for name in scalars):
      return
    since = self._clock() - self._written
    if self._seconds <= MAX_SHARE * since:
      self._write(is_going=True)

  def finish(self) -> None:
    """Makes it a last time; nothing else of the run is to come."""
    if self._started:
      self._write(is_going=False)

  def _write(self, *, is_going: bool) -> None:
    begin = self._clock()
    self._try(
      workdir.REPORT_FILE, lambda: page.write(self._folder, is_going=is_going)
    )
    self._written = self._clock()
    self._seconds = self._written - begin

  def _try(self, what: str, write: Callable[[], object]) -> None:
    try:
      write()
    except Exception as error:
      reason = " ".join(str(error).split())[:300]
      self._say(
        f"WARNING: {what} could not be written, the run goes on"
        f" ({type(error).__name__}: {reason}); python -m"
        f" kosmos2_jax.tools.report --workdir={self._folder} makes the report"
        " at any time."
      )
