"""Which steps are bad, and that the decision survives a restart."""

import functools
import math

import jax
import numpy as np
import pytest

from kosmos2_jax.training import guard


def _follow(policy, losses, state=None):
  """Judges losses one after the other; returns verdicts and the guard."""
  judge = jax.jit(functools.partial(guard.judge, policy))
  state = guard.fresh() if state is None else state
  verdicts = []
  for loss in losses:
    bad, state, metrics = judge(state, np.float32(loss), np.float32(1.0))
    verdicts.append((bool(bad), {k: float(v) for k, v in metrics.items()}))
  return verdicts, state


def test_only_what_is_not_finite_is_bad_by_default():
  losses = [3.0, math.nan, 3000.0, math.inf, 2.0]
  verdicts, state = _follow(guard.Policy(), losses)
  assert [bad for bad, _ in verdicts] == [False, True, False, True, False]
  assert all(metrics == {"spike": 0.0} for _, metrics in verdicts)
  assert int(state.num_seen) == 3
  assert math.isfinite(float(state.typical_loss))


def test_a_gradient_that_is_not_finite_is_bad():
  found = guard.judge(
    guard.Policy(),
    guard.fresh(),
    jax.numpy.float32(1),
    jax.numpy.float32("inf"),
  )
  assert found[0]


def test_spikes_are_measured_against_what_was_typical():
  policy = guard.Policy(on_nonfinite="skip", spike_factor=2.0)
  # Early on nothing is typical yet.
  verdicts, state = _follow(policy, [4.0] * 10 + [40.0] + [4.0] * 200)
  assert not any(bad for bad, _ in verdicts)
  assert float(state.typical_loss) == pytest.approx(4.0, abs=0.1)
  verdicts, after = _follow(policy, [7.9, 8.4, 100.0, 4.0], state)
  assert [bad for bad, _ in verdicts] == [False, True, True, False]
  assert verdicts[1][1] == {"spike": 1.0, "skipped": 1.0, "stop": 0.0}
  assert int(after.num_skipped) == 2
  assert int(after.skips_in_row) == 0
  # A spike does not make the next one typical.
  assert float(after.typical_loss) < 4.2


def test_too_many_in_a_row_stop_the_run_across_a_restart():
  policy = guard.Policy(on_nonfinite="skip", max_skips=3)
  verdicts, state = _follow(policy, [1.0, math.nan, math.nan])
  again = jax.tree.map(np.asarray, state)  # as a checkpoint has it
  more, _ = _follow(policy, [math.nan, math.nan], again)
  assert [m["stop"] for _, m in verdicts + more] == [0, 0, 0, 0, 1]


def test_the_host_reads_the_decision():
  good = {"loss": 1.0, "grad_norm": 1.0, "spike": 0.0}
  assert guard.check(good, 5, [1, 2]) is None
  skipped = {**good, "loss": math.nan, "skipped": 1.0, "stop": 0.0}
  assert guard.check(skipped, 5, [1, 2]) == (
    "skipped: loss is nan at step 5, on the batch of examples [1, 2]"
  )
  with pytest.raises(FloatingPointError, match="every step of the last ones"):
    guard.check({**skipped, "stop": 1.0}, 5, [1, 2])
  with pytest.raises(
    FloatingPointError, match=r"^loss is 1, a spike, at step 5, on .*\[1, 2\];"
  ):
    guard.check({**good, "spike": 1.0}, 5, [1, 2])


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"on_nonfinite": "hope"}, "on_nonfinite is one of .*'hope'"),
    ({"max_skips": 0}, "max_skips is at least 1; found 0"),
    ({"spike_factor": 0.5}, "spike_factor is 0 or more than 1; found 0.5"),
  ],
)
def test_wrong_options(options, words):
  with pytest.raises(ValueError, match=words):
    guard.Policy(**options)
