"""Evaluates a checkpoint on the tasks of a config.

  python eval.py --config=configs/shapes.py --checkpoint=runs/shapes

Prints a table and writes `results.json` and `predictions.png`. The model and
its tokenizer come from the checkpoint; the config says what to ask and where
the data lie (docs/evaluation.md). A mistake in the command ends with one
sentence and status 2.
"""

import functools
import os
import sys
from collections.abc import Iterator, Sequence

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from absl import flags, logging
from etils import epath
from rich.console import Console
from rich.progress import Progress

from data import loader
from kosmos2_jax import command_line, evals
from kosmos2_jax.convert import loading
from kosmos2_jax.input.sources import Example, eval_examples
from kosmos2_jax.predictor import Predictor

EXAMPLE = "python eval.py --config=configs/shapes.py --checkpoint=runs/shapes"


def define_flags(read: flags.FlagValues) -> None:
  """The flags beside `--config` and `--traceback`."""
  define = functools.partial(flags.DEFINE_string, flag_values=read)
  define("checkpoint", None, "Workdir, Hugging Face folder or kosmos-2.pt.")
  flags.DEFINE_list("tasks", None, "Evaluations to run; all.", read)
  define("output", None, "Folder; CHECKPOINT/eval.")
  flags.DEFINE_integer(
    "limit", None, "Examples of each task.", lower_bound=1, flag_values=read
  )
  flags.DEFINE_bool("ema", True, "Ask averages, if there are any.", read)


def evaluate(read: flags.FlagValues) -> None:
  """Restores, asks, scores, and writes.

  Raises:
    ValueError, OSError: for a task, a checkpoint or data that cannot be used.
  """
  config, console = read.config, Console()
  output = epath.Path(
    read.output or loading.folder_of(read.checkpoint) / "eval"
  )
  tasks = evals.make_tasks(map(dict, config.evals.tasks), read.tasks)
  if not tasks:
    raise ValueError("the config has no evaluations; add some to evals.tasks")
  batch_size = config.evals.batch_size
  predictor = Predictor.from_pretrained(
    read.checkpoint, batch_size=batch_size, use_ema=read.ema
  )
  load = loader(config.data.data_dir, config.data.builders)
  sources = {
    name: load(task.dataset, task.split) for name, task in tasks.items()
  }
  output.mkdir(parents=True, exist_ok=True)
  sizes = {
    name: task.final_count(len(sources[name]), read.limit)
    for name, task in tasks.items()
  }

  def examples_of(name: str) -> Iterator[Example]:
    return eval_examples(sources[name], sizes[name], tasks[name].where)

  with Progress(console=console, disable=not console.is_terminal) as progress:
    bars = {name: progress.add_task(name, total=n) for name, n in sizes.items()}
    results = evals.run(
      predictor,
      tasks,
      {name: examples_of(name) for name in tasks},
      batch_size=batch_size,
      num_pictures=config.evals.num_pictures,
      progress=lambda name, done: progress.update(bars[name], completed=done),
    )
  evals.write_results(
    results,
    output / "results.json",
    tasks=tasks,
    config=command_line.config_name(read),
    checkpoint=read.checkpoint,
    step=predictor.step,
  )
  if config.evals.num_pictures:
    evals.draw_predictions(results, output / "predictions.png")
  console.print(evals.make_table(results))
  step = "" if predictor.step is None else f"Step {predictor.step}. "
  console.print(f"{step}Written to {output}", soft_wrap=True)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""

  def command():
    evaluate(
      command_line.read_flags(
        argv,
        define_flags,
        required=["checkpoint"],
        example=EXAMPLE,
        doc=__doc__,
      )
    )

  return command_line.run(argv, command)


if __name__ == "__main__":
  logging.set_verbosity(logging.ERROR)  # orbax warns of reading only a part
  sys.exit(main(sys.argv))
