"""Random numbers of one scene.

Only `BitGenerator.random_raw` is used: NumPy promises that its stream never
changes, which it does not promise for `Generator`. The objects and texts of a
scene are therefore the same whatever NumPy samples them. (Its pixels may differ
by one level of 255 between processors, where `exp` or `cos` rounds otherwise.)
"""

from collections.abc import MutableSequence, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

T = TypeVar("T")

_CHUNK = 64
_SCALE = 2.0**-53


class Draws:
  """A stream of random numbers that is a pure function of three integers."""

  def __init__(self, seed: int, stream: int, index: int):
    """Opens the stream of scene `index` of stream `stream`.

    Raises:
      ValueError: a number is negative, or `stream` or `index` does not fit
        into 32 bits.
    """
    if seed < 0 or not 0 <= stream < 2**32 or not 0 <= index < 2**32:
      raise ValueError(
        "A scene needs a seed >= 0 and an index in [0, 2**32), got "
        f"seed={seed}, index={index}."
      )
    sequence = np.random.SeedSequence(seed, spawn_key=(stream, index))
    self._bits = np.random.Philox(sequence)
    self._floats: list[float] = []

  def unit(self) -> float:
    """A float in [0, 1)."""
    if not self._floats:
      raw = self._bits.random_raw(_CHUNK)
      self._floats = ((raw >> np.uint64(11)) * _SCALE).tolist()
    return self._floats.pop()

  def uniform(self, low: float, high: float) -> float:
    return low + (high - low) * self.unit()

  def integer(self, low: int, high: int) -> int:
    """An integer in [low, high], both ends included."""
    return low + int(self.unit() * (high - low + 1))

  def chance(self, probability: float) -> bool:
    return self.unit() < probability

  def choice(self, items: Sequence[T]) -> T:
    return items[int(self.unit() * len(items))]

  def shuffle(self, items: MutableSequence) -> None:
    """Shuffles in place (Fisher-Yates)."""
    for last in range(len(items) - 1, 0, -1):
      other = int(self.unit() * (last + 1))
      items[last], items[other] = items[other], items[last]

  def noise(self, count: int) -> Float32[np.ndarray, " count"]:
    """`count` independent numbers in [-1, 1), float32, of 8 bits each."""
    raw = self._bits.random_raw(-(-count // 8)).astype("<u8", copy=False)
    values = raw.view(np.uint8)[:count].astype(np.float32)
    values *= 1 / 128
    values -= 1
    return values
