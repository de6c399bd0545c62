"""Packed rows of random words and pictures, shaped as a config's batches."""

import numpy as np

from kosmos2_jax.batch import Batch, check_batch
from kosmos2_jax.compiling.jobs import Job

TEXTS_PER_ROW = 4  # segments of a row without pictures
FIRST_SLOT = 2  # behind `<s>` and `<image>`


def make_rows(job: Job, seed: int = 0) -> Batch:
  """A batch for a job; nothing in it means anything.

  Rows are full. Each picture is the beginning of a segment of its own, and of
  pictures there are as many as a row has places for, or as find room with a
  few words behind each; a row without has `TEXTS_PER_ROW` segments. Every word
  that has one behind it in its segment counts in the loss, and segments take
  turns in being of the job's kinds.

  Args:
    job: how large the batch is; see `Job`.
    seed: of everything.
  """
  rng = np.random.default_rng(seed)
  rows, length, places = job.num_rows, job.seq_len, job.images_per_row
  latents = 0 if job.sizes.get("text_only") else _latents(job)
  least = FIRST_SLOT + latents + 4
  pictures = min(places, length // least) if latents else 0
  segments = min(pictures or TEXTS_PER_ROW, length)
  # Equal parts; the last is as much longer as a division leaves over.
  size = length // segments
  column = np.arange(length)
  segment = np.minimum(column // size, segments - 1)
  position = column - segment * size
  slots = (position >= FIRST_SLOT) & (position < FIRST_SLOT + latents)
  slots &= bool(pictures)
  last = np.append(np.diff(segment) > 0, True)
  behind = position >= (FIRST_SLOT + latents if pictures else 0)
  num_kinds = max(1, len(job.options.get("kind_names", ())))
  ids = rng.integers(4, job.sizes["vocab_size"], (rows, length + 1))
  side = job.sizes["vision"]["image_size"]
  images = np.zeros((rows, places, side, side, 3), np.float32)
  images[:, :pictures] = rng.standard_normal(
    (rows, pictures, side, side, 3), np.float32
  )

  def every_row(values, dtype):
    return np.broadcast_to(values.astype(dtype), (rows, length)).copy()

  batch = {
    "tokens": ids[:, :-1].astype(np.int32),
    "targets": ids[:, 1:].astype(np.int32),
    "loss_mask": every_row(behind & ~last, bool),
    "image_mask": every_row(slots, bool),
    "segment_ids": every_row(segment + 1, np.int32),
    "positions": every_row(position, np.int32),
    "kinds": every_row(segment % num_kinds + 1, np.int32),
    "images": images,
    "example_index": np.arange(rows, dtype=np.int64),
  }
  check_batch(batch)
  return batch


def _latents(job: Job) -> int:
  return job.sizes["resampler"]["num_latents"]
