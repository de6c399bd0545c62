"""95 % intervals over groups of records."""

import math

import numpy as np
import pytest

from kosmos2_jax.evals import bootstrap
from kosmos2_jax.evals.protocol import Metric, Record, Scores
from tests.evals import made_up

# Groups of 3, 1, 4, 2 and 1 records, not side by side.
GROUPS = list("abcadcebcac"[:11])
RIGHT = np.array([1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 1], np.float64)
WEIGHT = np.array([1, 2, 1, 4, 1, 0, 3, 1, 2, 1, 1], np.float64)


def records(groups):
  return [Record(str(i), group, "", "", "") for i, group in enumerate(groups)]


def intervals(groups, draws=1000, seed=0, **metrics):
  scores = Scores(len(groups), metrics)
  return bootstrap.intervals(scores, records(groups), draws=draws, seed=seed)


def slow(groups, numerators, denominators, draws, seed):
  """Record by record, in plain Python."""
  names = list(dict.fromkeys(groups))
  rng = np.random.default_rng(seed)
  values = []
  for _ in range(draws):
    above = below = 0.0
    for number in rng.integers(len(names), size=len(names)):
      for i, group in enumerate(groups):
        if group == names[number]:
          above += numerators[i]
          below += denominators[i]
    values.append(above / below)
  values.sort()
  return tuple(quantile(values, share) for share in (0.025, 0.975))


def quantile(ordered, share):
  """Between the two values nearest to the share of the way, in proportion."""
  place = share * (len(ordered) - 1)
  before = math.floor(place)
  after = min(before + 1, len(ordered) - 1)
  gap = ordered[after] - ordered[before]
  return ordered[before] + (place - before) * gap


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_what_a_plain_loop_finds(seed):
  found = intervals(
    GROUPS, 300, seed, mean=Metric(0.0, RIGHT), ratio=Metric(0.0, RIGHT, WEIGHT)
  )
  # Sums of whole numbers are exact; the rounding of percentiles is not.
  for name, weights in (("mean", np.ones(11)), ("ratio", WEIGHT)):
    expected = slow(GROUPS, RIGHT, weights, 300, seed)
    assert found[name] == pytest.approx(expected, rel=1e-14)


def test_two_groups_are_both_right_or_both_wrong_in_a_quarter_of_the_draws():
  found = intervals(["a", "b"], x=Metric(0.5, np.array([0.0, 1.0])))
  assert found == {"x": (0.0, 1.0)}


