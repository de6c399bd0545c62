"""Batches made and moved to the devices while the step before is computed."""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from kosmos2_jax import sharding
from kosmos2_jax.training.step import STEP_KEYS

_POLL_SECONDS = 0.1  # how soon a closed prefetcher's thread notices
_JOIN_SECONDS = 5.0  # a stream that hangs is not waited for any longer


class DeviceBatch(NamedTuple):
  """What the step reads, and which examples it is made of.

  Attributes:
    inputs: arrays on the devices.
    example_index: int64 [B] on the host.
  """

  inputs: dict[str, jax.Array]
  example_index: np.ndarray


class Prefetcher:
  """Reads a stream in a thread of its own; a context manager and iterator.

  The order is that of the stream. An exception in the stream is raised where
  its batch would have come.

  Args:
    stream: batches of `kosmos2_jax.batch`.
    mesh: the devices.
    size: how many batches may wait, at least 1.
    check: called again and again while a batch is waited for; what it raises
      ends the wait.
  """

  def __init__(
    self,
    stream: Iterable[Mapping[str, np.ndarray]],
    mesh: Mesh,
    size: int,
    check: Callable[[], None] = lambda: None,
  ):
    self._stream = stream
    self._mesh = mesh
    self._check = check
    self._queue = queue.Queue(maxsize=max(size, 1))
    self._stop = threading.Event()
    self._thread = threading.Thread(
      target=self._fill, name="prefetch", daemon=True
    )

  def __enter__(self) -> "Prefetcher":
    self._thread.start()
    return self

  def __exit__(self, *_) -> None:
    self._stop.set()
    self._thread.join(_JOIN_SECONDS)

  def __iter__(self) -> "Prefetcher":
    return self

  def __next__(self) -> DeviceBatch:
    while True:
      try:
        item, error = self._queue.get(timeout=_POLL_SECONDS)
        break
      except queue.Empty:
        self._check()
    if error is not None:
      raise error
    return item

  def _fill(self):
    try:
      for batch in self._stream:
        inputs = sharding.put_batch(
          self._mesh, {key: batch[key] for key in STEP_KEYS}
        )
        if not self._put((DeviceBatch(inputs, batch["example_index"]), None)):
          return
      self._put((None, StopIteration()))
    except Exception as error:  # handed to the thread that wants the batch
      self._put((None, error))

  def _put(self, item):
    while not self._stop.is_set():
      try:
        self._queue.put(item, timeout=_POLL_SECONDS)
        return True
      except queue.Full:
        continue
    return False
