"""Which records are shown."""

import math

import numpy as np
import pytest

from kosmos2_jax.evals import cases
from kosmos2_jax.evals.protocol import Record, Scores


def choose(quality, count=2, seed=0, groups=None):
  n = len(quality)
  groups = groups or [str(i) for i in range(n)]
  records = [Record(str(i), groups[i], "", "", "") for i in range(n)]
  quality = None if None in quality else np.array(quality, np.float64)
  return cases.choose(Scores(n, {}, quality=quality), records, count, seed)


def test_the_best_and_the_worst_from_the_far_ends():
  found = choose([0.5, 0.9, 0.1, 0.7, 0.3, 1.0])
  assert list(found) == ["worst", "best", "random"]
  assert found["best"] == (5, 1)
  assert found["worst"] == (2, 4)
  assert set(found["random"]) == {0, 3}


def test_ties_are_in_order():
  found = choose([1, 0, 1, 0, 1, 0, 1])
  assert found["best"] == (0, 2)
  assert found["worst"] == (1, 3)


def test_of_ties_about_one_picture_the_first_is_shown():
  found = choose([1, 1, 1, 0, 0, 0, 1], groups=list("aabccda"))
  assert found["best"] == (0, 2)
  assert found["worst"] == (3, 5)
  # Better ones come first all the same.
  found = choose([1, 0.9, 0.5, 0, 0, 0], groups=list("aabbbb"))
  assert found["best"] == (0, 1)
  assert found["worst"] == (3, 4)


@pytest.mark.parametrize("n", range(1, 12))
def test_no_record_is_shown_twice(n):
  found = choose([i / n for i in range(n)], count=3)
  shown = [index for those in found.values() for index in those]
  assert len(shown) == len(set(shown)) == min(n, 9)
  assert all(1 <= len(those) <= 3 for those in found.values())


def test_few_records():
  assert choose([0.3]) == {"random": (0,)}
  assert choose([0.3, 0.2]) == {"worst": (1,), "best": (0,)}
  assert choose([0.3, 0.2, 0.1]) == {"worst": (2, 1), "best": (0,)}


def test_without_quality_or_with_one_alone_there_is_no_best():
  assert list(choose([None] * 9)) == ["random"]
  assert list(choose([1.0] * 9)) == ["random"]
  assert choose([None] * 9) == choose([1.0] * 9)


def test_what_has_no_quality_is_neither_good_nor_bad():
  found = choose([math.nan, 0.2, math.nan, 0.1], count=1)
  assert found["best"] == (1,)
  assert found["worst"] == (3,)
  assert set(found["random"]) <= {0, 2}


def test_the_seed_decides_what_is_random():
  first, again, other = (choose([None] * 100, 5, seed) for seed in (0, 0, 1))
  assert first == again != other


def test_random_ones_stay_when_others_become_best():
  quality = np.random.default_rng(0).random(1000)
  before = choose(quality.tolist(), 4)
  after = choose((1 - quality**2 + 0.1 * quality).tolist(), 4)
  assert before["random"] == after["random"]
  assert set(before["best"]).isdisjoint(after["best"])


def test_none_and_a_quality_too_few():
  assert choose([0.1, 0.2], count=0) == {}
  records = [Record("a", "a", "", "", "")]
  with pytest.raises(ValueError, match="a quality for each of the 1 records"):
    cases.choose(Scores(1, {}, quality=np.zeros(2)), records, 1, 0)
