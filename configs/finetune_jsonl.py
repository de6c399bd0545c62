r"""Trains on your own pictures: a JSONL file (data/jsonl/README.md).

  python train.py --config=configs/finetune_jsonl.py:file=my/boxes.jsonl \
    --workdir=runs/mine

learns the file by heart with a small model from random numbers, as
configs/photos.py does. With a checkpoint (a Hugging Face folder of Kosmos-2,
kosmos-2.pt, or a workdir) it is fine-tuned:

  --config=configs/finetune_jsonl.py:file=my/boxes.jsonl,checkpoint=PATH

What is trained says `tune=`: full, decoder, vision_last_2, resampler or lora.
From a small workdir, such as that of configs/shapes.py, it learns as that one
did, with Muon at a high rate; see `_small`.

The run fits itself to the file: room for as many pictures as a line has, and an
evaluation of captions and of expressions where there are lines of them with
boxes, on the split "test" or "validation" where lines are for one, else on what
is learnt. Expressions for "validation" are asked every 100 steps, or six times
in a longer run: five times without a better score end the run, and the best
checkpoint is the one that is used. A wrong file is told line by line before
anything is prepared.

Cost: the ten lines of data/jsonl/example take three minutes on two CPU cores
(600 steps). Fine-tuning takes a step of `batch` examples, 500 times; from a
small workdir 1,200 times, and 2,400 with adapters (docs/finetuning.md).
"""

import glob
import json
import pathlib
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from configs import common, tunes

EXAMPLE = "data/jsonl/example/example.jsonl"
# Where a file is evaluated, if it has lines for it; the last one is what
# lines are for that do not say.
EVAL_SPLITS = ("test", "validation", "val", "train")
# Of a decoder; the released one has 2048.
SMALL_WIDTH = 256


class Contents(NamedTuple):
  """What is in a file: pictures of a line, and splits by what they have."""

  num_pictures: int
  captions: set[str]
  expressions: set[str]


def look(pattern: str) -> Contents:
  """Looks through files; says nothing of faults, which the builder does."""
  found = Contents(1, set(), set())
  for name in glob.glob(pattern):
    with open(name, encoding="utf-8-sig", errors="replace") as file:
      for line in file:
        try:
          fields = json.loads(line)
        except (ValueError, RecursionError):
          continue
        if not isinstance(fields, dict):
          continue
        split = str(fields.get("split", "train"))
        if "phrases" in fields:
          found.captions.add(split)
        if "expression" in fields or "expressions" in fields:
          found.expressions.add(split)
        images = fields.get("images")
        if isinstance(images, list):
          most = max(found.num_pictures, len(images))
          found = found._replace(num_pictures=most)
  return found


def get_config(arg: str = "") -> ConfigDict:
  """The run.

  `arg` may set `file`, the JSONL file or a pattern; `checkpoint`, where
  training starts; `batch`, the examples of a step; `tune`, one of
  `tunes.TUNES`.
  """
  args = common.parse_arg(
    arg, file=EXAMPLE, checkpoint="", batch=10, tune="full"
  )
  contents = look(args.file)
  config = common.base("shapes")
  config.init_from = args.checkpoint
  sizes = _sizes(args.checkpoint)
  if args.checkpoint:
    config.num_steps = 500
    config.optimizer.learning_rate = 1e-5
    # Latents and the three tokens around them; other models have 64.
    slots = sizes["resampler"]["num_latents"] + 3 if sizes else 67
  else:
    config.num_steps = 600
    config.optimizer.learning_rate = 2e-3
    config.optimizer.weight_decay = 0.0
    config.model.vision.image_size = 128
    config.model.vision.patch_size = 16
    config.model.num_bins = 32
    config.model.unroll = 8
    slots = 19
  tunes.tune(config, args.tune)
  config.optimizer.warmup_steps = 50
  if sizes and sizes["decoder"]["width"] <= SMALL_WIDTH:
    _small(config, args.tune)
  config.save_every = 200
  config.data.seq_len = 140 + slots * contents.num_pictures
  config.data.images_per_row = contents.num_pictures
  # What is evaluated is the whole picture, so that is what is learnt.
  config.data.view = "squash"
  config.data.kinds = (
    common.kind(
      "own",
      "jsonl",
      "by_fields",
      args.batch,
      # Of expressions: 0 only finds, 1 only describes what is in a box.
      describe_probability=0.5,
      options={
        "grounded_caption": {"prefix": "An image of"},
        # "objects" counts boxes alone, "text" the expressions too.
        "referring": {"loss": "text"},
      },
    ),
  )
  config.data.builders.jsonl = ConfigDict(
    {
      "files": args.file,
      "box_format": "normalized",
      "box_order": "xyxy",
      "allow_absolute": False,
      "skip_bad_lines": False,
      "upright": True,
      "min_side": 32,
      "shorter_side": 0,
    }
  )
  config.evals.tasks = _tasks(contents)
  if "validation" in contents.expressions:
    # The best checkpoint is the one that is used.
    config.checkpoint.best_metric = "find_validation/accuracy"
    config.checkpoint.patience = 5
    config.evals.every_steps = max(100, config.num_steps // 6)
  return config


def _sizes(checkpoint: str) -> dict[str, Any]:
  """Of the model of a workdir; {} for any other checkpoint, and for none."""
  file = pathlib.Path(checkpoint) / "model.json"
  if not (checkpoint and file.is_file()):
    return {}
  return json.loads(file.read_text())["sizes"]


def _small(config: ConfigDict, tune: str) -> None:
  """Settings for small models: those of configs/shapes.py at half its rate.

  Adapters of the usual rank would be a tenth of such a model; these are 3 % of
  the shapes model. They learn slowly, so they get more steps.
  """
  config.num_steps = 1200
  config.model.unroll = 8
  config.optimizer.algorithm = "muon"
  config.optimizer.learning_rate = 1e-3
  config.optimizer.schedule = "cosine"
  config.optimizer.decay_mask = "matrices"
  if tune == "lora":
    config.num_steps = 2400
    config.optimizer.learning_rate = 6e-3
    config.lora.rank = 3
    config.lora.alpha = 6.0
    config.lora.targets = (
      "^vision/",
      "^resampler/",
      "^decoder/.*attention/",
      "^decoder/embedding$",
    )


def _tasks(contents: Contents) -> tuple[ConfigDict, ...]:
  """Evaluations of what there is: validation while training, test behind it."""
  tasks = []
  for name, evaluator, field, splits in (
    ("caption", "grounded_caption", "noun_chunks", contents.captions),
    ("find", "referring", "expressions", contents.expressions),
  ):
    if not splits:
      continue
    last = next((split for split in EVAL_SPLITS if split in splits), None)
    last = last or min(splits)
    tasks.append(
      common.evaluation(
        name,
        "jsonl",
        last,
        evaluator=evaluator,
        num_examples=0 if "validation" in splits else 100,
        final_examples=-1,
        where=field,
      )
    )
    if "validation" in splits:
      tasks.append(
        common.evaluation(
          f"{name}_validation",
          "jsonl",
          "validation",
          evaluator=evaluator,
          num_examples=100,
          final_examples=-1,
          where=field,
        )
      )
  return tuple(tasks)
