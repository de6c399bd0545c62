"""Places and labels on an axis."""

import math
from typing import NamedTuple

# The largest over the smallest value from which on a scale is logarithmic.
LOG_RATIO = 10.0
_MOST_TICKS = 6


class Axis(NamedTuple):
  """An axis.

  Attributes:
    low: value at its beginning.
    high: value at its end.
    is_log: whether equal distances are equal ratios.
    ticks: values with a label, ascending.
    labels: one for each.
  """

  low: float
  high: float
  is_log: bool
  ticks: tuple[float, ...]
  labels: tuple[str, ...]

  def place(self, value: float) -> float:
    """Where a value is, from 0 at the beginning to 1 at the end."""
    low, high = self.low, self.high
    if self.is_log:
      low, high, value = (math.log(v) for v in (low, high, value))
    return (value - low) / (high - low)


def linear(low: float, high: float) -> Axis:
  """A linear axis from at most `low` to at least `high`, with round ends.

  It begins at 0 where that costs less than half of it, or all values are one.
  """
  if 0 < low <= high / 2:
    low = 0.0
  if low == high:
    low, high = min(low, 0.0), max(high, 0.0) or (1.0 if low == 0 else 0.0)
  step = _round_step((high - low) / (_MOST_TICKS - 1))
  first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
  ticks = tuple(step * i for i in range(first, last + 1))
  return Axis(ticks[0], ticks[-1], False, ticks, _labels(ticks, step))


def logarithmic(low: float, high: float) -> Axis:
  """A logarithmic axis; `low` is above 0.

  It has ticks at 1, 2 and 5 times powers of ten, or if these are many at
  powers of ten.
  """
  begin, end = _round_ratio(low, -1), _round_ratio(high, 1)
  if begin == end:
    end *= 10
  powers = range(_power(begin), _power(end) + 1)
  fine = [factor * 10.0**p for p in powers for factor in (1, 2, 5)]
  ticks = _within(fine, begin, end)
  if len(ticks) > _MOST_TICKS:
    every = -(-len(powers) // _MOST_TICKS)
    ticks = _within([10.0**p for p in powers[::every]], begin, end)
  return Axis(begin, end, True, tuple(ticks), tuple(map(compact, ticks)))


def fitting(low: float, high: float, *, may_be_log: bool) -> Axis:
  """A logarithmic axis where values differ widely, else a linear one."""
  if may_be_log and low > 0 and high / low >= LOG_RATIO:
    return logarithmic(low, high)
  return linear(low, high)


def steps(last: int) -> Axis:
  """From step 0 to `last`, which need not be round."""
  last = max(last, 1)
  step = max(_round_step(last / 4), 1.0)
  ticks = tuple(step * i for i in range(math.floor(last / step) + 1))
  return Axis(0.0, float(last), False, ticks, _labels(ticks, step))


def compact(value: float) -> str:
  """A number in few characters: 0.05, 1,500, 25k, 1.5M, 2e-6."""
  if value and (abs(value) < 1e-3 or abs(value) >= 1e15):
    mantissa, _, power = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(power)}"
  for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
    if abs(value) >= size:
      return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
  if abs(value) >= 1000:
    return f"{value:,.0f}"
  return f"{value:.4g}"


def _labels(ticks: tuple[float, ...], step: float) -> tuple[str, ...]:
  """As many decimals as the step has, on all of them."""
  largest = max(map(abs, ticks))
  if largest >= 1e4 or step < 1e-4:
    # Not a rounding error of the multiplication.
    return tuple(compact(0.0 if abs(t) < step / 2 else t) for t in ticks)
  decimals = max(0, -math.floor(math.log10(step) + 1e-9))
  if round(step, decimals) != round(step, decimals + 2):
    decimals += 1
  return tuple(f"{t + 0.0:,.{decimals}f}" for t in ticks)


def _round_step(least: float) -> float:
  """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below."""
  power = 10.0 ** math.floor(math.log10(least))
  for factor in (1, 2, 2.5, 5, 10):
    if factor * power >= least * (1 - 1e-9):
      return factor * power
  raise AssertionError("ten times a power of ten is the next one")


def _power(value: float) -> int:
  return math.floor(math.log10(value) + 1e-9)


def _round_ratio(value: float, sign: int) -> float:
  """The nearest 1, 2 or 5 times a power of ten not above, or not below."""
  power = _power(value)
  found = [f * 10.0 ** (power + p) for p in (-1, 0, 1) for f in (1, 2, 5)]
  if sign < 0:
    return max(v for v in found if v <= value * (1 + 1e-9))
  return min(v for v in found if v >= value * (1 - 1e-9))


def _within(ticks: list[float], low: float, high: float) -> list[float]:
  return [t for t in ticks if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
