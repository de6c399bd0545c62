"""The stream of batches: a pure function of (seed, step).

    step > schedule > read > ops > pack > rows > decode > view > normalise

Reading and text are Python (`rows`), called once a step: a call from tf.data
into Python costs as much as a row. The rest is TensorFlow in its own threads.
"""

import collections
import weakref
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from kosmos2_jax.batch import Batch
from kosmos2_jax.input import geometry, image_ops
from kosmos2_jax.input.augmentation import Augmentation
from kosmos2_jax.input.feed import Feed
from kosmos2_jax.input.rows import RowMaker, read_examples, reasons
from kosmos2_jax.input.schedule import Kind, Layout, Schedule, make_kinds
from kosmos2_jax.text.tokenizer import Tokenizer

__all__ = ["Kind", "Stream", "make_kinds", "make_stream"]


def make_stream(
  kinds: Sequence[Kind],
  *,
  tokenizer: Tokenizer,
  image_size: int,
  num_latents: int,
  seq_len: int,
  seed: int = 0,
  start_step: int = 0,
  shard_index: int = 0,
  num_shards: int = 1,
  view: str = "crop",
  images_per_row: int = 1,
  rows_per_step: int | None = None,
  pack_groups: int = 1,
  augmentation: Augmentation | None = None,
  fast_decode: bool = False,
  num_threads: int = 2,
  prefetch: int = 2,
) -> "Stream":
  """Opens the stream at a step.

  Args:
    kinds: what is mixed; a step has `per_step` examples of each.
    tokenizer: makes ids of text.
    image_size: side of the pictures the model sees.
    num_latents: slots of a picture in the row.
    seq_len: length of every row.
    seed: with the step, determines every batch.
    start_step: step of the first batch.
    shard_index: which part of each global batch is made here.
    num_shards: how many parts there are; together they are the same rows in
      the same order whatever their number.
    view: "crop" or "squash", see `geometry`.
    images_per_row: pictures a row has room for.
    rows_per_step: rows of the global batch that the examples of a step are
      packed into; None: a row for each.
    pack_groups: parts of a step that are packed by themselves; any number of
      shards that divides it makes the same batches.
    augmentation: what is drawn for every picture; None: nothing.
    fast_decode: whether large JPEGs are decoded to a half, a quarter or an
      eighth of their sides, where that is enough; other pixels, sooner.
    num_threads: threads that decode pictures.
    prefetch: batches made ahead.

  Returns:
    An endless iterator of batches, see `kosmos2_jax.batch`.

  Raises:
    ValueError: rows or groups do not fit the shards or each other, or
      `seq_len` has no room for text.
  """
  if view not in geometry.VIEWS:
    raise ValueError(f"view is one of {geometry.VIEWS}, found {view!r}")
  schedule = Schedule(kinds, seed)
  layout = Layout(kinds, rows_per_step, pack_groups)
  maker = RowMaker(
    schedule,
    layout,
    groups=layout.shard_groups(shard_index, num_shards),
    tokenizer=tokenizer,
    image_size=image_size,
    view=view,
    num_latents=num_latents,
    seq_len=seq_len,
    images_per_row=images_per_row,
    augmentation=augmentation or Augmentation(),
    fast_decode=fast_decode,
  )
  return Stream(
    maker, start_step=start_step, num_threads=num_threads, prefetch=prefetch
  )


class Stream:
  """Iterator of batches; made by `make_stream`.

  Attributes:
    tokenizer: whose ids the batches hold.
    step: step of the next batch.
    counts: for all batches taken so far, how often what was left out, by the
      names in `rows.reasons()`; this shard's rows only.
    kind_counts: the same for each kind, by its name.
  """

  def __init__(
    self, maker: RowMaker, *, start_step: int, num_threads: int, prefetch: int
  ):
    """Builds the tf.data graph; nothing is read before the first batch."""
    self.tokenizer = maker.context.tokenizer
    self.step = start_step
    self.counts = collections.Counter()
    kinds = maker.schedule.kinds
    self.kind_counts = {kind.name: collections.Counter() for kind in kinds}
    self._maker = maker
    self._logged = set()
    self._feed = Feed(
      maker,
      start_step=start_step,
      num_threads=num_threads,
      prefetch=prefetch,
    )
    weakref.finalize(self, self._feed.abandon).atexit = False

  def __iter__(self) -> Iterator[Batch]:
    """The stream itself."""
    return self

  def close(self) -> None:
    """Ends the threads of the stream; there are no batches afterwards.

    Happens by itself when the stream is garbage and when the program ends.
    """
    self._feed.close()

  def __next__(self) -> Batch:
    """The batch of `step`: this shard's rows of it.

    Raises:
      ValueError: a picture cannot be decoded; names the example.
    """
    try:
      batch = next(self._feed)
    except tf.errors.OpError as error:
      raise self._explain(error) from error
    counts = batch.pop("reasons").tolist()
    for kind, of_kind in zip(self.kind_counts.values(), counts, strict=True):
      for reason, count in zip(reasons(), of_kind, strict=True):
        if count:
          kind[reason] += count
          self._count(reason, count)
    self.step += 1
    return batch

  def segments(self, example_index: int | np.integer) -> list[str]:
    """The examples of a row, by its `example_index` in a batch.

    In the order of its segments; an unpacked row whose example was left out
    names it all the same.
    """
    step, row = divmod(int(example_index), self._maker.layout.num_rows)
    slots = self._maker.row_slots(step, row)
    return [
      f"{slot.name(example)}, record {slot.record}, as {slot.kind.name}"
      for slot, example in zip(slots, read_examples(slots), strict=True)
    ]

  def describe(self, example_index: int | np.integer) -> str:
    """Where a row comes from, by its `example_index` in a batch."""
    step, row = divmod(int(example_index), self._maker.layout.num_rows)
    examples = "; ".join(self.segments(example_index)) or "no example"
    return f"row {row} of step {step}: {examples}"

  def sizes(self, step: int) -> list[tuple[str, int, int]]:
    """Kind, tokens and pictures of every example of a step, before packing."""
    return self._maker.sizes(step)

  @property
  def counters(self) -> list[collections.Counter]:
    """`counts` and those of the kinds, to be added up over shards."""
    return [self.counts, *self.kind_counts.values()]

  def left_out(self) -> Iterator[str]:
    """A line for each reason in `counts`: how often, and in which kinds."""
    for reason, count in sorted(self.counts.items()):
      kinds = ", ".join(
        f"{name} {of_kind[reason]}"
        for name, of_kind in self.kind_counts.items()
        if of_kind[reason]
      )
      yield f"{reason}: {count} ({kinds})"

  def _count(self, reason: str, count: int) -> None:
    self.counts[reason] += count
    if reason not in self._logged:
      self._logged.add(reason)
      logging.info(
        "input: %s (first seen in step %d; counted as %r)",
        reasons()[reason],
        self.step,
        reason,
      )

  def _explain(self, error: tf.errors.OpError) -> Exception:
    """The reason, in Python, why the batch of `step` could not be made."""
    if self.step in self._feed.errors:
      return self._feed.errors[self.step]
    for name, encoded in self._maker.pictures(self.step):
      try:
        image_ops.decode_or_raise(encoded, name)
      except ValueError as reason:
        return reason
    return error
