"""The stream of batches: a pure function of (seed, step).

    step > schedule > read > ops > rows > decode > view > normalise > batch

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
from kosmos2_jax.input.feed import Feed
from kosmos2_jax.input.rows import RowMaker, read_examples
from kosmos2_jax.input.schedule import Kind, Schedule, make_kinds
from kosmos2_jax.input.text_ops import REASONS
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
  num_threads: int = 2,
  prefetch: int = 2,
) -> "Stream":
  """Opens the stream at a step.

  Args:
    kinds: what is mixed; the global batch size is the sum of their `per_step`.
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
    num_threads: threads that decode pictures.
    prefetch: batches made ahead.

  Returns:
    An endless iterator of batches, see `kosmos2_jax.batch`, one picture a row.

  Raises:
    ValueError: rows do not fit the shards, or `seq_len` has no room for text.
  """
  if view not in geometry.VIEWS:
    raise ValueError(f"view is one of {geometry.VIEWS}, found {view!r}")
  schedule = Schedule(kinds, seed)
  maker = RowMaker(
    schedule,
    shard_rows=schedule.shard_rows(shard_index, num_shards),
    tokenizer=tokenizer,
    image_size=image_size,
    view=view,
    num_latents=num_latents,
    seq_len=seq_len,
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
      names in `text_ops.REASONS`; this shard's rows only.
  """

  def __init__(
    self, maker: RowMaker, *, start_step: int, num_threads: int, prefetch: int
  ):
    """Builds the tf.data graph; nothing is read before the first batch."""
    self.tokenizer = maker.context.tokenizer
    self.step = start_step
    self.counts = collections.Counter()
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
    counts = batch.pop("reasons").sum(axis=0)
    for reason, count in zip(REASONS, counts.tolist(), strict=True):
      if count:
        self._count(reason, count)
    self.step += 1
    return batch

  def describe(self, example_index: int | np.integer) -> str:
    """Where a row comes from, by its `example_index` in a batch."""
    schedule = self._maker.schedule
    step, row = divmod(int(example_index), schedule.batch_size)
    (slot,) = schedule.slots(step, range(row, row + 1))
    (example,) = read_examples([slot])
    return (
      f"row {row} of step {step}: {slot.name(example)}, record {slot.record}, "
      f"as {slot.kind.name}"
    )

  def _count(self, reason: str, count: int) -> None:
    self.counts[reason] += count
    if reason not in self._logged:
      self._logged.add(reason)
      logging.info(
        "input: %s (first seen in step %d; counted as %r)",
        REASONS[reason],
        self.step,
        reason,
      )

  def _explain(self, error: tf.errors.OpError) -> Exception:
    """The reason, in Python, why the batch of `step` could not be made."""
    if self.step in self._feed.errors:
      return self._feed.errors[self.step]
    slots = self._maker.slots(self.step)
    for slot, example in zip(slots, read_examples(slots), strict=True):
      try:
        image_ops.decode_or_raise(example["image"], slot.name(example))
      except ValueError as reason:
        return reason
    return error
