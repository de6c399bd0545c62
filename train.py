"""Trains a model as a config says, and restarts where it stopped.

  python train.py --config=configs/shapes.py --workdir=runs/shapes

Any field of the config can be changed: --config.optimizer.learning_rate=1e-3.
The workdir then holds all that is needed to use the model (docs/training.md).
"""

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from data import in_words, loader
from kosmos2_jax import drawing, evals, sharding
from kosmos2_jax.convert.starting import Start
from kosmos2_jax.input import planning
from kosmos2_jax.input.sources import task_examples
from kosmos2_jax.models import presets
from kosmos2_jax.training import guard, loop, session, state, timing, workdir
from kosmos2_jax.training import preemption as stops
from kosmos2_jax.training.evaluation import Evaluation
from kosmos2_jax.training.ledger import Ledger
from kosmos2_jax.training.trainer import make_trainer

EXAMPLE = "python train.py --config=configs/shapes.py --workdir=runs/shapes"
CACHE = os.path.expanduser("~/.cache/kosmos2_jax/jax")


def parse_flags(argv: Sequence[str]) -> flags.FlagValues:
  """Reads the command line; ValueError for what cannot be read."""
  read = flags.FlagValues()
  define = functools.partial(flags.DEFINE_string, flag_values=read)
  define("workdir", None, "Folder of the run.")
  define("compilation_cache", CACHE, "Folder of compiled programs; '': none.")
  define("grace_seconds", "0", "Seconds to save in after SIGTERM; 0: any.")
  flags.DEFINE_bool("traceback", False, "Show where mistakes are.", read)
  try:
    config_flags.DEFINE_config_file(
      "config", None, "File of the run.", read, sys_argv=list(argv)
    )
    if "--help" in argv:
      print(f"{__doc__}\n{read.get_help()}")
      sys.exit(0)
    if read(list(argv))[1:] or not (read["config"].value and read.workdir):
      raise flags.Error("expected --config, --workdir and nothing but flags")
  except (flags.Error, AttributeError, KeyError) as error:
    what = "" if isinstance(error, flags.Error) else "there is no config field "
    # The config library puts a whole traceback into one message.
    text = what + str(error).rpartition("Error: ")[2].strip()
    raise ValueError(f"{text}; for example: {EXAMPLE}") from error
  return read


def train(
  config: ConfigDict, folder: Path, name: str, stop: stops.Stop
) -> None:
  """Builds everything, trains and evaluates; all of it goes to the folder."""
  ledger = Ledger(folder)
  data, num_steps = config.data, config.num_steps
  sizes, compute = presets.split(config.model.to_dict())
  names = {name: config[name] for name in ("init_from", "vision_from")}
  start = Start(sizes, data.tokenizer, folder=folder, **names)
  sizes, tokenizer = start.sizes, start.tokenizer
  load = loader(data.data_dir, data.builders)
  plan = planning.plan_stream(
    [kind.to_dict() for kind in data.kinds],
    data.to_dict(),
    load,
    tokenizer,
    image_size=sizes["vision"]["image_size"],
    num_latents=sizes["resampler"]["num_latents"],
    seed=config.seed,
  )
  model, mesh, optimizer, abstract, train_step = make_trainer(
    sizes,
    compute,
    optimizer=config.optimizer.to_dict(),
    mesh=config.mesh.to_dict(),
    num_steps=num_steps,
    seed=config.seed,
    num_microbatches=config.num_microbatches,
    kind_names=plan.kind_names,
    guard={key: config[key] for key in guard.FIELDS},
  )
  sharding.check_batch_size(mesh, plan.num_rows, config.num_microbatches)
  tasks = evals.make_tasks([task.to_dict() for task in config.evals.tasks])
  examples = task_examples(tasks, load)
  size = config.evals.batch_size
  evaluation = Evaluation(model, tokenizer, tasks, examples, size, stop.check)
  session.check_start(folder, num_steps)
  changes = workdir.describe_run(
    folder, config.to_json(), sizes, compute["dtype"], tokenizer.model_bytes
  )
  with session.opened(
    folder, num_steps, ledger, changes, config.wandb, **config.checkpoint
  ) as (reporter, checkpointer):
    if checkpointer.latest_step() is None:
      known = start.parameters(reporter.say)
      now = state.init_state(model, optimizer.tx, abstract, config.seed, known)
    else:
      now = checkpointer.restore(abstract)
    reporter.say(optimizer.trainable.describe(abstract.params))
    stream = plan.open(int(now.step), jax.process_index(), jax.process_count())
    now = loop.run(
      now,
      train_step,
      drawing.draw_first(stream, int(now.step), reporter, tokenizer),
      mesh,
      num_steps=num_steps,
      checkpointer=checkpointer,
      reporter=reporter,
      evaluate=evaluation.scorer(reporter, config.evals.num_pictures),
      eval_every=config.evals.every_steps,
      flops_of=functools.partial(timing.batch_flops, sizes),
      stop=stop,
      ledger=ledger,
      **{key: config[key] for key in loop.RHYTHM},
    )
    for line in stream.left_out():
      reporter.say(f"left out of the rows: {line}")
    evaluation.final(now, folder, name, config.evals.num_pictures)
    ledger.spent("evaluation", num_steps)


def main(argv: Sequence[str]) -> int:
  """Runs the command; its status is 2 for a mistake, 75 if asked to stop."""
  try:
    read = parse_flags(argv)
    jax.config.update("jax_compilation_cache_dir", read.compilation_cache)
    name = Path(read["config"].config_filename).stem
    run = functools.partial(train, read.config, Path(read.workdir), name)
    return stops.status_of(run, float(read.grace_seconds))
  except (ValueError, OSError, FloatingPointError) as error:
    if "--traceback" in argv:
      raise
    print(f"train.py: {in_words(error)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
  stops.leave(main(sys.argv))
