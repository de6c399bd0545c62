"""Steps that would do harm: found in the compiled step, skipped or stopped at.

What is decided is a function of the step's own loss and gradient and of a few
numbers that checkpoints hold (`Guard`), so a run that was stopped decides as
one that was not.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

POLICIES = ("stop", "skip")
# Weight of the past in the typical loss: it forgets in about 50 steps.
_DECAY = 0.98
# Steps before a loss can be a spike: the typical one has to be known.
_LEARNING_STEPS = 20


@flax.struct.dataclass
class Guard:
  """What steps before say about the next one; all scalars.

  The leaves are arrays, or ShapeDtypeStructs, or shardings of them.

  Attributes:
    typical_loss: float32, decaying mean of the losses of steps that counted.
    num_seen: int32, how many of them.
    num_skipped: int32, steps skipped so far.
    skips_in_row: int32, the last of them without a good one between.
  """

  typical_loss: Any
  num_seen: Any
  num_skipped: Any
  skips_in_row: Any


@dataclasses.dataclass(frozen=True)
class Policy:
  """What to do about a step whose loss or gradient is not finite, or a spike.

  Attributes:
    on_nonfinite: "stop": the run ends; "skip": the step changes nothing but
      the number of steps, and the run goes on. Holds for spikes, too.
    max_skips: more skipped steps in a row than these end the run.
    spike_factor: a loss above this times the typical one is a spike; 0: none
      is.

  Raises:
    ValueError: for a value that is none of these.
  """

  on_nonfinite: str = "stop"
  max_skips: int = 10
  spike_factor: float = 0.0

  def __post_init__(self):
    if self.on_nonfinite not in POLICIES:
      raise ValueError(
        f"on_nonfinite is one of {POLICIES}; found {self.on_nonfinite!r}."
      )
    if self.max_skips < 1:
      raise ValueError(f"max_skips is at least 1; found {self.max_skips}.")
    if self.spike_factor and self.spike_factor <= 1:
      raise ValueError(
        f"spike_factor is 0 or more than 1; found {self.spike_factor}."
      )

  @property
  def skips(self) -> bool:
    """Whether a bad step is skipped."""
    return self.on_nonfinite == "skip"


# As the config names them.
FIELDS = tuple(field.name for field in dataclasses.fields(Policy))


def fresh() -> Guard:
  """Before the first step."""
  return Guard(
    jnp.zeros([], jnp.float32), *(jnp.zeros([], jnp.int32) for _ in range(3))
  )


def fresh_like(abstract: Guard | None) -> Guard | None:
  """A fresh one, placed as `abstract` says; None where that is None."""
  if abstract is None:
    return None
  return jax.tree.map(
    lambda leaf, place: jax.device_put(leaf, place.sharding), fresh(), abstract
  )


def judge(
  policy: Policy,
  guard: Guard,
  loss: Float[Array, ""],
  grad_norm: Float[Array, ""],
) -> tuple[Bool[Array, ""], Guard, dict[str, Float[Array, ""]]]:
  """Judges a step; runs inside it.

  Args:
    policy: what counts as bad.
    guard: from the step before.
    loss: of this step.
    grad_norm: of this step.

  Returns:
    Whether the step is bad, the guard for the next one, and metrics: `spike`
    (1 or 0); with the policy "skip" also `skipped`, and `stop` where there
    were too many in a row.
  """
  finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
  spike = jnp.zeros([], bool)
  if policy.spike_factor:
    known = guard.num_seen >= _LEARNING_STEPS
    spike = known & (loss > policy.spike_factor * guard.typical_loss)
  bad = ~finite | spike
  old = jnp.where(guard.num_seen == 0, loss, guard.typical_loss)
  in_row = jnp.where(bad, guard.skips_in_row + 1, 0)
  new = Guard(
    jnp.where(bad, guard.typical_loss, _DECAY * old + (1 - _DECAY) * loss),
    guard.num_seen + ~bad,
    guard.num_skipped + bad,
    in_row,
  )
  found = {"spike": spike}
  if policy.skips:
    found |= {"skipped": bad, "stop": in_row > policy.max_skips}
  return bad, new, {key: v.astype(jnp.float32) for key, v in found.items()}


def choose(bad: Bool[Array, ""], old: PyTree, new: PyTree) -> PyTree:
  """The old values where the step was bad, else the new ones."""
  return jax.tree.map(lambda a, b: jnp.where(bad, a, b), old, new)


def check(
  metrics: Mapping[str, float], step: int, example_index: Sequence[int]
) -> str | None:
  """Reads on the host what the step decided.

  Args:
    metrics: of the step, fetched.
    step: its number.
    example_index: of its batch.

  Returns:
    None for a good step; one line about a skipped one.

  Raises:
    FloatingPointError: if the run has to stop, naming the examples.
  """
  bad = [k for k in ("loss", "grad_norm") if not math.isfinite(metrics[k])]
  skipped = metrics.get("skipped", 0.0) > 0
  if not (bad or skipped or metrics.get("spike", 0.0) > 0):
    return None
  what = f"{(bad or ['loss'])[0]} is {metrics[(bad or ['loss'])[0]]:.6g}"
  what += "" if bad else ", a spike,"
  where = f"at step {step}, on the batch of examples {list(example_index)}"
  if skipped and not metrics["stop"]:
    return f"skipped: {what} {where}"
  many = " and every step of the last ones was skipped" if skipped else ""
  raise FloatingPointError(
    f"{what} {where}{many}; look at them with tools.show_data, or lower"
    " optimizer.learning_rate or optimizer.clip_norm. The newest checkpoint"
    " is from before."
  )
