"""Draws what the model is fed: pictures, boxes, tokens and the loss mask.

  python -m kosmos2_jax.tools.show_data --config=configs/shapes.py \
    --output=data.png [--num_rows=8] [--step=0]

Pictures are as the model sees them, boxes are read back from the tokens.
Tokens that are predicted are dark, the others grey; slots are summed up and
padding is left out. A mistake ends with one sentence and status 2.
"""

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Before TensorFlow is loaded: its greetings are no part of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags
from PIL import Image

from data import loader
from kosmos2_jax import visualize
from kosmos2_jax.batch import Batch
from kosmos2_jax.input import image_ops, pipeline
from kosmos2_jax.text import markup
from kosmos2_jax.text.tokenizer import Tokenizer

COLUMNS = 4


def draw_row(
  batch: Batch, row: int, tokenizer: Tokenizer, title: str
) -> Image.Image:
  """Draws one row of a batch.

  Args:
    batch: see `kosmos2_jax.batch`.
    row: which row of it.
    tokenizer: whose ids the tokens are.
    title: a line above the tokens.

  Returns:
    The picture with its boxes, and beneath it the title and the tokens, each
    in the colour of whether the loss counts it.
  """
  length = int(np.count_nonzero(batch["segment_ids"][row]))
  # Tokens and targets are one row, shifted; show it whole, with its end.
  ids = [*batch["tokens"][row, :length], batch["targets"][row, length - 1]]
  counted = [False, *batch["loss_mask"][row, :length]]
  slots = [*batch["image_mask"][row, :length], False]
  runs = []
  for index, (token, counts, slot) in enumerate(
    zip(ids, counted, slots, strict=True)
  ):
    if slot and slots[index - 1]:
      continue
    color = visualize.BLACK if counts else visualize.GRAY
    text = f"{sum(slots)} slots" if slot else _text(int(token), tokenizer)
    runs += [(text, color), (" ", color)]
  image = np.asarray(image_ops.denormalize(batch["images"][row, 0]))
  grounded = markup.parse([int(i) for i in ids], tokenizer)
  return visualize.draw_grounding(image, grounded, lines=[title, runs])


def _text(token: int, tokenizer: Tokenizer) -> str:
  vocab = tokenizer.vocab
  if token in (vocab.bos_id, vocab.eos_id):
    return "<s>" if token == vocab.bos_id else "</s>"
  return tokenizer.decode([token])


def draw(config: ConfigDict, step: int, num_rows: int) -> Image.Image:
  """The first rows of the batch of a step of the config's stream."""
  data, model = config.data, config.model
  tokenizer = Tokenizer.load(data.tokenizer, model.num_bins)
  plan = pipeline.plan_stream(
    data.to_dict(),
    loader(data.data_dir, data.builders),
    tokenizer,
    image_size=model.vision.image_size,
    num_latents=model.resampler.num_latents,
    seed=config.seed,
  )
  stream = plan.open(step)
  batch = next(stream)
  rows = min(num_rows, len(batch["tokens"]))
  return visualize.grid(
    [
      draw_row(
        batch,
        row,
        tokenizer,
        stream.describe(int(batch["example_index"][row])),
      )
      for row in range(rows)
    ],
    min(COLUMNS, rows),
  )


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its status."""
  read = flags.FlagValues()
  define = functools.partial(flags.DEFINE_integer, flag_values=read)
  flags.DEFINE_string("output", None, "Picture to write.", read, required=True)
  define("num_rows", 8, "Rows to draw.", lower_bound=1)
  define("step", 0, "Step whose batch is drawn.", lower_bound=0)
  try:
    config_flags.DEFINE_config_file(
      "config", None, "File of the run.", read, sys_argv=list(argv)
    )
    flags.mark_flag_as_required("config", read)
    if unread := read(list(argv))[1:]:
      raise ValueError(f"{unread[0]!r} is no flag; see --help.")
    output = Path(read.output)
    picture = draw(read.config, read.step, read.num_rows)
    output.parent.mkdir(parents=True, exist_ok=True)
    picture.save(output)
  except (flags.Error, AttributeError, KeyError, ValueError, OSError) as error:
    what = (
      "no such config field: "
      if isinstance(error, AttributeError | KeyError)
      else ""
    )
    text = " ".join(str(error).split())
    print(f"show_data: {what}{text}", file=sys.stderr)
    return 2
  print(f"wrote {output}")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))
