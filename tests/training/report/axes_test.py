"""Round ticks that hold all values."""

import pytest

from kosmos2_jax.training.report import axes


@pytest.mark.parametrize(
  ("low", "high", "labels"),
  [
    (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    (0.1, 0.93, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    (0.71, 0.78, ["0.70", "0.72", "0.74", "0.76", "0.78"]),
    (1.23, 1.42, ["1.20", "1.25", "1.30", "1.35", "1.40", "1.45"]),
    (2100.0, 7800.0, ["0", "2,000", "4,000", "6,000", "8,000"]),
    (0.0, 2e-3, ["0.0000", "0.0005", "0.0010", "0.0015", "0.0020"]),
    (0.0, 2e-4, ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]),
    (0.0, 60e3, ["0", "20k", "40k", "60k"]),
    # Of one value, from nothing on.
    (0.5, 0.5, ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
    (0.0, 0.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    (-3.0, -3.0, ["-3", "-2", "-1", "0"]),
  ],
)  # fmt: skip
def test_linear_ticks(low, high, labels):
  axis = axes.linear(low, high)
  assert list(axis.labels) == labels
  assert axis.low <= low and high <= axis.high
  assert (axis.place(axis.low), axis.place(axis.high)) == (0.0, 1.0)


@pytest.mark.parametrize(
  ("low", "high", "labels"),
  [
    (0.31, 6.3, ["0.2", "0.5", "1", "2", "5", "10"]),
    (1e-3, 1e3, ["0.001", "0.1", "10", "1,000"]),
    (2.0, 2.0, ["2", "5", "10", "20"]),
    (3e-12, 4.0, ["1e-9", "1e-6", "0.001", "1"]),
  ],
)  # fmt: skip
def test_logarithmic_ticks(low, high, labels):
  axis = axes.logarithmic(low, high)
  assert list(axis.labels) == labels
  assert axis.low <= low and high <= axis.high
  middle = (axis.low * axis.high) ** 0.5
  assert axis.place(middle) == pytest.approx(0.5)


def test_a_log_scale_where_it_helps():
  def is_log(low, high, may_be_log=True):
    return axes.fitting(low, high, may_be_log=may_be_log).is_log

  assert is_log(0.3, 6.0)
  assert not is_log(1.0, 6.0)
  assert not is_log(0.0, 6.0)
  assert not is_log(-1.0, 6.0)
  assert not is_log(0.3, 6.0, False)


@pytest.mark.parametrize(
  ("last", "labels"),
  [
    (0, ["0", "1"]),
    (3, ["0", "1", "2", "3"]),
    (120, ["0", "50", "100"]),
    (3200, ["0", "1,000", "2,000", "3,000"]),
    (60_000, ["0", "20k", "40k", "60k"]),
    (1_500_000, ["0", "500k", "1M", "1.5M"]),
  ],
)
def test_steps(last, labels):
  axis = axes.steps(last)
  assert list(axis.labels) == labels
  # Not round: the curves reach the end of the paper.
  assert axis.high == max(last, 1)


@pytest.mark.parametrize(
  ("value", "text"),
  [
    (0.0, "0"),
    (5e-4, "5e-4"),
    (1.5e-10, "1.5e-10"),
    (0.05, "0.05"),
    (1234.0, "1,234"),
    (12_500.0, "12.5k"),
    (2_500_000.0, "2.5M"),
    (3e9, "3G"),
    (-2e4, "-20k"),
  ],
)
def test_numbers_in_few_characters(value, text):
  assert axes.compact(value) == text
