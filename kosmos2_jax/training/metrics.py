"""Where the numbers and pictures of a run go."""

import io
import os
import shlex
import sys
from collections.abc import Mapping

from clu import metric_writers
from etils import epath

from kosmos2_jax.evals.protocol import Outcome
from kosmos2_jax.training import workdir
from kosmos2_jax.training.console import Console
from kosmos2_jax.training.report.writer import ReportWriter
from kosmos2_jax.training.wandb_writer import WandbWriter
from kosmos2_jax.training.writers import FILE, MetricsFile


class Reporter(metric_writers.MultiWriter):
  """Everything that takes the numbers of a run; a context manager.

  All writers of a run are made here.

  Args:
    folder: the workdir, which gets the files; None: the console alone.
    num_steps: see `Console`.
    stream: see `Console`.
    project: of Weights & Biases; "" for none.
    quiet: nothing is written anywhere: another process does it.

  Attributes:
    takes_pictures: whether pictures are written anywhere.

  Raises:
    ValueError: see `WandbWriter`.
  """

  def __init__(
    self,
    folder: str | os.PathLike | None,
    num_steps: int,
    stream: io.TextIOBase | None = None,
    *,
    project: str = "",
    quiet: bool = False,
  ):
    self._texts = {}
    self._console: Console | None = None
    self._file: MetricsFile | None = None
    self._report: ReportWriter | None = None
    writers = []
    if not quiet:
      self._console = Console(num_steps, stream)
      writers.append(self._console)
      if folder is not None:
        self._texts = _texts(folder)
        if project:
          writers.append(WandbWriter(project, folder, self._texts))
        self._file = MetricsFile(folder)
        self._report = ReportWriter(folder, self.say)
        logdir = os.path.join(folder, workdir.METRICS_FOLDER)
        writers += [self._file, metric_writers.SummaryWriter(logdir)]
        writers.append(self._report)  # last: it reads what the others wrote
    self.takes_pictures = self._file is not None
    super().__init__(writers)

  def __enter__(self) -> "Reporter":
    if self._console:
      self._console.__enter__()
    return self

  def __exit__(self, *exception) -> None:
    if self._report:
      self._report.finish()
    if self._console:
      self._console.__exit__(*exception)
    self.close()

  def start(self, step: int) -> None:
    """The run starts, or goes on, with `step` updates done.

    What the file has of later steps is removed: they are done again.
    """
    removed = self._file.cut(step) if self._file else 0
    if self._report:
      self._report.start(step)
    if removed:
      self.say(f"{FILE}: cut {removed} line(s) of what is trained again")
    # Indented by four: code, as TensorBoard reads Markdown.
    self.write_texts(
      step,
      {
        name: "".join(f"    {line}\n" for line in text.splitlines())
        for name, text in self._texts.items()
      },
    )
    self.advance(step)

  def write_samples(self, step: int, outcomes: Mapping[str, Outcome]) -> None:
    """Keeps answers of an evaluation for the report of the run."""
    if self._report:
      self._report.write_samples(step, outcomes)

  def advance(self, step: int) -> None:
    """Tells the console that `step` updates are done."""
    if self._console:
      self._console.advance(step)

  def say(self, text: str) -> None:
    """Writes one line to the console."""
    if self._console:
      self._console.say(text)


def _texts(folder: str | os.PathLike) -> dict[str, str]:
  """What is run, to stand beside the numbers: the command and the config."""
  texts = {"command": shlex.join(sys.argv)}
  config = epath.Path(folder) / workdir.CONFIG_FILE
  if config.exists():
    texts["config"] = config.read_text()
  return texts
