"""Parts of a model that a fine-tuning trains."""

from ml_collections import ConfigDict

# What of a model a fine-tuning trains; see `tune`.
TUNES = ("full", "decoder", "vision_last_2", "resampler", "lora")


def tune(config: ConfigDict, name: str) -> None:
  """Changes a config so that a part of the model is trained.

  full           everything
  decoder        the decoder, its embedding and boxes; pictures as they were
  vision_last_2  all but the vision encoder below its last two layers
  resampler      what connects pictures and decoder alone
  lora           adapters of all kernels, see `config.lora`; ten times the rate

  Raises:
    ValueError: for a name that there is not.
  """
  if name not in TUNES:
    raise ValueError(
      f"there is no tune {name!r}; choose one of {', '.join(TUNES)}"
    )
  if name == "decoder":
    config.optimizer.frozen = ("^vision/", "^resampler/")
  elif name == "vision_last_2":
    config.optimizer.vision_layers = 2
  elif name == "resampler":
    config.optimizer.frozen = ("^vision/", "^decoder/")
  elif name == "lora":
    config.lora.rank = 8
    config.lora.targets = ("/kernel$",)
    # B starts at zero, and a direction needs to grow before it counts.
    config.optimizer.learning_rate = 10 * config.optimizer.learning_rate
