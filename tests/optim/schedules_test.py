"""Learning rates, against numbers computed by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.optim import schedules

PUBLISHED = {"learning_rate": 2e-4, "num_steps": 60_000, "warmup_steps": 375}


@pytest.mark.parametrize(
  ("finished", "rate"),
  [
    (0, 0.0),  # the first update moves nothing
    (1, 2e-4 / 375),
    (187, 2e-4 * 187 / 375),
    (375, 2e-4),
    (376, 2e-4 * (1 - 1 / 59_625)),
    (30_000, 2e-4 * (1 - 29_625 / 59_625)),
    (59_999, 2e-4 / 59_625),
    (60_000, 0.0),
    (70_000, 0.0),
  ],
)
def test_published_schedule(finished, rate):
  schedule = schedules.make_schedule(**PUBLISHED)
  # float32 near the end of the run: t has 16 bits, 1 - t / n keeps 8 digits
  # of the whole, so the last step is known to about 1e-7 of the peak.
  np.testing.assert_allclose(schedule(finished), rate, rtol=1e-6, atol=3e-11)


def test_other_schedules():
  cosine = schedules.make_schedule(
    learning_rate=1.0,
    num_steps=110,
    warmup_steps=10,
    schedule="cosine",
    end_learning_rate=0.1,
  )
  expected = {5: 0.5, 10: 1.0, 60: 0.55, 110: 0.1, 200: 0.1}
  expected[35] = 0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2
  for step, rate in expected.items():
    np.testing.assert_allclose(cosine(step), rate, rtol=1e-6)
  constant = schedules.make_schedule(
    learning_rate=0.5, num_steps=10, warmup_steps=2, schedule="constant"
  )
  assert [float(constant(t)) for t in (0, 1, 2, 9)] == [0, 0.25, 0.5, 0.5]
  square = schedules.make_schedule(
    learning_rate=1.0, num_steps=10, warmup_steps=0, power=2.0
  )
  np.testing.assert_allclose(square(0), 1.0)
  np.testing.assert_allclose(square(5), 0.25)


def test_rates_by_hand():
  def rates(*steps, **options):
    schedule = schedules.make_schedule(learning_rate=0.5, **options)
    return [float(schedule(t)) for t in steps]

  # Linear is what a polynomial of power 1 is, whatever the power says.
  found = rates(
    5, 10, 35, 110, num_steps=110, warmup_steps=10, schedule="linear", power=3.0
  )
  np.testing.assert_allclose(found, [0.25, 0.5, 0.375, 0.0], rtol=1e-6)
  # From 1/2 to 1/32 in four times a half.
  found = rates(
    0,
    10,
    20,
    40,
    50,
    num_steps=40,
    schedule="exponential",
    end_learning_rate=1 / 32,
  )
  wanted = [1 / 2, 1 / 4, 1 / 8, 1 / 32, 1 / 32]
  np.testing.assert_allclose(found, wanted, rtol=1e-6)
  # p · sqrt(w / t), for ever, but not below the end.
  rsqrt = {"num_steps": 100, "schedule": "rsqrt"}
  found = rates(50, 100, 400, 10_000, warmup_steps=100, **rsqrt)
  np.testing.assert_allclose(found, [0.25, 0.5, 0.25, 0.05], rtol=1e-6)
  found = rates(0, 30_000, 10**6, end_learning_rate=0.1, **rsqrt)
  np.testing.assert_allclose(found, [0.5, 0.25, 0.1], rtol=1e-6)
  # Stable until the last fifth of 100.
  wsd = {"num_steps": 100, "warmup_steps": 10, "schedule": "wsd"}
  found = rates(
    5, 10, 80, 90, 100, 120, decay_fraction=0.2, end_learning_rate=0.1, **wsd
  )
  np.testing.assert_allclose(found, [0.25, 0.5, 0.5, 0.3, 0.1, 0.1], rtol=1e-6)
  # As many as the decay would have are warm-up, so it begins behind it.
  found = rates(10, 55, 100, decay_fraction=1.0, power=2.0, **wsd)
  np.testing.assert_allclose(found, [0.5, 0.125, 0.0], rtol=1e-6)


def test_wrong_schedules_are_told():
  def make(**options):
    given = {"learning_rate": 1.0, "num_steps": 10} | options
    return schedules.make_schedule(**given)

  with pytest.raises(ValueError, match=r"is one of \('polynomial'.*'steps'"):
    make(schedule="steps")
  with pytest.raises(ValueError, match=r"between 0 and num_steps \(10\)"):
    make(warmup_steps=11)
  with pytest.raises(ValueError, match=r"end_learning_rate.*above.*found 0\.0"):
    make(schedule="exponential")
  with pytest.raises(ValueError, match=r"decay_fraction.*found 1\.5"):
    make(schedule="wsd", decay_fraction=1.5)


def test_schedule_under_jit_is_the_same():
  schedule = schedules.make_schedule(**PUBLISHED)
  assert jax.jit(schedule)(jnp.int32(500)) == schedule(500)
