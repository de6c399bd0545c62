"""Draws what the model is fed: pictures, boxes, tokens and the loss mask.

  python -m kosmos2_jax.tools.show_data --config=configs/shapes.py \
    --output=data.png [--num_rows=8] [--step=0]

Pictures are as the model sees them, boxes are read back from the tokens. The
examples of a packed row are framed, each in a colour of its own.
Tokens that are predicted are dark, the others grey; slots are summed up and
padding is left out. A mistake ends with one sentence and status 2.
"""

import functools
import itertools
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

from data import in_words, loader
from kosmos2_jax import visualize
from kosmos2_jax.batch import Batch
from kosmos2_jax.convert.starting import Start
from kosmos2_jax.input import image_ops, planning
from kosmos2_jax.text import markup
from kosmos2_jax.text.tokenizer import Tokenizer

# Rows side by side; of a packed row, its segments.
COLUMNS = 4
PACKED_COLUMNS = 4


def draw_row(
  batch: Batch, row: int, tokenizer: Tokenizer, titles: Sequence[str]
) -> Image.Image:
  """Draws one row of a batch, every segment with its own pictures.

  Args:
    batch: see `kosmos2_jax.batch`.
    row: which row of it.
    tokenizer: whose ids the tokens are.
    titles: a line for each segment, above its tokens.

  Returns:
    A segment is its pictures with the boxes that follow them, and beneath
    them its title and its tokens, each in the colour of whether the loss
    counts it. Several are framed, each in another colour, below a line that
    says how full the row is.
  """
  num_segments = int(batch["segment_ids"][row].max())
  panels = [
    _draw_segment(batch, row, number, tokenizer, titles[number - 1])
    for number in range(1, num_segments + 1)
  ]
  if len(panels) == 1:
    return panels[0]
  used = int(np.count_nonzero(batch["segment_ids"][row]))
  room, places = batch["tokens"].shape[1], batch["images"].shape[1]
  line = (
    f"{len(panels)} examples, {used:,} of {room:,} tokens, "
    f"{int(_picture_starts(batch, row).sum())} of {places} pictures"
  )
  heading = visualize.add_lines(None, [line], min_width=512)
  if not panels:
    return heading
  frames = [
    visualize.framed(panel, visualize.COLORS[i % len(visualize.COLORS)])
    for i, panel in enumerate(panels)
  ]
  return visualize.grid([heading, visualize.grid(frames, PACKED_COLUMNS)], 1)


def _draw_segment(
  batch: Batch, row: int, number: int, tokenizer: Tokenizer, title: str
) -> Image.Image:
  places = np.flatnonzero(batch["segment_ids"][row] == number)
  # Tokens and targets are one row, shifted; show it whole, with its end.
  ids = [*batch["tokens"][row, places], batch["targets"][row, places[-1]]]
  counted = [False, *batch["loss_mask"][row, places]]
  slots = [*batch["image_mask"][row, places], False]
  runs, starts = [], []
  for index, (token, counts, slot) in enumerate(
    zip(ids, counted, slots, strict=True)
  ):
    if slot and slots[index - 1]:
      continue
    color = visualize.BLACK if counts else visualize.GRAY
    text = _text(int(token), tokenizer)
    if slot:
      starts.append(index)
      text = f"{slots.index(False, index) - index} slots"
    runs += [(text, color), (" ", color)]
  first = int(_picture_starts(batch, row)[: places[0]].sum())
  images = [
    np.asarray(image_ops.denormalize(image))
    for image in batch["images"][row, first : first + len(starts)]
  ]
  lines = [title, runs]
  if not images:
    return visualize.add_lines(None, lines)
  # What stands before the first picture is about it, too.
  borders = [0, *starts[1:], len(ids)]
  grounded = [
    markup.parse([int(i) for i in ids[begin:end]], tokenizer)
    for begin, end in itertools.pairwise(borders)
  ]
  if len(images) == 1:
    return visualize.draw_grounding(images[0], grounded[0], lines=lines)
  drawn = [
    visualize.draw_grounding(image, text, min_side=160)
    for image, text in zip(images, grounded, strict=True)
  ]
  return visualize.add_lines(visualize.grid(drawn, 2), lines)


def _picture_starts(batch: Batch, row: int) -> np.ndarray:
  """True at the first slot of every picture."""
  mask = batch["image_mask"][row]
  return mask & ~np.concatenate([[False], mask[:-1]])


def _text(token: int, tokenizer: Tokenizer) -> str:
  vocab = tokenizer.vocab
  if token in (vocab.bos_id, vocab.eos_id):
    return "<s>" if token == vocab.bos_id else "</s>"
  return tokenizer.decode([token])


def draw(config: ConfigDict, step: int, num_rows: int) -> Image.Image:
  """The first rows of the batch of a step of the config's stream."""
  data = config.data
  start = Start(
    config.model.to_dict(), data.tokenizer, init_from=config.init_from
  )
  tokenizer, sizes = start.tokenizer, start.sizes
  plan = planning.plan_stream(
    [kind.to_dict() for kind in data.kinds],
    data.to_dict(),
    loader(data.data_dir, data.builders),
    tokenizer,
    image_size=sizes["vision"]["image_size"],
    num_latents=sizes["resampler"]["num_latents"],
    seed=config.seed,
  )
  stream = plan.open(step)
  batch = next(stream)
  rows = range(min(num_rows, len(batch["tokens"])))
  drawn = [
    draw_row(
      batch,
      row,
      tokenizer,
      stream.segments(int(batch["example_index"][row])),
    )
    for row in rows
  ]
  packed = batch["segment_ids"].max() > 1
  return visualize.grid(drawn, 1 if packed else min(COLUMNS, len(rows)))


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
    print(f"show_data: {what}{in_words(error)}", file=sys.stderr)
    return 2
  print(f"wrote {output}")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))
