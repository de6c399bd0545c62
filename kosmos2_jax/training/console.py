"""What a person sees of a run: lines of text, or a bar with lines below."""

import datetime
import io
import sys
from collections.abc import Iterable, Mapping, Sequence

import rich.console
import rich.progress
import rich.text

from kosmos2_jax.training.writers import SilentWriter

LINE_WIDTH = 100  # where there is no terminal that has one
_INDENT = "  "
_GAP = "  "

# How each number of training is shown, in this order, those of the first line
# as wide as they mostly are. Numbers that are not here follow under their own
# names.
_FORMATS = {
  "loss": "loss {:7.4f}",
  "accuracy": "accuracy {:.3f}",
  "grad_norm": "grad_norm {:<6.3g}",
  "learning_rate": "lr {:.2e}",
  "tokens_per_sec": "{:>9,.0f} tokens/s",
  "examples_per_sec": "{:,.4g} examples/s",
  "steps_per_sec": "{:.3g} steps/s",
  "mfu": "MFU {:.1%}",
  "input_wait": "input wait {:.0%}",
  "device_memory_gib": "device memory {:.1f} GiB",
  "device_memory_peak_gib": "peak {:.1f} GiB",
  "process_memory_gib": "process memory {:.1f} GiB",
  "evaluation_seconds": "evaluation {:.1f} s",
  "checkpoint_seconds": "checkpoint {:.1f} s",
}
# The first line has what is looked at most.
_FIRST = ("loss", "accuracy", "grad_norm", "learning_rate", "tokens_per_sec")
# Hardly change, or follow from others; the files have them.
_FILES_ONLY = ("tokens_per_step", "targets_per_step", "targets_per_sec")
_MAX_KINDS = 4


class Console(SilentWriter):
  """Shows the run: a progress bar on a terminal, lines anywhere else.

  A context manager. It is one of the metric writers; what it does beyond
  that is `advance` (one more step is done) and `say` (one line of text).

  Args:
    num_steps: updates of the whole run.
    stream: where to write; whether it is a terminal decides the form.
  """

  def __init__(self, num_steps: int, stream: io.TextIOBase | None = None):
    self._num_steps = num_steps
    self._stream = sys.stdout if stream is None else stream
    self._progress = None
    if self._stream.isatty():
      self._progress = _Bar(rich.console.Console(file=self._stream))
      self._task = self._progress.add_task("", total=num_steps, eta="")

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
    """A few lines for numbers of training, one for others.

    Of training, the first line stands for itself, those below it are indented.
    On a terminal they stand below the bar, each in place of the one before.
    """
    if "train/loss" not in scalars:
      numbers = (f"{name} {value:.4g}" for name, value in scalars.items())
      self.say(_GAP.join([f"step {step}/{self._num_steps}", *numbers]))
      return
    numbers = {
      name.removeprefix("train/"): value for name, value in scalars.items()
    }
    seconds = numbers.pop("eta_seconds", None)
    eta = []
    if seconds is not None:
      eta = [f"ETA {_duration(seconds)}"]
    first, others, kinds = _fields(numbers)
    if self._progress:
      width = self._progress.console.width
      self._progress.lines = [*_fold([*first, *others], width)]
      self._progress.lines += _fold(kinds, width)
      self._progress.update(self._task, eta="".join(eta))
      return
    head = f"step {step}/{self._num_steps}"
    width = len(f"step {self._num_steps}/{self._num_steps}")
    self.say(_GAP.join([head.ljust(width), *first, *eta]))
    for fields in (others, kinds):
      for line in _fold(fields, LINE_WIDTH - len(_INDENT)):
        self.say(_INDENT + line)


class _Bar(rich.progress.Progress):
  """One bar, and lines of text below it that are cut at the screen's width."""

  def __init__(self, console):
    self.lines: Sequence[str] = ()
    super().__init__(
      rich.progress.TextColumn("step"),
      rich.progress.MofNCompleteColumn(),
      rich.progress.BarColumn(),
      rich.progress.TextColumn("{task.fields[eta]}"),
      console=console,
    )

  def get_renderables(self):
    yield from super().get_renderables()
    for line in self.lines:
      yield rich.text.Text(line, no_wrap=True, overflow="ellipsis")


def _fields(numbers: Mapping[str, float]) -> tuple[list[str], ...]:
  """Texts of the first line, of those below it, and of the kinds' losses."""
  kinds = {
    name.removeprefix("loss/"): value
    for name, value in numbers.items()
    if name.startswith("loss/")
  }
  shown = [
    name
    for name in (*_FORMATS, *(n for n in numbers if n not in _FORMATS))
    if name in numbers
    and name not in _FILES_ONLY
    and not name.startswith(("loss/", "targets/"))
  ]
  first, others = [], []
  for name in shown:
    text = _FORMATS.get(name, f"{name} {{:.4g}}").format(numbers[name])
    (first if name in _FIRST else others).append(text)
  return first, others, _of_kinds(kinds)


def _of_kinds(losses: Mapping[str, float]) -> list[str]:
  """The kinds with the highest loss; the files have all of them."""
  if len(losses) < 2:
    return []
  ordered = sorted(losses.items(), key=lambda item: -item[1])
  title = "loss by kind:"
  if len(losses) > _MAX_KINDS:
    title = f"highest of {len(losses)} kinds:"
  texts = [f"{name} {loss:.3f}" for name, loss in ordered[:_MAX_KINDS]]
  return [f"{title} {texts[0]}", *texts[1:]]


def _duration(seconds: float) -> str:
  """Hours, minutes, seconds; or days, hours, minutes."""
  days, rest = divmod(round(seconds), 24 * 60 * 60)
  text = str(datetime.timedelta(seconds=rest))
  return f"{days}d {text[:-3]}" if days else text


def _fold(fields: Iterable[str], width: int) -> list[str]:
  """Joins texts to lines of the width, breaking only between them."""
  lines: list[str] = []
  for field in fields:
    if lines and len(lines[-1]) + len(_GAP) + len(field) <= width:
      lines[-1] += _GAP + field
    else:
      lines.append(field)
  return lines