def test_equal_groups_leave_no_doubt():
  halves = np.array([1.0, 0.0] * 10)
  groups = [str(i // 2) for i in range(20)]
  assert intervals(groups, x=Metric(0.5, halves)) == {"x": (0.5, 0.5)}


def test_right_and_wrong_are_binomial():
  n, right = 400, 120
  found = intervals(
    [str(i) for i in range(n)], x=Metric(0.3, (np.arange(n) < right) * 1.0)
  )
  # How many of n draws are right, each with probability 0.3.
  chances = [math.comb(n, k) * 0.3**k * 0.7 ** (n - k) for k in range(n + 1)]
  below = np.cumsum(chances)
  low, high = (np.searchsorted(below, share) / n for share in (0.025, 0.975))
  assert (low, high) == (0.255, 0.345)
  # Of 1000 draws, the share below a quantile has a standard deviation of
  # sqrt(0.025 x 0.975 / 1000) = 0.005; two of them are 4 of 400 here.
  assert found["x"] == pytest.approx((low, high), abs=4 / 400)


def test_records_of_a_picture_count_as_one():
  once = np.array([1.0, 0, 1, 1, 0, 0, 1, 0])
  names = list("abcdefgh")
  alone = intervals(names, x=Metric(0.5, once))["x"]
  tenfold = Metric(0.5, np.repeat(once, 10))
  together = intervals([name for name in names for _ in range(10)], x=tenfold)
  assert together["x"] == alone
  apart = intervals([str(i) for i in range(80)], x=tenfold)["x"]
  assert apart[1] - apart[0] < 0.5 * (alone[1] - alone[0])


def test_what_is_no_ratio_sees_the_same_draws():
  calls = []

  def ratio(indices):
    calls.append(indices)
    return RIGHT[indices].sum() / WEIGHT[indices].sum()

  metrics = {
    "sums": Metric(0.0, RIGHT, WEIGHT),
    "function": Metric(0.0, resample=ratio),
  }
  found = intervals(GROUPS, bootstrap.RESAMPLE_DRAWS, **metrics)
  assert found["function"] == found["sums"]
  # As many groups as there are, each whole, with repetition.
  sizes = {group: GROUPS.count(group) for group in GROUPS}
  for indices in calls:
    drawn = [GROUPS[i] for i in indices]
    assert sum(drawn.count(g) / sizes[g] for g in sizes) == len(sizes)
    for group in set(drawn):
      of_group = [int(i) for i in indices if GROUPS[i] == group]
      whole = [i for i, name in enumerate(GROUPS) if name == group]
      assert of_group == whole * (len(of_group) // len(whole))


def test_what_is_no_ratio_is_drawn_less_often():
  calls = []
  metric = Metric(0.0, resample=lambda indices: calls.append(0) or 1.0)
  assert intervals(GROUPS, 1000, x=metric) == {"x": (1.0, 1.0)}
  assert len(calls) == bootstrap.RESAMPLE_DRAWS == 200
  assert "200 of metrics that are no ratio" in bootstrap.PROTOCOL


def test_the_scale_of_the_metric():
  plain = intervals(GROUPS, x=Metric(0.0, RIGHT))["x"]
  percent = intervals(GROUPS, x=Metric(0.0, RIGHT, scale=100.0))["x"]
  assert percent == pytest.approx([100 * end for end in plain], rel=1e-14)


def test_the_seed_decides():
  values = np.random.default_rng(0).random(50)
  groups = [str(i) for i in range(50)]
  first, again, other = (
    intervals(groups, seed=seed, x=Metric(0.0, values)) for seed in (0, 0, 1)
  )
  assert first == again != other


def test_no_interval_where_there_is_nothing_to_draw():
  assert intervals(GROUPS, x=Metric(0.5)) == {"x": None}
  same = Metric(0.5, np.array([1.0, 0.0]), resample=lambda indices: 0.5)
  assert intervals(["a", "a"], x=same, y=Metric(1.0)) == {"x": None, "y": None}


def test_draws_without_a_value_are_left_out():
  # Of three groups the first alone has nothing to divide by: 1 draw of 27.
  below = np.array([0.0, 1.0, 1.0])
  assert intervals(list("abc"), x=Metric(1.0, below, below)) == {
    "x": (1.0, 1.0)
  }
  # One in ten: 0.9 ** 10 = 35 % of the draws have none; one in three with two
  # others: 30 %; only more than half is too many.
  rare = np.eye(1, 10)[0]
  assert intervals(list("abcdefghij"), x=Metric(1.0, rare, rare))["x"] == (1, 1)
  never = np.zeros(3)
  assert intervals(list("abc"), x=Metric(1.0, never, never)) == {"x": None}
  nothing = Metric(0.0, resample=lambda indices: math.nan)
  assert intervals(list("abc"), x=nothing) == {"x": None}


def test_a_metric_without_a_number_for_each_record_is_an_error():
  with pytest.raises(ValueError, match="'x' must have a number for each of"):
    intervals(GROUPS, x=Metric(0.5, RIGHT[1:]))
  with pytest.raises(ValueError, match=r"denominators \[10\]"):
    intervals(GROUPS, x=Metric(0.5, RIGHT[1:], WEIGHT[1:]))
  with pytest.raises(ValueError, match="1 draw or more"):
    intervals(GROUPS, 0, x=Metric(0.5, RIGHT))


def test_an_outcome_is_drawn_once():
  calls = []
  metric = Metric(0.0, resample=lambda indices: calls.append(0) or 1.0)
  outcome = made_up.outcome(records("ab"), {"x": metric})
  assert bootstrap.of(outcome) == bootstrap.of(outcome) == {"x": (1.0, 1.0)}
  assert len(calls) == bootstrap.RESAMPLE_DRAWS
