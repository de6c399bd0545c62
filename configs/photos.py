"""Memorises a few real photographs with grounded captions: GrIT, very small.

  python train.py --config=configs/photos.py --workdir=runs/photos

Cost: two minutes on two CPU cores (600 steps, 7 a second). Score:
exact_to_the_bin 1.0 on all ten pictures; f1 stays at 0.97, as one box is so
small that its bins overlap it by less than half.

Reads the shard of public-domain photographs in `data/grit/photos` the way a
full GrIT download is read. Afterwards "<grounding>An image of" gives back each
caption with all its boxes, to the bin. Any other folder of GrIT shards:

  --config.data.builders.grit.shards='/data/grit/*.tar'
"""

from ml_collections import ConfigDict

from configs import common


def get_config(arg: str = "") -> ConfigDict:
  """The run; `arg` may set `batch`, the examples of a step."""
  args = common.parse_arg(arg, batch=10)
  config = common.base("shapes")
  config.num_steps = 600
  config.model.vision.image_size = 128
  config.model.vision.patch_size = 16
  config.model.vision.stem = "conv"
  config.model.num_bins = 32
  config.model.unroll = 8
  config.data.seq_len = 160
  # What is evaluated is the whole picture, so that is what is learnt.
  config.data.view = "squash"
  config.data.kinds = (
    common.kind(
      "grounded_caption",
      "grit",
      "grounded_caption",
      args.batch,
      mode="phrase",
      prefix="An image of",
      tag_probability=1.0,
    ),
  )
  config.data.builders.grit = ConfigDict({"shards": "data/grit/photos/*.tar"})
  config.optimizer.learning_rate = 2e-3
  config.optimizer.warmup_steps = 50
  config.optimizer.weight_decay = 0.0
  config.save_every = 200
  config.evals.tasks = (
    common.evaluation(
      "caption", "grit", "train", evaluator="grounded_caption", num_examples=10
    ),
  )
  return config
