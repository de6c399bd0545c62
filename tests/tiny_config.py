"""The smallest run there is: every part works, nothing is learnt."""

from configs import common


def get_config(arg=""):
  """`arg` may say `evals`, for evaluations while and after training."""
  args = common.parse_arg(arg, evals=False)
  config = common.base("tiny")
  config.num_steps = 24
  config.log_every = 1
  config.save_every = 4
  config.model.num_bins = 4
  config.model.decoder.dropout_rate = 0.1
  config.data.seq_len = 120
  config.data.kinds = (
    common.kind("caption", "shapes", "grounded_caption", 4),
    common.kind("referring", "shapes", "referring", 4),
  )
  config.data.builders.shapes = {"config": "tiny"}
  config.optimizer.learning_rate = 1e-2
  config.optimizer.warmup_steps = 2
  if args.evals:
    config.num_steps = 4
    config.checkpoint.best_metric = "rec/mean_iou"
    config.evals.every_steps = 2
    config.evals.num_pictures = 2
    config.evals.tasks = (
      common.evaluation(
        "rec", "shapes", "test", evaluator="referring", num_examples=4
      ),
    )
  return config
