"""How far a score may be from that of another test set of the same kind.

95 % percentile bootstrap (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, section 13.3): draw as many groups as there are, with
repetition, compute the score of the records drawn, do it many times, and take
the 2.5th and the 97.5th percentile. What is drawn is a group, not a record:
questions about one picture are right and wrong together, and drawn one by one
they would look like more evidence than they are.
"""

import weakref
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from kosmos2_jax.evals.protocol import Metric, Outcome, Record, Scores

DRAWS = 1000
# Of metrics that only `Metric.resample` can compute: a draw of these takes as
# long as scoring everything once.
RESAMPLE_DRAWS = 200
PERCENTILES = (2.5, 97.5)
# For readers of the numbers.
PROTOCOL = (
  f"95 % percentile bootstrap over groups of records, {DRAWS} draws"
  f" ({RESAMPLE_DRAWS} of metrics that are no ratio of sums), seed 0"
)

Interval = tuple[float, float]

# Several writers want the intervals of one outcome.
_KNOWN: weakref.WeakKeyDictionary[Outcome, dict[str, Interval | None]] = (
  weakref.WeakKeyDictionary()
)


def of(outcome: Outcome) -> dict[str, Interval | None]:
  """The intervals of an outcome, computed once however often they are asked."""
  if outcome not in _KNOWN:
    _KNOWN[outcome] = intervals(outcome.scores, outcome.records)
  return dict(_KNOWN[outcome])


def intervals(
  scores: Scores,
  records: Sequence[Record],
  *,
  draws: int = DRAWS,
  seed: int = 0,
) -> dict[str, Interval | None]:
  """95 % intervals of the metrics of a task.

  All metrics see the same draws. A draw in which a metric has no value (its
  denominators add up to 0) is left out for this metric.

  Args:
    scores: of the records.
    records: all of them; those with the same `group` are drawn together.
    draws: how often; at most `RESAMPLE_DRAWS` for metrics with `resample`.
    seed: of the draws.

  Returns:
    Metric -> (low, high) in the metric's own scale; None where it comes apart
    into records in no way, where fewer than half of the draws have a value,
    or if all records are of one group.

  Raises:
    ValueError: if a metric has not one number for each record, or for less
      than one draw.
  """
  if draws < 1:
    raise ValueError(f"an interval takes 1 draw or more, found {draws}.")
  ratios = {
    name: _columns(name, metric, len(records))
    for name, metric in scores.metrics.items()
    if metric.numerators is not None
  }
  resampled = [
    name
    for name, metric in scores.metrics.items()
    if name not in ratios and metric.resample is not None
  ]
  found: dict[str, Interval | None] = dict.fromkeys(scores.metrics)
  groups = _Groups(records)
  if groups.count < 2 or not (ratios or resampled):
    return found
  sums = np.stack(
    [groups.sums(column) for pair in ratios.values() for column in pair]
    or [np.zeros(groups.count)],
    axis=-1,
  )
  totals = np.empty((draws, sums.shape[1]))
  values: dict[str, list[float]] = {name: [] for name in resampled}
  rng = np.random.default_rng(seed)
  for draw in range(draws):
    drawn = rng.integers(groups.count, size=groups.count)
    totals[draw] = sums[drawn].sum(axis=0)
    if resampled and draw < RESAMPLE_DRAWS:
      members = groups.members(drawn)
      for name in resampled:
        values[name].append(float(scores.metrics[name].resample(members)))
  for index, name in enumerate(ratios):
    above, below = totals[:, 2 * index], totals[:, 2 * index + 1]
    valued = below != 0
    ratio = np.full(draws, np.nan)
    ratio[valued] = above[valued] / below[valued]
    found[name] = _percentiles(ratio * scores.metrics[name].scale)
  for name in resampled:
    found[name] = _percentiles(np.array(values[name]))
  return found


class _Groups:
  """Which records are of which group, groups in order of their first record."""

  def __init__(self, records: Sequence[Record]):
    numbers: dict[str, int] = {}
    self._of = np.array(
      [numbers.setdefault(record.group, len(numbers)) for record in records],
      dtype=np.int64,
    )
    self.count = len(numbers)
    self._order = np.argsort(self._of, kind="stable")
    self._sizes = np.bincount(self._of, minlength=self.count)
    self._starts = np.cumsum(self._sizes) - self._sizes

  def sums(self, column: Float[np.ndarray, " n"]) -> Float[np.ndarray, " g"]:
    """What the records of each group add."""
    return np.bincount(self._of, weights=column, minlength=self.count)

  def members(self, drawn: Int[np.ndarray, " g"]) -> Int[np.ndarray, " k"]:
    """The records of the groups drawn, group after group."""
    sizes = self._sizes[drawn]
    # Of every place, how far it is into its group.
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return self._order[np.repeat(self._starts[drawn], sizes) + within]


def _columns(
  name: str, metric: Metric, count: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
  above = np.asarray(metric.numerators, np.float64)
  below = metric.denominators
  below = np.ones(count) if below is None else np.asarray(below, np.float64)
  if above.shape != (count,) or below.shape != (count,):
    raise ValueError(
      f"metric {name!r} must have a number for each of the {count} records,"
      f" found numerators {list(above.shape)} and denominators"
      f" {list(below.shape)}; mend its evaluator's `score`."
    )
  return above, below


def _percentiles(values: Float[np.ndarray, " draws"]) -> Interval | None:
  valued = values[np.isfinite(values)]
  if 2 * len(valued) < len(values):
    return None
  low, high = np.percentile(valued, PERCENTILES)
  return float(low), float(high)
