"""The exponential moving average of parameters."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree


def make_ema_decay(decay: float, warmup: bool) -> optax.Schedule | None:
  """How much of the average stays, by the number of updates before this one.

  With `warmup` it is min(`decay`, (1 + t) / (10 + t)), as in TensorFlow's
  ExponentialMovingAverage: what was random at the beginning is soon forgotten.

  Args:
    decay: below 1, for example 0.9999; 0 for no average.
    warmup: if the average begins short.

  Returns:
    A function from t (int) to a float32 scalar; None for no average.

  Raises:
    ValueError: for a decay that is not from 0 to below 1.
  """
  if not 0 <= decay < 1:
    raise ValueError(
      "optimizer.ema_decay is the part of the average that each update keeps,"
      f" from 0 (no average) to below 1; found {decay}."
    )
  if not decay:
    return None

  def keep(count):
    t = jnp.asarray(count, jnp.float32)
    long = jnp.full_like(t, decay)
    return jnp.minimum(long, (1.0 + t) / (10.0 + t)) if warmup else long

  return keep


def average(
  ema: PyTree, params: PyTree, keep: Float[Array, ""] | float
) -> PyTree:
  """keep · ema + (1 - keep) · params, written so that equal stays equal."""
  return jax.tree.map(lambda old, new: new + keep * (old - new), ema, params)
