"""Evaluates a checkpoint on the tasks of a config.

  python eval.py --config=configs/shapes.py --checkpoint=runs/shapes

Prints a table and writes results.json, results.md, report.html, pictures and
TASK/predictions.jsonl; the same command goes on where it was killed. What to
ask and where the data lie says the config (docs/evaluation.md). The status is
1 if a task's data are not there, 2 after a mistake, 75 if asked to stop.
"""

import functools
import os
import sys
from collections.abc import Sequence

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import jax
from absl import flags, logging
from etils import epath
from rich.console import Console

from data import in_words, loader
from kosmos2_jax import command_line, evals
from kosmos2_jax.convert import loading
from kosmos2_jax.evals.fingerprint import params_hash
from kosmos2_jax.input.sources import available_sources, eval_examples
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.training import preemption, processes
from kosmos2_jax.training.division import divided
from kosmos2_jax.training.processes import Group

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
  flags.DEFINE_bool("restart", False, "Throw away what is answered.", read)
  flags.DEFINE_bool("report", True, "Write report.html and pictures.", read)
  command_line.define_processes(read)


def evaluate(
  read: flags.FlagValues,
  argv: Sequence[str],
  group: Group,
  stop: preemption.Stop,
) -> int:
  """Restores, asks, scores, and writes; returns the status.

  Raises:
    ValueError, OSError: for a task, a checkpoint or data that cannot be used.
  """
  config, console = read.config, Console(quiet=not group.is_main)
  folder = loading.folder_of(read.checkpoint) / "eval"
  folder, size = epath.Path(read.output or folder), config.evals.batch_size
  entries = [task.to_dict() for task in config.evals.tasks]
  tasks = evals.make_tasks(entries, read.tasks)
  if not tasks:
    raise ValueError("the config has no evaluations; add some to evals.tasks")
  predictor = Predictor.from_pretrained(
    read.checkpoint,
    batch_size=size,
    use_ema=read.ema,
    devices=jax.local_devices(),
  )
  load = loader(config.data.data_dir, config.data.builders.to_dict())
  with group.main_first("the data"):  # where they are prepared
    sources, missing = available_sources(tasks, load)
    tasks, lacking = evals.with_support(
      {name: task for name, task in tasks.items() if name not in missing},
      lambda dataset, split, n: eval_examples(load(dataset, split), n),
    )
  missing |= lacking
  not_run = {name: in_words(error) for name, error in missing.items()}
  for name, why in not_run.items():
    console.print(f"{name} is not run: {why}", soft_wrap=True)
  if not tasks:
    raise next(iter(missing.values()))
  counts = evals.final_counts(tasks, sources, read.limit)
  model = {"checkpoint": read.checkpoint, "step": predictor.step}
  model["checkpoint_hash"] = params_hash(predictor.params)
  kept = evals.open_stores(folder, tasks, counts, model, read.restart, group)
  stop.hold()  # from here on answers are kept
  bars = evals.Bars(console, counts)

  def on_batch(name: str, done: evals.Progress) -> None:
    bars.show(name, done)
    stop.check()

  with bars:
    results = evals.run(
      divided(predictor, group),
      tasks,
      {
        name: evals.Again(
          functools.partial(eval_examples, sources[name], n, tasks[name].where)
        )
        for name, n in counts.items()
        if name in sources
      },
      batch_size=size * group.count,
      limit=read.limit,
      num_pictures=config.evals.num_pictures if read.report else 0,
      stores=kept,
      not_run=not_run,
      progress=on_batch,
    )
  if group.is_main:
    known = {"config": command_line.config_name(read), "command": argv}
    evals.write_all(
      results, folder, tasks=tasks, with_report=read.report, **known, **model
    )
    console.print(evals.make_table(results, tasks))
    step = "" if predictor.step is None else f"Step {predictor.step}. "
    console.print(f"{step}Written to {folder}", soft_wrap=True)
  return int(bool(results.not_run))


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""

  def command():
    read = command_line.read_flags(
      argv, define_flags, required=["checkpoint"], example=EXAMPLE, doc=__doc__
    )
    with processes.start(**command_line.process_arguments(read)) as group:
      run = functools.partial(evaluate, read, argv, group)
      return preemption.status_of(run, 0.0, group.agree, preemption.EVALUATION)

  return command_line.run(argv, command)


if __name__ == "__main__":
  logging.set_verbosity(logging.ERROR)  # orbax warns of reading only a part
  preemption.leave(main(sys.argv))
