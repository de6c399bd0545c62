"""Where parameters start.

The defaults are the original system's (PyTorch's, and the gains of Magneto's
sub-LN), so a model trained from scratch starts where the original would.
`sincos_2d` is the common code of places for small models that do not start
from pretrained weights.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def torch_uniform(fan_in: int, gain: float = 1.0) -> Callable[..., Array]:
  """PyTorch's default for Linear weights and biases, times `gain`.

  U(-1/sqrt(fan_in), 1/sqrt(fan_in)); PyTorch reaches it for weights through
  Kaiming-uniform with a = sqrt(5) and uses the same bound for biases.

  Args:
    fan_in: number of inputs of the layer (not of the bias).
    gain: factor on the bound; sub-LN multiplies weights *and* biases.

  Returns:
    An initialiser `(key, shape, dtype) -> array`.
  """
  bound = gain / math.sqrt(fan_in)

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def xavier_uniform(
  fan_in: int, fan_out: int, gain: float = 1.0
) -> Callable[..., Array]:
  """Glorot's uniform initialiser with a gain, as fairseq's attention uses."""
  bound = gain * math.sqrt(6.0 / (fan_in + fan_out))

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def sub_ln_gain(depth: int) -> float:
  """Magneto's decoder gain sqrt(ln(2·depth)) for value, output and MLP."""
  return math.sqrt(math.log(2 * depth))


def sincos_2d(
  width: int, num_rows: int, num_columns: int
) -> Float[Array, "cells width"]:
  """2-D sinusoids of the cells of a grid, for models trained from scratch.

  A quarter of the channels each: sin and cos of x, sin and cos of y; the
  wavelengths form a geometric series from two cells to four grids. Grids of
  different resolution share the same code for the same place of the picture,
  which is what lets location tokens and patches speak of one space.

  Args:
    width: channels; divisible by 4.
    num_rows: cells from top to bottom.
    num_columns: cells from left to right.

  Returns:
    float32 [num_rows · num_columns, width], row-major, entries in [-1, 1].

  Raises:
    ValueError: if `width` is not divisible by 4.
  """
  if width % 4:
    raise ValueError(f"2-D sinusoids need a width divisible by 4; got {width}.")
  quarter = width // 4
  # In units of the picture's side; half a grid of 16 down to four sides.
  wavelengths = jnp.geomspace(4.0, 1.0 / 8.0, quarter)
  omega = 2 * math.pi / wavelengths
  y, x = jnp.meshgrid(
    (jnp.arange(num_rows) + 0.5) / num_rows,
    (jnp.arange(num_columns) + 0.5) / num_columns,
    indexing="ij",
  )
  angles_x, angles_y = (v.reshape(-1, 1) * omega for v in (x, y))
  return jnp.concatenate(
    [
      jnp.sin(angles_x),
      jnp.cos(angles_x),
      jnp.sin(angles_y),
      jnp.cos(angles_y),
    ],
    axis=-1,
  )
