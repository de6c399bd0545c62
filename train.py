"""Trains a model as a config says, and restarts where it stopped.

  python train.py --config=configs/shapes.py --workdir=runs/shapes

Any field of the config can be changed: --config.optimizer.learning_rate=1e-3.
The workdir then holds all that is needed to use the model (docs/training.md).
On several hosts, all run the same command (there, "Several hosts").
"""

import functools
import os
import sys
from collections.abc import Sequence

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import jax
from absl import flags

from data import loader
from kosmos2_jax import command_line, drawing, evals, sharding
from kosmos2_jax.convert.starting import Start
from kosmos2_jax.input import planning
from kosmos2_jax.input.sources import task_examples
from kosmos2_jax.models import presets
from kosmos2_jax.training import (
  guard,
  loop,
  processes,
  session,
  state,
  timing,
  trainer,
  workdir,
)
from kosmos2_jax.training import preemption as stops
from kosmos2_jax.training.evaluation import Evaluation
from kosmos2_jax.training.ledger import Ledger
from kosmos2_jax.training.processes import Group
from kosmos2_jax.training.profile import Profile

EXAMPLE = "python train.py --config=configs/shapes.py --workdir=runs/shapes"
CACHE = os.path.expanduser("~/.cache/kosmos2_jax/jax")


def define_flags(read: flags.FlagValues) -> None:
  """The flags beside `--config` and `--traceback`."""
  define = functools.partial(flags.DEFINE_string, flag_values=read)
  define("workdir", None, "Folder of the run.")
  define("compilation_cache", CACHE, "Folder of compiled programs; '': none.")
  define("grace_seconds", "0", "Seconds to save in after SIGTERM; 0: any.")
  define("profile", None, "STEP:COUNT, the steps that are recorded.")
  command_line.define_processes(read)


def train(read: flags.FlagValues, group: Group, stop: stops.Stop) -> None:
  """Builds everything, trains and evaluates; all of it goes to the workdir."""
  config, folder = read.config, workdir.open_folder(read.workdir)
  profile = Profile(read.profile, folder, group.index)
  ledger = Ledger(folder if group.is_main else None)
  data, num_steps = config.data, config.num_steps
  sizes, compute = presets.split(config.model.to_dict())
  names = {name: config[name] for name in Start.FIELDS}
  start = Start(sizes, data.tokenizer, folder=folder, **names)
  sizes, tokenizer = start.sizes, start.tokenizer
  tasks = evals.make_tasks([task.to_dict() for task in config.evals.tasks])
  load = loader(data.data_dir, data.builders)
  with group.main_first("the data"):  # where they are prepared
    plan = planning.plan_stream(
      [kind.to_dict() for kind in data.kinds],
      data.to_dict(),
      load,
      tokenizer,
      image_size=sizes["vision"]["image_size"],
      num_latents=sizes["resampler"]["num_latents"],
      seed=config.seed,
    )
    examples = task_examples(tasks, load)
  model, mesh, optimizer, abstract, train_step = trainer.make_trainer(
    sizes,
    compute,
    kind_names=plan.kind_names,
    guard={key: config[key] for key in guard.FIELDS},
    **{key: config[key] for key in trainer.NUMBERS},
    **{name: config[name].to_dict() for name in trainer.SECTIONS},
  )
  sharding.check_batch_size(mesh, plan.num_rows, config.num_microbatches)
  rule, size, check = optimizer.trainable, config.evals.batch_size, stop.check
  evaluation = Evaluation(
    model, tokenizer, tasks, examples, size, check, group, rule.merge
  )
  session.check_start(folder, num_steps)
  described = (config.to_json(), sizes, compute["dtype"], tokenizer.model_bytes)
  lora = rule.description()
  changes = workdir.describe_run(folder, *described, lora=lora, group=group)
  with session.opened(
    folder, num_steps, ledger, changes, config.wandb, group, **config.checkpoint
  ) as (reporter, checkpointer):
    if group.from_main("a checkpoint", checkpointer.latest_step()) is None:
      known = start.parameters(reporter.say)
      now = state.init_state(model, optimizer.tx, abstract, config.seed, known)
    else:
      now = checkpointer.restore(abstract)
    parts = rule.parts(abstract.params)
    reporter.say(rule.describe(abstract.params))
    stream = plan.open(int(now.step), *sharding.batch_share(mesh))
    now = loop.run(
      now,
      processes.compile_together(train_step, group),
      drawing.draw_first(stream, int(now.step), reporter, tokenizer),
      mesh,
      num_steps=num_steps,
      checkpointer=checkpointer,
      reporter=reporter,
      evaluate=evaluation.scorer(reporter, config.evals.num_pictures),
      eval_every=config.evals.every_steps,
      flops_of=functools.partial(timing.batch_flops, sizes, trained=parts),
      stop=stop,
      ledger=ledger,
      profile=profile,
      **{key: config[key] for key in loop.RHYTHM},
    )
    now = checkpointer.settle(now, abstract)
    group.add_up("what was left out", stream.counters)
    for line in stream.left_out():
      reporter.say(f"left out of the rows: {line}")
    name = command_line.config_name(read)
    evaluation.final(now, folder, name, config.evals.num_pictures, reporter)
    ledger.spent("evaluation", int(now.step))


def main(argv: Sequence[str]) -> int:
  """Runs the command; its status is 2 for a mistake, 75 if asked to stop."""

  def command():
    read = command_line.read_flags(
      argv, define_flags, required=["workdir"], example=EXAMPLE, doc=__doc__
    )
    jax.config.update("jax_compilation_cache_dir", read.compilation_cache)
    with processes.start(**command_line.process_arguments(read)) as group:
      run = functools.partial(train, read, group)
      return stops.status_of(run, float(read.grace_seconds), group.agree)

  return command_line.run(argv, command)


if __name__ == "__main__":
  stops.leave(main(sys.argv))
