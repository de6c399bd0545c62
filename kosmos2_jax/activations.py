"""Where activations live on a mesh: one table, applied where they are made.

The mesh is read from the context of the trace (`jax.sharding.set_mesh`, or
`use_abstract_mesh` inside of a compiled function, as `training.step` does).
Without one nothing is asked for, so models run on one device as ever.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

# Axes of the mesh along which rows of a batch are cut.
ROWS = ("data", "fsdp")

# By name: the dims (see `batch`) and the axes of the mesh for each of them.
ACTIVATION_RULES: dict[str, P] = {
  "pixels": P(ROWS, None, None, None),  # B·M height width 3
  "patch_features": P(ROWS, None, None),  # B·M P E
  "image_latents": P(ROWS, None, None, None),  # B M L D
  "residual": P(ROWS, None, None),  # B T D
  "heads": P(ROWS, None, "tensor", None),  # B T N H
  "mlp_hidden": P(ROWS, None, "tensor"),  # B T F
  # Inside of `chunked_loss` every device has its own chunk;
  # the first dim counts the devices along `data` and `fsdp`.
  "logits_chunk": P(ROWS, None, "tensor"),  # devices chunk V
}

# name, shape, dtype, spec
Placed = tuple[str, tuple[int, ...], str, P]

_seen: contextvars.ContextVar[list[Placed] | None] = contextvars.ContextVar(
  "seen", default=None
)


def context_mesh() -> AbstractMesh | None:
  """The mesh of the trace; None without one, or with a single device."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    return None
  # Inside of a shard_map arrays are already a device's own parts.
  if any(kind != AxisType.Auto for kind in mesh.axis_types):
    return None
  return mesh


def fit(mesh: Mesh | AbstractMesh, spec: P, shape: Sequence[int]) -> P:
  """`spec` without the axes whose sizes do not divide the array's.

  Such an array is whole along that dim: correct for any size, at the price of
  memory.
  """

  def known(axes, size):
    names = axes if isinstance(axes, tuple) else (axes,)
    ways = 1
    for name in names:
      ways *= 1 if name is None else mesh.shape[name]
    return axes if size % ways == 0 else None

  return P(*(known(a, s) for a, s in zip(spec, shape, strict=True)))


def constrain(x: Array, name: str) -> Array:
  """Asks the compiler to lay `x` out as `ACTIVATION_RULES` says.

  Args:
    x: an activation with the dims of its rule.
    name: of a rule.

  Raises:
    KeyError: for a name that has no rule.
  """
  rule = ACTIVATION_RULES[name]
  mesh = context_mesh()
  if mesh is None:
    return x
  spec = fit(mesh, rule, x.shape)
  note(name, x.shape, x.dtype, spec)
  return jax.lax.with_sharding_constraint(x, spec)


def note(name: str, shape: Sequence[int], dtype: object, spec: P) -> None:
  """Tells `noted` of an activation that is placed by other means."""
  seen = _seen.get()
  if seen is not None:
    seen.append((name, tuple(shape), str(dtype), spec))


@contextlib.contextmanager
def noted() -> Iterator[list[Placed]]:
  """Collects what is placed by the traces inside of the block."""
  seen: list[Placed] = []
  token = _seen.set(seen)
  try:
    yield seen
  finally:
    _seen.reset(token)
