"""Where the numbers of a run go: the console and TensorBoard."""

import datetime
import io
import os
import sys
from collections.abc import Mapping

import rich.console
import rich.progress
from clu import metric_writers

from kosmos2_jax.training import workdir


class Console(metric_writers.LoggingWriter):
  """Shows the run: a progress bar on a terminal, lines anywhere else.

  A context manager. It is one of the metric writers; what it does beyond
  that is `advance` (one more step is done) and `say` (one line of text).

  Args:
    num_steps: updates of the whole run.
    stream: where to write; whether it is a terminal decides the form.
  """

  def __init__(self, num_steps: int, stream: io.TextIOBase | None = None):
    super().__init__()
    self._num_steps = num_steps
    self._stream = sys.stdout if stream is None else stream
    self._progress = None
    if self._stream.isatty():
      self._progress = rich.progress.Progress(
        rich.progress.TextColumn("step"),
        rich.progress.MofNCompleteColumn(),
        rich.progress.BarColumn(),
        rich.progress.TextColumn("{task.fields[text]}"),
        rich.progress.TextColumn("ETA"),
        rich.progress.TimeRemainingColumn(compact=True),
        console=rich.console.Console(file=self._stream),
      )
      self._task = self._progress.add_task("train", total=num_steps, text="")

  def __enter__(self) -> "Console":
    if self._progress:
      self._progress.start()
    return self

  def __exit__(self, *_) -> None:
    if self._progress:
      self._progress.stop()

  def advance(self, step: int) -> None:
    """Moves the bar; `step` updates are done."""
    if self._progress:
      self._progress.update(self._task, completed=step)

  def say(self, text: str) -> None:
    """Writes one line, above the bar if there is one."""
    if self._progress:
      self._progress.console.print(text, highlight=False, markup=False)
    else:
      print(text, file=self._stream, flush=True)

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """One line, or for training metrics on a terminal the text of the bar."""
    speed = scalars.get("train/steps_per_sec")
    text = "  ".join(
      f"{name.removeprefix('train/')} {value:.4g}"
      for name, value in scalars.items()
      # Hardly change; TensorBoard has them.
      if not name.startswith("train/tokens/")
    )
    if speed is not None and self._progress:
      self._progress.update(self._task, text=text)
      return
    if speed:
      seconds = round((self._num_steps - step) / speed)
      text += f"  ETA {datetime.timedelta(seconds=seconds)}"
    self.say(f"step {step}/{self._num_steps}  {text}")

  def flush(self) -> None:
    """Nothing is held back."""

  def close(self) -> None:
    """The stream stays open; `__exit__` ends the bar."""


class Reporter(metric_writers.MultiWriter):
  """Everything that takes the numbers of a run; a context manager.

  Args:
    folder: the workdir; event files for TensorBoard go below it. None: none.
    num_steps: see `Console`.
    stream: see `Console`.
    quiet: nothing is written anywhere: another process does it.
  """

  def __init__(
    self,
    folder: str | os.PathLike | None,
    num_steps: int,
    stream: io.TextIOBase | None = None,
    *,
    quiet: bool = False,
  ):
    self._console = Console(num_steps, io.StringIO() if quiet else stream)
    writers = [self._console]
    if folder is not None and not quiet:
      logdir = os.path.join(folder, workdir.METRICS_FOLDER)
      writers.append(metric_writers.SummaryWriter(logdir))
    super().__init__(writers)

  def __enter__(self) -> "Reporter":
    self._console.__enter__()
    return self

  def __exit__(self, *exception) -> None:
    self._console.__exit__(*exception)
    self.close()

  def advance(self, step: int) -> None:
    """Tells the console that `step` updates are done."""
    self._console.advance(step)

  def say(self, text: str) -> None:
    """Writes one line to the console."""
    self._console.say(text)
