"""Rows from Python, pictures from TensorFlow's threads: one tf.data graph."""

import atexit
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from kosmos2_jax.input import image_ops
from kosmos2_jax.input.rows import RowMaker

# All that have not ended. A feed must have before it is taken apart and before
# the interpreter goes: else the program may abort, or wait for ever, because
# TensorFlow's threads call Python.
_open_feeds: set["Feed"] = set()


class Feed:
  """Iterator of steps: what `RowMaker.rows` gives, with decoded pictures.

  Attributes:
    errors: what went wrong in Python, by step; tf.data passes on nothing but
      a text.
  """

  def __init__(
    self, maker: RowMaker, *, start_step: int, num_threads: int, prefetch: int
  ):
    """Builds the graph; nothing is read before the first step is asked for."""
    _hide_accelerators()
    self.errors = {}
    self._maker = maker
    self._closed = False
    dataset = self._dataset(start_step, num_threads, prefetch)
    self._steps = dataset.as_numpy_iterator()
    for feed in list(_open_feeds):
      if feed._closed:
        feed.close()
    _open_feeds.add(self)

  def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
    """The feed itself."""
    return self

  def __next__(self) -> dict[str, np.ndarray]:
    """The next step, as the keys of a batch and `reasons`.

    Raises:
      tf.errors.OpError: Python (see `errors`) or the decoder failed.
    """
    return next(self._steps)

  def abandon(self) -> None:
    """Lets the feed end by itself; for the garbage collector.

    That may run in one of the feed's own threads, which must not wait for it.
    """
    self._closed = True

  def close(self) -> None:
    """Ends the feed and waits until none of its threads calls Python."""
    self._closed = True
    # Outside of any function that TensorFlow may be tracing now.
    with tf.init_scope():
      while self in _open_feeds:
        try:
          next(self._steps)
        except StopIteration:
          _open_feeds.discard(self)
        except tf.errors.OpError:
          # Of a step that nobody will see.
          continue
    self._steps = iter(())

  def _dataset(
    self, start_step: int, num_threads: int, prefetch: int
  ) -> tf.data.Dataset:
    spec = self._maker.spec()
    context = self._maker.context
    size = context.image_size
    looks = self._maker.looks

    # Nothing here needs AutoGraph's rewriting of Python.
    @tf.autograph.experimental.do_not_convert
    def read(step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
      dtypes = [tf.bool, *(dtype for _, dtype in spec.values())]
      is_open, *arrays = tf.numpy_function(self._read, [step], dtypes)
      rows = {
        key: tf.ensure_shape(array, shape)
        for (key, (shape, _)), array in zip(spec.items(), arrays, strict=True)
      }
      return tf.ensure_shape(is_open, []), rows

    @tf.autograph.experimental.do_not_convert
    def look(
      is_open: tf.Tensor, rows: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
      del is_open
      encoded = rows.pop("encoded")
      shape = encoded.shape.as_list()
      places = {key: rows.pop(key) for key in looks.spec(shape)}
      places["encoded"] = encoded
      # Normalised one by one, while the pixels are in the processor's cache.
      images = tf.map_fn(
        picture,
        {
          key: tf.reshape(value, [-1, *value.shape[2:]])
          for key, value in places.items()
        },
        fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
        parallel_iterations=num_threads,
      )
      return {**rows, "images": tf.reshape(images, [*shape, size, size, 3])}

    def picture(place: dict[str, tf.Tensor]) -> tf.Tensor:
      # Where there is no picture nothing is decoded; the model gets zeros.
      return tf.cond(
        tf.strings.length(place["encoded"]) > 0,
        lambda: image_ops.normalize(square(place)),
        lambda: tf.zeros([size, size, 3]),
      )

    def square(place: dict[str, tf.Tensor]) -> tf.Tensor:
      if looks.scales:
        image = image_ops.decode_scaled(place["encoded"], place["ratios"])
      else:
        image = image_ops.decode(place["encoded"])
      if looks.is_on:
        return image_ops.augment(image, place["draws"], size)
      return image_ops.view(image, size, context.view)

    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.threading.private_threadpool_size = num_threads
    options.threading.max_intra_op_parallelism = 1
    # One step at a time in Python and one in the decoder, side by side.
    return (
      tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
      .map(read)
      .take_while(lambda is_open, rows: is_open)
      .prefetch(1)
      .map(look, num_parallel_calls=1)
      .prefetch(prefetch)
      .with_options(options)
    )

  def _read(self, step: np.integer) -> list[Any]:
    """Whether the feed is open still, and a step's rows."""
    if self._closed:
      spec = self._maker.spec().values()
      return [np.False_, *(np.zeros(shape, dtype) for shape, dtype in spec)]
    try:
      return [np.True_, *self._maker.rows(int(step))]
    except Exception as error:
      self.errors[int(step)] = error
      raise


@atexit.register
def _close_all() -> None:
  for feed in list(_open_feeds):
    feed.close()


def _hide_accelerators() -> None:
  """Keeps TensorFlow away from devices: they are JAX's."""
  for device_type in ("GPU", "TPU"):
    try:
      tf.config.set_visible_devices([], device_type)
    except RuntimeError:
      # TensorFlow has started already. Harmless where it found none.
      if tf.config.get_visible_devices(device_type):
        logging.warning(
          "TensorFlow holds a %s and its memory; import kosmos2_jax.input "
          "before anything that starts TensorFlow",
          device_type,
        )
