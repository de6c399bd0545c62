"""What the model is fed, drawn: rows of a batch with pictures and boxes.

Pictures are as the model sees them, boxes are read back from the tokens. The
examples of a packed row are framed, each in a colour of its own. Tokens that
are predicted are dark, the others grey; slots are summed up and padding is
left out.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from kosmos2_jax import visualize
from kosmos2_jax.batch import Batch, denormalize
from kosmos2_jax.text import markup
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training.metrics import Reporter
from kosmos2_jax.training.report.writer import FIRST_BATCH

# Rows side by side; of a packed row, its segments.
COLUMNS = 4
PACKED_COLUMNS = 4
# Rows of the first batch of a run that are drawn.
NUM_FIRST = 8


def draw_first(
  stream: Any, step: int, reporter: Reporter, tokenizer: Tokenizer
) -> Iterator[Batch]:
  """The stream, of whose first batch a sheet is written on the way.

  Whoever takes the batch draws it. In training that is the thread that makes
  batches, while the step is compiled.

  Args:
    stream: batches, with `segments` as `draw_rows` takes it.
    step: of the first batch.
    reporter: takes the picture.
    tokenizer: whose ids the tokens are.
  """
  for index, batch in enumerate(stream):
    if index == 0 and reporter.takes_pictures:
      sheet = draw_rows(batch, NUM_FIRST, tokenizer, stream.segments)
      reporter.write_images(step, {FIRST_BATCH: np.asarray(sheet)})
    yield batch


def draw_rows(
  batch: Batch,
  num_rows: int,
  tokenizer: Tokenizer,
  segments: Callable[[int], Sequence[str]],
) -> Image.Image:
  """Draws the first rows of a batch on one sheet.

  Args:
    batch: see `kosmos2_jax.batch`.
    num_rows: how many, if there are as many.
    tokenizer: whose ids the tokens are.
    segments: from a row's `example_index` to a title for each segment.
  """
  rows = range(min(num_rows, len(batch["tokens"])))
  drawn = [
    draw_row(batch, row, tokenizer, segments(int(batch["example_index"][row])))
    for row in rows
  ]
  packed = batch["segment_ids"].max() > 1
  return visualize.grid(drawn, 1 if packed else min(COLUMNS, len(rows)))


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
    denormalize(image)
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
