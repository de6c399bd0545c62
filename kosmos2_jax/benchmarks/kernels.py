"""Attention's kernels beside its written-out form, on the device that is here.

Tests compare them on a CPU, where a kernel runs in an interpreter or is
replaced; this is for the hardware they are written for.
"""

import functools
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kosmos2_jax.models import attention
from kosmos2_jax.models.masks import CausalMask

# Largest difference over the largest value (at least 1): of sums of float32 in
# another order, and of numbers of 8 bits.
TOLERANCES = {"float32": 2e-5, "bfloat16": 3e-2}
WARM_UP = 3


class KernelReport(NamedTuple):
  """One implementation at one shape.

  Attributes:
    implementation: see `attention.IMPLEMENTATIONS`.
    differences: from "xla", of what comes out and of the gradients of
      queries, keys and values; over the largest value, which counts as 1 at
      least.
    same: whether all are finite and within `TOLERANCES`.
    seconds: of a forward and backward pass, in each repetition.
    reference_seconds: the same of "xla".
    temp_bytes: that the pass needs, as the compiler says.
    reference_temp_bytes: the same of "xla".
  """

  implementation: str
  differences: dict[str, float]
  same: bool
  seconds: list[float]
  reference_seconds: list[float]
  temp_bytes: int
  reference_temp_bytes: int

  @property
  def ratio(self) -> float:
    """How many times faster than "xla", by medians."""
    reference = statistics.median(self.reference_seconds)
    return reference / statistics.median(self.seconds)


def measure_kernel(
  implementation: str,
  *,
  rows: int,
  length: int,
  heads: int,
  width: int,
  dtype: str = "bfloat16",
  repeats: int = 5,
  num_passes: int = 10,
) -> KernelReport:
  """Values, gradients, time and memory of a kernel, and of "xla" by turns.

  Args:
    implementation: see `attention.IMPLEMENTATIONS`.
    rows: B.
    length: T.
    heads: N.
    width: H, channels of a head.
    dtype: of queries, keys and values.
    repeats: repetitions.
    num_passes: forward and backward passes in each.
  """
  arrays, ids = make_inputs(rows, length, heads, width, dtype)
  inputs = (*arrays, ids)
  names = (implementation, "xla")
  compiled = {name: _compile(name, inputs) for name in names}
  found, reference = (compiled[name](*inputs) for name in names)
  differences = {
    name: _difference(ours, theirs)
    for name, ours, theirs in zip(
      ("output", "query", "key", "value"), found, reference, strict=True
    )
  }
  seconds = {name: [] for name in names}
  for repeat in range(1 + repeats):
    for name in names[:: -1 if repeat % 2 else 1]:
      passes = num_passes if repeat else WARM_UP
      started = time.perf_counter()
      for _ in range(passes):
        last = compiled[name](*inputs)
      jax.block_until_ready(last)
      seconds[name].append((time.perf_counter() - started) / passes)
  temp = {
    name: one.memory_analysis().temp_size_in_bytes
    for name, one in compiled.items()
  }
  return KernelReport(
    implementation,
    differences,
    # False for NaN, too.
    all(value <= TOLERANCES[dtype] for value in differences.values()),
    seconds[implementation][1:],
    seconds["xla"][1:],
    temp[implementation],
    temp["xla"],
  )


def make_inputs(
  rows: int, length: int, heads: int, width: int, dtype: str = "float32"
) -> tuple[list[jax.Array], jax.Array]:
  """Queries, keys, values and weights of what comes out; and segments.

  Rows are packed segments, divided differently in each, and padding behind
  them; the first is padding alone.

  Returns:
    Four arrays [rows, length, heads, width] of `dtype`, normal, and segment
    ids [rows, length], int32.
  """
  keys = jax.random.split(jax.random.key(0), 4)
  shape = (rows, length, heads, width)
  arrays = [jax.random.normal(key, shape).astype(dtype) for key in keys]
  cuts = np.random.default_rng(0).integers(1, length, (rows, 3))
  cuts.sort(axis=1)
  ids = (np.arange(length) >= cuts[:, :2, None]).sum(1) + 1
  ids[np.arange(length) >= cuts[:, 2:]] = 0
  ids[0] = 0
  return arrays, jnp.asarray(ids, jnp.int32)


def _compile(name: str, inputs: Any) -> jax.stages.Compiled:
  """What comes out and the gradients, as one program."""

  @functools.partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
  def derive(query, key, value, weights, ids):
    out = attention.attend(
      query, key, value, CausalMask(ids), implementation=name
    )
    wide = out.astype(jnp.float32) * weights.astype(jnp.float32)
    return wide.sum(), out

  def run(*inputs):
    grads, out = derive(*inputs)
    return out, *grads

  return jax.jit(run).lower(*inputs).compile()


def _difference(ours: jax.Array, theirs: jax.Array) -> float:
  ours, theirs = (np.asarray(x, np.float32) for x in (ours, theirs))
  return float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))
