"""Which ids were kept before, for tens of millions of them."""

import hashlib

import numpy as np

# Ids newer than this many are merged into the sorted ones.
RECENT_IDS = 1 << 20


class SeenIds:
  """A set of ids in 8 bytes each: GrIT's 20 million take 160 MB.

  Two different ids share a hash with a chance of 1e-5 in all of GrIT.
  """

  def __init__(self):
    """Starts empty."""
    self._recent: set[int] = set()
    self._sorted = np.empty(0, np.uint64)

  def __contains__(self, record_id: str) -> bool:
    """Whether `record_id` was added."""
    value = self._hash(record_id)
    if value in self._recent:
      return True
    at = np.searchsorted(self._sorted, np.uint64(value))
    return bool(at < len(self._sorted) and self._sorted[at] == value)

  def add(self, record_id: str) -> None:
    """Adds one id."""
    self._recent.add(self._hash(record_id))
    if len(self._recent) >= RECENT_IDS:
      recent = np.fromiter(self._recent, np.uint64, len(self._recent))
      self._sorted = np.union1d(self._sorted, recent)
      self._recent.clear()

  @staticmethod
  def _hash(record_id: str) -> int:
    digest = hashlib.blake2b(record_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
