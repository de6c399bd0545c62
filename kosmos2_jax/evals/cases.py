"""Which records people are shown: the best, the worst, and some others."""

import collections
from collections.abc import Sequence

import numpy as np

from kosmos2_jax.evals.protocol import Record, Scores

KINDS = ("worst", "best", "random")  # as they are shown


def choose(
  scores: Scores, records: Sequence[Record], count: int, seed: int
) -> dict[str, tuple[int, ...]]:
  """Chooses records to show; none is of two kinds.

  Args:
    scores: of the records. Records whose `quality` is no number are neither
      good nor bad; where there is no quality, or all have the same, nobody is
      best or worst.
    records: all of them. Of equally good ones about one picture only the
      first is shown, as long as there are such of other pictures.
    count: at most so many of each kind.
    seed: of the random ones; they are the same from one evaluation to the
      next, but for those that became best or worst.

  Returns:
    Kind -> indices into the records: "worst" from the worst on, "best" from
    the best on, and "random"; a kind without records is left out.

  Raises:
    ValueError: if there is not one quality for each record.
  """
  ascending, descending = _ranked(scores, records)
  # An odd one, where there are few, is shown as the worst: one learns more.
  best = descending[: min(count, len(descending) // 2)]
  worst = [index for index in ascending if index not in best][:count]
  taken = {*best, *worst}
  order = drawn_order(len(records), seed)
  others = [index for index in order if index not in taken][:count]
  found = {"worst": worst, "best": best, "random": others}
  return {kind: tuple(found[kind]) for kind in KINDS if found[kind]}


def drawn_order(num_records: int, seed: int = 0) -> list[int]:
  """The order in which random records are drawn: the same every time.

  Whichever became best or worst, the first `count` of it are among the records
  that `choose` returns for the same count and seed.
  """
  return np.random.default_rng(seed).permutation(num_records).tolist()


def _ranked(
  scores: Scores, records: Sequence[Record]
) -> tuple[list[int], list[int]]:
  """Records from the worst and from the best on; both empty if none is."""
  if scores.quality is None:
    return [], []
  quality = np.asarray(scores.quality, np.float64)
  if quality.shape != (len(records),):
    raise ValueError(
      f"expected a quality for each of the {len(records)} records, found"
      f" {list(quality.shape)}; mend the evaluator's `score`."
    )
  ranked = np.flatnonzero(np.isfinite(quality)).tolist()
  if len({quality[index] for index in ranked}) < 2:
    return [], []
  seen: collections.Counter[tuple[float, str]] = collections.Counter()
  # How many before it are as good and about the same picture.
  repeats = {}
  for index in ranked:
    key = (float(quality[index]), records[index].group)
    repeats[index] = seen[key]
    seen[key] += 1
  return (
    sorted(ranked, key=lambda i: (quality[i], repeats[i], i)),
    sorted(ranked, key=lambda i: (-quality[i], repeats[i], i)),
  )
