"""The training step of a config, before anything is built."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import guard


class Job(NamedTuple):
  """A step to be compiled, or run.

  Attributes:
    sizes: of the model, see `presets.build`.
    compute: how it computes, see `presets.split`.
    options: the other arguments of `make_trainer`, but for `devices`.
    num_rows: rows of the global batch.
    seq_len: tokens of a row.
    images_per_row: pictures that a row has room for.
  """

  sizes: Mapping[str, Any]
  compute: Mapping[str, Any]
  options: Mapping[str, Any]
  num_rows: int
  seq_len: int
  images_per_row: int

  @property
  def num_microbatches(self) -> int:
    """Parts in which a batch is computed."""
    return self.options.get("num_microbatches", 1)

  @property
  def shape(self) -> dict[str, int]:
    """The shape of a batch as `flops` takes it."""
    return {
      "num_rows": self.num_rows,
      "seq_len": self.seq_len,
      "num_images": self.num_rows * self.images_per_row,
    }


def job_of(config: Any, num_rows: int | None = None) -> Job:
  """The step that `train.py` would run.

  Args:
    config: of the run, a ConfigDict.
    num_rows: of the global batch; None: as many as the config says.
  """
  data = config.data
  sizes, compute = presets.split(config.model.to_dict())
  if not sizes["vocab_size"]:
    tokenizer = Tokenizer.load(data.tokenizer, sizes["num_bins"])
    sizes["vocab_size"] = tokenizer.vocab.size
  if num_rows is None:
    per_step = sum(kind.per_step for kind in data.kinds)
    num_rows = data.rows_per_step if data.pack else per_step
  options = {
    "optimizer": config.optimizer.to_dict(),
    "mesh": config.mesh.to_dict(),
    "num_steps": config.num_steps,
    "seed": config.seed,
    "num_microbatches": config.num_microbatches,
    "kind_names": tuple(kind.name for kind in data.kinds),
    "guard": {key: config[key] for key in guard.FIELDS},
    "lora": config.lora.to_dict(),
  }
  images = data.images_per_row
  return Job(sizes, compute, options, num_rows, data.seq_len, images)
