"""Evaluates a checkpoint on the tasks of a config.

  python eval.py --config=configs/shapes.py --checkpoint=runs/shapes

Prints a table and writes `results.json` and `predictions.png`. The model and
its tokenizer come from the checkpoint; the config says what to ask and where
the data lie (docs/evaluation.md). A mistake in the command ends with one
sentence and status 2.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from absl import flags, logging
from ml_collections import config_flags
from rich.console import Console
from rich.progress import Progress

from data import in_words, loader
from kosmos2_jax import evals
from kosmos2_jax.convert import loading
from kosmos2_jax.input.sources import Example, eval_examples
from kosmos2_jax.predictor import Predictor

MISTAKES = (ValueError, OSError)


def parse_flags(argv: Sequence[str]) -> flags.FlagValues:
  """Reads the command line.

  Raises:
    ValueError: for a wrong or missing flag, or a config that cannot be read.
  """
  read = flags.FlagValues()
  define = {"flag_values": read}
  flags.DEFINE_string(
    "checkpoint", None, "Workdir, Hugging Face folder or kosmos-2.pt.", **define
  )
  flags.DEFINE_list("tasks", None, "Evaluations to run; all.", **define)
  flags.DEFINE_string("output", None, "Folder; CHECKPOINT/eval.", **define)
  flags.DEFINE_integer(
    "limit", None, "Examples of each task.", lower_bound=1, **define
  )
  flags.DEFINE_bool("ema", True, "Ask averages, if there are any.", **define)
  flags.DEFINE_bool("traceback", False, "Show where mistakes are.", **define)
  config_flags.DEFINE_config_file(
    "config", None, "File of the run.", sys_argv=list(argv), **define
  )
  if {"--help", "-h"} & set(argv):
    print(f"{__doc__}\n{read.get_help()}")
    sys.exit(0)
  example = "python eval.py --config=configs/shapes.py --checkpoint=runs/shapes"
  try:
    rest = read(list(argv))
  except (AttributeError, KeyError) as error:
    field = str(error.args[0]).strip('"')
    raise ValueError(
      f"the config has no field {field}; configs/common.py has them all"
    ) from error
  except flags.Error as error:
    # An error in a config file comes with its whole traceback.
    text = str(error).rpartition("Error: ")[2]
    raise ValueError(f"{text}; see python eval.py --help") from error
  for name in ("config", "checkpoint"):
    if read[name].value is None:
      raise ValueError(f"--{name} is missing; for example: {example}")
  if len(rest) > 1:
    raise ValueError(f"{rest[1]!r} is no flag; for example: {example}")
  # The config library tells only whoever reads a field of it.
  if not Path(file := read["config"].config_filename).is_file():
    raise ValueError(
      f"there is no config file {file!r}; for example: {example}"
    )
  return read


def evaluate(read: flags.FlagValues) -> None:
  """Restores, asks, scores, and writes.

  Raises:
    ValueError, OSError: for a task, a checkpoint or data that cannot be used.
  """
  config, console = read.config, Console()
  output = Path(read.output or loading.folder_of(read.checkpoint) / "eval")
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
    config=Path(read["config"].config_filename).stem,
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
  try:
    evaluate(parse_flags(argv))
  except MISTAKES as mistake:
    if "--traceback" in argv:
      raise
    print(f"eval.py: {in_words(mistake)}", file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  logging.set_verbosity(logging.ERROR)  # orbax warns of reading only a part
  sys.exit(main(sys.argv))
