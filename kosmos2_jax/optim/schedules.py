"""Learning rates by name, as functions of the updates already made."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

# Updates in which "rsqrt" falls to 1 / sqrt(2) where there is no warm-up.
RSQRT_TIMESCALE = 10_000


def _polynomial(left, start, end, power):
  return end + (start - end) * left**power


def _linear(left, start, end, power):
  del power
  return end + (start - end) * left


def _cosine(left, start, end, power):
  del power
  return end + (start - end) * 0.5 * (1.0 - jnp.cos(jnp.pi * left))


def _exponential(left, start, end, power):
  del power
  return start * (end / start) ** (1.0 - left)


# The learning rate where `left` of the decay, from 1 to 0, is still to come.
DECAYS: dict[str, Callable[..., Float[Array, ""]]] = {
  "polynomial": _polynomial,
  "linear": _linear,
  "cosine": _cosine,
  "exponential": _exponential,
  "wsd": _polynomial,
}
SCHEDULES = (*DECAYS, "rsqrt", "constant")


def make_schedule(
  *,
  learning_rate: float,
  num_steps: int,
  warmup_steps: int = 0,
  schedule: str = "polynomial",
  power: float = 1.0,
  end_learning_rate: float = 0.0,
  decay_fraction: float = 0.1,
) -> optax.Schedule:
  """The learning rate by the number of updates already made.

  With t = finished updates, w = `warmup_steps`, n = `num_steps`, the peak
  p = `learning_rate`, the end e = `end_learning_rate` and d = w, but for "wsd"
  the later of w and n - `decay_fraction` · n:

    t <= w       p · t / w, so the first update runs with 0
    w < t <= d   p
    polynomial   e + (p - e) · (1 - (t - d) / (n - d)) ^ power
    linear       the same with power 1
    cosine       e + (p - e) · (1 + cos(pi (t - d) / (n - d))) / 2
    exponential  p · (e / p) ^ ((t - d) / (n - d)); e is above 0
    wsd          as polynomial: warm-up, stable, decay
    t >= n       e

  and without an end, so that a run can be made longer at any time:

    rsqrt        p / sqrt(1 + (t - w) / k), at least e, with k = w (so it is
                 p · sqrt(w / t)), or 10,000 without a warm-up
    constant     p

  Returns:
    A function from t (int) to a float32 scalar.

  Raises:
    ValueError: for an unknown schedule, a warm-up longer than the run, or a
      number that the schedule cannot use.
  """
  if schedule not in SCHEDULES:
    raise ValueError(
      f"optimizer.schedule is one of {SCHEDULES}; found {schedule!r}."
    )
  if not 0 <= warmup_steps <= num_steps:
    raise ValueError(
      f"optimizer.warmup_steps must lie between 0 and num_steps ({num_steps});"
      f" found {warmup_steps}."
    )
  if schedule == "exponential" and not end_learning_rate > 0:
    raise ValueError(
      'optimizer.schedule "exponential" never reaches 0: set'
      " optimizer.end_learning_rate to a rate above it; found"
      f" {end_learning_rate}."
    )
  if schedule == "wsd" and not 0 < decay_fraction <= 1:
    raise ValueError(
      "optimizer.decay_fraction is the part of the run in which the rate"
      f" decays, above 0 and at most 1; found {decay_fraction}."
    )
  peak, end = learning_rate, end_learning_rate
  begin = warmup_steps
  if schedule == "wsd":
    begin = max(begin, num_steps - round(decay_fraction * num_steps))

  def after_warmup(t):
    if schedule == "constant":
      return jnp.full_like(t, peak)
    if schedule == "rsqrt":
      scale = warmup_steps or RSQRT_TIMESCALE
      since = jnp.maximum(t - warmup_steps, 0.0)
      return jnp.maximum(peak * (1.0 + since / scale) ** -0.5, end)
    left = 1.0 - jnp.clip((t - begin) / max(num_steps - begin, 1), 0.0, 1.0)
    return DECAYS[schedule](left, peak, end, power)

  def rate(count):
    t = jnp.asarray(count, jnp.float32)
    decayed = after_warmup(t)
    if not warmup_steps:
      return decayed
    return jnp.where(t <= warmup_steps, peak * t / warmup_steps, decayed)

  return rate
