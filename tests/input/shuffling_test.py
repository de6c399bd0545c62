"""Permutations by index and random numbers by name."""

import collections

import numpy as np
import pytest

from kosmos2_jax.input import shuffling


@pytest.mark.parametrize("length", [1, 2, 3, 10, 255, 256, 257, 5000])
def test_every_number_comes_once(length):
  result = shuffling.permute(np.arange(length), length=length, key=(0, "a", 1))
  assert sorted(result.tolist()) == list(range(length))


def test_positions_are_independent_of_each_other():
  key = (3, "kind", "epoch", 0)
  whole = shuffling.permute(np.arange(1000), length=1000, key=key)
  some = np.array([999, 0, 500, 500, 17])
  np.testing.assert_array_equal(
    shuffling.permute(some, length=1000, key=key), whole[some]
  )
  assert shuffling.permute(some[:0], length=1000, key=key).size == 0


def test_every_part_of_the_key_matters():
  base = (3, "kind", "epoch", 0)
  others = [(4, *base[1:]), (3, "other", *base[2:]), (*base[:3], 1)]
  first = shuffling.permute(np.arange(1000), length=1000, key=base)
  for other in others:
    second = shuffling.permute(np.arange(1000), length=1000, key=other)
    # Two random permutations of 1,000 agree in one place, give or take one.
    assert np.sum(first == second) < 8


def test_streams_of_earlier_versions_stay_the_same():
  result = shuffling.permute(np.arange(8), length=8, key=(0, "kind", 0))
  assert result.tolist() == [6, 4, 7, 5, 1, 2, 3, 0]
  assert shuffling.stable_key(0, "kind", "example", 5) == 2083703364396450853
  rng = shuffling.example_random(0, "kind", "example", 5)
  assert rng.random() == 0.9854992973261959


@pytest.mark.parametrize("length", [5, 40])
def test_each_place_is_equally_likely(length):
  keys = 2000
  counts = np.zeros([length, length])
  for key in range(keys):
    result = shuffling.permute(np.arange(length), length=length, key=(key,))
    counts[np.arange(length), result] += 1
  # Counts are about normal; 5 deviations for the largest of 1,600.
  expected = keys / length
  assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_neighbours_are_torn_apart():
  result = shuffling.permute(np.arange(4096), length=4096, key=(1,))
  steps = collections.Counter(np.diff(result).tolist())
  assert steps.most_common(1)[0][1] < 12


def test_positions_outside_are_an_error():
  with pytest.raises(ValueError, match=r"0\.\.9, found 3\.\.10"):
    shuffling.permute(np.array([3, 10]), length=10, key=())
  with pytest.raises(ValueError, match=r"found -1\.\.-1"):
    shuffling.permute(np.array([-1]), length=10, key=())


def test_shuffled_keeps_all_and_depends_on_the_rng():
  items = list("abcdefghij")
  first = shuffling.shuffled(items, shuffling.example_random(1))
  assert first == shuffling.shuffled(items, shuffling.example_random(1))
  assert first != shuffling.shuffled(items, shuffling.example_random(2))
  assert sorted(first) == items
