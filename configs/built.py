r"""Learns from pairs that were grounded by a model: the closed loop of GrIT.

  python train.py --workdir=runs/built \
    --config='configs/built.py:shards=built/*.tar'

The sizes are those of `configs/shapes.py`, the data are shards of
`kosmos2_jax.tools.build_grit`, and what is learnt is evaluated on scenes with
true boxes. docs/building_grit.md has the commands before this one, and what a
model reaches that is taught the true boxes of the same pairs with the same
number of steps (`shards=truth/*.tar`).

Cost: six minutes on two CPU cores.
"""

from ml_collections import ConfigDict

from configs import common, shapes


def get_config(arg: str = "") -> ConfigDict:
  """The run; `arg` may set `shards`, `batch`, `steps` and `score`.

  `score` is that of the least sure boxes to learn from, of which there are only
  such as the builder kept.
  """
  args = common.parse_arg(
    arg, shards="built/*.tar", batch=32, steps=1600, score=0.65
  )
  config = shapes.get_config(f"batch={args.batch}")
  config.num_steps = args.steps
  captions = max(args.batch // 8, 1)
  expressions = (args.batch - captions) // 2
  config.data.kinds = (
    common.kind(
      "grounded_caption",
      "grit",
      "grounded_caption",
      captions,
      mode="phrase",
      tag_probability=1.0,
      score_threshold=args.score,
    ),
    common.kind(
      "phrases",
      "grit",
      "referring",
      args.batch - captions - expressions,
      items="noun_chunks",
      score_threshold=args.score,
    ),
    common.kind(
      "expressions",
      "grit",
      "referring",
      expressions,
      items="ref_exps",
      score_threshold=args.score,
    ),
  )
  config.data.builders.grit = ConfigDict({"shards": args.shards})
  config.save_every = args.steps
  config.checkpoint.best_metric = ""
  config.evals.every_steps = 0
  config.evals.tasks = (
    common.evaluation(
      "phrases",
      "shapes",
      "test",
      evaluator="phrase_grounding",
      num_examples=0,
      final_examples=1000,
      protocol="exact",
    ),
    common.evaluation(
      "ap",
      "shapes",
      "test",
      evaluator="average_precision",
      num_examples=0,
      final_examples=1000,
      items="noun_chunks",
    ),
  )
  return config
