"""Pictures are encoded once, however many rows and batches have them."""

import collections
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from kosmos2_jax.generation import decode
from kosmos2_jax.generation.placement import Placement
from kosmos2_jax.models.kosmos2 import Kosmos2


class Latents:
  """Latents of the pictures that were asked about last.

  It lives as long as one call of the engine does: what a call returns depends
  on what it was given, not on what was asked before.

  Args:
    model: encodes pictures.
    params: its parameters, on devices.
    capacity: pictures that are remembered, at least; a batch may need more.
    placement: of the rows.
  """

  def __init__(
    self,
    model: Kosmos2,
    params: Mapping[str, Any],
    capacity: int,
    placement: Placement,
  ):
    self.num_encoded = 0  # pictures, those that fill a batch not counted
    self._model = model
    self._params = params
    self._at_once = capacity
    self._capacity = capacity
    self._placement = placement
    self._pool: Float[Array, "C L D"] | None = None
    # By the array's id, which holds as long as the array is kept here: where
    # in the pool it is; who was asked for last stands last.
    self._slots: collections.OrderedDict[int, tuple[int, np.ndarray]] = (
      collections.OrderedDict()
    )

  def of(
    self, rows: Sequence[Sequence[Float[np.ndarray, "height width 3"]]]
  ) -> Float[Array, "B M L D"] | None:
    """The latents of each row's pictures; None where no row has any.

    Args:
      rows: prepared pictures of each row; equal ones are the same array. Rows
        with fewer than others get any latents, which no slot reads.
    """
    most = max(map(len, rows))
    if not most:
      return None
    needed = {id(image): image for row in rows for image in row}
    self._make_room(needed)
    which = np.zeros((len(rows), most), np.int32)
    for i, row in enumerate(rows):
      which[i, : len(row)] = [self._slots[id(image)][0] for image in row]
    found = _take(self._pool, self._placement.put_whole(which))
    return self._placement.put_rows(found)

  def _make_room(self, needed: Mapping[int, np.ndarray]) -> None:
    """Encodes what is not there, over what was not asked for the longest."""
    for key in needed:
      if key in self._slots:
        self._slots.move_to_end(key)
    new = [key for key in needed if key not in self._slots]
    if len(needed) > self._capacity:
      self._capacity = 1 << (len(needed) - 1).bit_length()
      self._pool = (
        None if self._pool is None else _grow(self._pool, self._capacity)
      )
    free = sorted(
      set(range(self._capacity)) - {slot for slot, _ in self._slots.values()}
    )
    while len(free) < len(new):
      free.append(self._slots.popitem(last=False)[1][0])
    # However many pictures rows have, activations need no more room.
    for start in range(0, len(new), self._at_once):
      some = new[start : start + self._at_once]
      slots = free[start : start + len(some)]
      self._encode([needed[key] for key in some], slots)
      for key, slot in zip(some, slots, strict=True):
        self._slots[key] = (slot, needed[key])

  def _encode(self, images: Sequence[np.ndarray], slots: Sequence[int]) -> None:
    self.num_encoded += len(images)
    parts = self._placement.num_parts
    count = 1 << (len(images) - 1).bit_length()
    count = -(-count // parts) * parts
    pixels = np.zeros((count, 1, *images[0].shape), np.float32)
    pixels[: len(images), 0] = images
    latents = _encode(
      self._model, self._params, self._placement.put_rows(pixels)
    )
    latents = self._placement.put_whole(latents)
    if self._pool is None:
      self._pool = _new_pool(latents, self._capacity)
    # What only fills the batch goes nowhere.
    places = np.full(count, self._capacity, np.int32)
    places[: len(slots)] = slots
    self._pool = _put(self._pool, self._placement.put_whole(places), latents)


@functools.partial(jax.jit, static_argnames="model")
def _encode(
  model: Kosmos2,
  params: Mapping[str, Any],
  images: Float[Array, "B 1 height width 3"],
) -> Float[Array, "B L D"]:
  return decode.encode(model, params, images)[:, 0]


@functools.partial(jax.jit, static_argnames="capacity")
def _new_pool(
  latents: Float[Array, "B L D"], capacity: int
) -> Float[Array, "C L D"]:
  return jnp.zeros((capacity, *latents.shape[1:]), latents.dtype)


@functools.partial(jax.jit, static_argnames="capacity")
def _grow(pool: Float[Array, "B L D"], capacity: int) -> Float[Array, "C L D"]:
  return jnp.pad(pool, ((0, capacity - len(pool)), (0, 0), (0, 0)))


@functools.partial(jax.jit, donate_argnames="pool")
def _put(
  pool: Float[Array, "C L D"],
  slots: Int[Array, " B"],
  latents: Float[Array, "B L D"],
) -> Float[Array, "C L D"]:
  return pool.at[slots].set(latents, mode="drop")


@jax.jit
def _take(
  pool: Float[Array, "C L D"], which: Int[Array, "B M"]
) -> Float[Array, "B M L D"]:
  return pool[which]
