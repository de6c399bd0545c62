"""Order and randomness of the stream, computed instead of stored.

Shuffling is a permutation of *indices* that can be evaluated at any position,
so that the stream can start at any step without remembering anything. Both
the permutation and the random numbers of an example come from their names
alone, whatever the version of numpy, the number of hosts or of threads.
"""

import functools
import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Int64

Item = TypeVar("Item")

# Rounds of the Feistel network. Four are enough for a pseudo-random
# permutation in theory; the halves of small data sets have few bits, so the
# network gets twice as many.
_NUM_ROUNDS = 8
# Bits of a half, at least: with one, a round can do too little.
_MIN_HALF_BITS = 2

# splitmix64's shifts and factors.
_SHIFTS = tuple(np.uint64(bits) for bits in (30, 27, 31))
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def stable_key(*parts: int | str) -> int:
  """A 64-bit number that depends on all parts and their order."""
  text = "\0".join(map(str, parts))
  digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
  return int.from_bytes(digest, "little")


def example_random(*parts: int | str) -> random.Random:
  """Random numbers of one example, from its name, e.g. (seed, kind, index)."""
  return random.Random(stable_key(*parts))


def shuffled(items: list, rng: random.Random) -> list:
  """The items in an order drawn from `rng`.

  Sorted by drawn keys: of the methods of `random.Random` only `random()`
  promises the same numbers in every version of Python.
  """
  keys = [rng.random() for _ in items]
  return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__)]


def drawn(items: Sequence[Item], rng: random.Random) -> Item:
  """One of the items; as `shuffled`, the same in every version of Python."""
  return items[int(rng.random() * len(items))]


def permute(
  positions: Int64[np.ndarray, " count"], *, length: int, key: tuple
) -> Int64[np.ndarray, " count"]:
  """Where a permutation of range(length), chosen by `key`, sends `positions`.

  A balanced Feistel network permutes the numbers below the next power of four
  (Luby and Rackoff, 1988); a result outside of the range is sent through the
  network again until it falls inside (cycle walking; Black and Rogaway, 2002).

  Args:
    positions: numbers in range(length).
    length: how many numbers are permuted.
    key: parts of the name of the permutation, as for `stable_key`.
  """
  positions = np.asarray(positions, np.int64)
  if positions.size and not 0 <= positions.min() <= positions.max() < length:
    raise ValueError(
      f"positions lie in 0..{length - 1}, found "
      f"{positions.min()}..{positions.max()}"
    )
  half_bits = max(_MIN_HALF_BITS, ((length - 1).bit_length() + 1) // 2)
  round_keys = _round_keys(key)
  result = _feistel(positions.astype(np.uint64), half_bits, round_keys)
  outside = np.flatnonzero(result >= length)
  while outside.size:
    result[outside] = _feistel(result[outside], half_bits, round_keys)
    outside = outside[result[outside] >= length]
  return result.astype(np.int64)


@functools.lru_cache(maxsize=64)
def _round_keys(key: tuple) -> tuple[np.uint64, ...]:
  return tuple(np.uint64(stable_key(*key, r)) for r in range(_NUM_ROUNDS))


def _feistel(
  values: np.ndarray, half_bits: int, round_keys: tuple[np.uint64, ...]
) -> np.ndarray:
  shift = np.uint64(half_bits)
  mask = np.uint64((1 << half_bits) - 1)
  left, right = values >> shift, values & mask
  for round_key in round_keys:
    left, right = right, left ^ (_mix(right ^ round_key) & mask)
  return (left << shift) | right


def _mix(values: np.ndarray) -> np.ndarray:
  """The finaliser of splitmix64: every input bit reaches every output bit."""
  for shift, factor in zip(_SHIFTS[:2], _FACTORS, strict=True):
    values = (values ^ (values >> shift)) * factor
  return values ^ (values >> _SHIFTS[2])
