"""A tiny run of three kinds, packed: captions, texts, pages of pictures."""

from configs import common


def get_config(arg=""):
  """Takes no arguments."""
  common.parse_arg(arg)
  config = common.base("tiny")
  config.num_steps = 4
  config.log_every = 1
  config.save_every = 2
  config.model.num_bins = 4
  config.model.decoder.dropout_rate = 0.1
  config.data.seq_len = 64
  config.data.images_per_row = 6
  config.data.pack = True
  config.data.rows_per_step = 8
  config.data.pack_groups = 4
  config.data.kinds = (
    common.kind("caption", "pictures", "grounded_caption", 7),
    common.kind("text", "texts", "test_text", 5),
    common.kind("pages", "pages", "test_pages", 4),
  )
  config.optimizer.learning_rate = 1e-2
  config.optimizer.warmup_steps = 2
  return config
