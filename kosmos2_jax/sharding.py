"""Where arrays live: the mesh, and one table of rules for all parameters.

The mesh has three axes. `data` holds copies of the model, each with its share
of the batch; `fsdp` shares the batch *and* the parameters; `tensor` shares
heads, MLP channels and vocabulary of one model. Optimizer state lies where its
parameter lies; batches are cut along ("data", "fsdp") and whole along `tensor`.
Where activations lie is said in `activations`.

Slices (of TPUs, or hosts of GPUs) are joined by a network far slower than the
one inside them. Only `data` crosses it: gradients once a step, and no
activation or parameter.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from kosmos2_jax import activations

AXES = ("data", "fsdp", "tensor")
BATCH_SPEC = P(activations.ROWS)

TABLE_SPEC = P("tensor", "fsdp")  # of the embedding, V D

# The first rule whose pattern is found in the parameter's path counts. A spec
# names the *last* axes of the parameter: the depth axis that scanned layers
# have in front stays whole, so one rule serves stacked and single layers.
PARTITION_RULES: tuple[tuple[str, P], ...] = (
  (r"^decoder/embedding$", TABLE_SPEC),  # V D
  (r"/(query|key|value)/kernel$", P("fsdp", "tensor", None)),  # D N H
  (r"/(query|key|value)/bias$", P("tensor", None)),  # N H
  (r"/attention/inner_norm/(scale|bias)$", P("tensor")),  # N·H
  (r"/attention/out/kernel$", P("tensor", "fsdp")),  # N·H D
  (r"/mlp/up/kernel$", P("fsdp", "tensor")),  # D F
  (r"/mlp/up/bias$", P("tensor")),  # F
  (r"/mlp/inner_norm/(scale|bias)$", P("tensor")),  # F
  (r"/mlp/down/kernel$", P("tensor", "fsdp")),  # F D
  (r"/(attention/out|mlp/down)/bias$", P(None)),  # D
  (r"/(attn|mlp|pre|post|final)_norm/(scale|bias)$", P(None)),  # D
  (r"^vision/stem(/\w+)?/kernel$", P("fsdp")),  # … E
  (r"^vision/stem/neighbours$", P("fsdp")),  # 3 3 E
  (r"^vision/stem/\w+/bias$", P(None)),  # E
  (r"^vision/class_token$", P(None)),  # E
  (r"^vision/positions$", P(None, "fsdp")),  # P E
  (r"^resampler/project/kernel$", P(None, "fsdp")),  # E D
  (r"^resampler/project/bias$", P(None)),  # D
  (r"^resampler/latents$", P(None, "fsdp")),  # L D
  # Adapters lie as the sides of their kernels do; r is the rank.
  (r"^lora/.*/(query|key|value|up)/kernel/a$", P("fsdp", None)),  # D r
  (r"^lora/.*/(query|key|value)/kernel/b$", P(None, "tensor", None)),  # r N H
  (r"^lora/.*/up/kernel/b$", P(None, "tensor")),  # r F
  (r"^lora/.*/(attention/out|down)/kernel/a$", P("tensor", None)),  # F r
  (r"^lora/.*/embedding/a$", P("tensor", None)),  # V r
  (r"^lora/.*/embedding/b$", P(None, "fsdp")),  # r D
  (r"^lora/.*/kernel/a$", P(None, None)),  # stem, project: … r
  (r"^lora/.*/kernel/b$", P(None, "fsdp")),  # r D
)


def make_mesh(
  shape: Mapping[str, int] | Sequence[int],
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """The mesh with axes `data`, `fsdp` and `tensor`.

  Args:
    shape: sizes by axis name (a missing one is 1), or three numbers in the
      order of `AXES`. One of them may be -1: all devices that are left.
      `num_slices` may stand beside them; 0 or missing: as the devices say.
    devices: which devices; default: all there are.

  Raises:
    ValueError: for an unknown axis, a size that is not a positive number, a
      product that differs from the number of devices, or slices that `data`
      cannot be cut into.
  """
  if not isinstance(shape, Mapping):
    shape = dict(zip(AXES, shape, strict=True))
  shape = dict(shape)
  num_slices = shape.pop("num_slices", 0)
  if unknown := sorted(set(shape) - set(AXES)):
    raise ValueError(f"the mesh has axes {AXES}; found {unknown}.")
  devices = jax.devices() if devices is None else list(devices)
  sizes = [shape.get(axis, 1) for axis in AXES]
  text = " x ".join(map(str, sizes))
  known = math.prod(size for size in sizes if size != -1)
  if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
    raise ValueError(
      "mesh sizes are positive, and at most one is -1;"
      f" found {text} for {AXES}."
    )
  sizes = [len(devices) // known if size == -1 else size for size in sizes]
  if math.prod(sizes) != len(devices):
    raise ValueError(
      f"a mesh of {text} ({', '.join(AXES)}) does not fit {len(devices)}"
      " device(s); change config.mesh so that the product is that number (one"
      " size may be -1)."
    )
  slices = _slices(devices, num_slices)
  if sizes[0] % len(slices):
    raise ValueError(
      f"the devices are {len(slices)} slices, and `data` alone crosses from one"
      f" to another, so config.mesh.data is a multiple of {len(slices)}; found"
      f" {sizes[0]}."
    )
  inside = (sizes[0] // len(slices), *sizes[1:])
  kinds = (AxisType.Auto,) * len(AXES)
  # An axis of the mesh should be whole axes of a TPU's torus, which have all of
  # its links; sizes that are none share one.
  grids = [
    mesh_utils.create_device_mesh(inside, part, allow_split_physical_axes=True)
    for part in slices
  ]
  return Mesh(np.concatenate(grids), AXES, axis_types=kinds)


def _slices(
  devices: Sequence[jax.Device], num_slices: int
) -> list[list[jax.Device]]:
  """The devices of each slice; equal runs where devices do not say theirs."""
  groups: dict[int, list[jax.Device]] = {}
  for device in devices:
    groups.setdefault(getattr(device, "slice_index", 0), []).append(device)
  if num_slices < 0 or (len(groups) > 1 and num_slices not in (0, len(groups))):
    raise ValueError(
      f"the devices are {len(groups)} slice(s); set config.mesh.num_slices"
      f" to that, or to 0; found {num_slices}."
    )
  if len(groups) == 1 and num_slices > 1:
    if len(devices) % num_slices:
      raise ValueError(
        f"{len(devices)} devices are not {num_slices} slices of equal size;"
        " change config.mesh.num_slices."
      )
    size = len(devices) // num_slices
    return [list(devices[i : i + size]) for i in range(0, len(devices), size)]
  return [groups[index] for index in sorted(groups)]


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Rows cut along `data` and `fsdp`; for every array of a Batch."""
  return NamedSharding(mesh, BATCH_SPEC)


def replicated(mesh: Mesh) -> NamedSharding:
  """The whole array on every device."""
  return NamedSharding(mesh, P())


def check_batch_size(
  mesh: Mesh, batch_size: int, num_microbatches: int = 1
) -> None:
  """Raises ValueError unless every device gets whole rows of every part."""
  ways = mesh.shape["data"] * mesh.shape["fsdp"]
  if num_microbatches < 1 or batch_size % (ways * num_microbatches):
    raise ValueError(
      f"the global batch has {batch_size} rows, which {ways} device(s) (mesh"
      f" data x fsdp) in {num_microbatches} microbatch(es) cannot share evenly;"
      f" make it a multiple of {ways * max(num_microbatches, 1)}."
    )


def batch_share(mesh: Mesh) -> tuple[int, int]:
  """Which part of every global batch this process reads, and of how many.

  Raises:
    ValueError: see `share_of`.
  """
  devices = mesh.devices.reshape(mesh.shape["data"] * mesh.shape["fsdp"], -1)
  processes = [[d.process_index for d in row] for row in devices]
  return share_of(jax.process_index(), processes)


def share_of(
  process: int, processes: Sequence[Sequence[int]]
) -> tuple[int, int]:
  """Which part of the rows a process reads, and of how many.

  Processes whose devices share rows, along `tensor`, read the same part.

  Args:
    process: its number.
    processes: for each part of the batch along `data` and `fsdp`, the
      processes of the devices that hold it.

  Raises:
    ValueError: if the parts of two processes overlap, or are not equally large.
  """
  rows: dict[int, set[int]] = {}
  for row, holders in enumerate(processes):
    for holder in holders:
      rows.setdefault(holder, set()).add(row)
  parts = sorted({tuple(sorted(part)) for part in rows.values()})
  size = len(parts[0])
  overlap = size * len(parts) != len(processes)
  if overlap or any(len(part) != size for part in parts):
    raise ValueError(
      f"the mesh gives {len(rows)} processes parts of the batch that overlap"
      " or differ in size; choose config.mesh so that `tensor` divides the"
      " devices of a process or is a multiple of them"
    )
  return parts.index(tuple(sorted(rows[process]))), len(parts)


def put_batch(
  mesh: Mesh, batch: Mapping[str, np.ndarray]
) -> dict[str, jax.Array]:
  """Moves this process's rows of a global batch to its devices."""
  sharding = batch_sharding(mesh)
  return {
    key: jax.make_array_from_process_local_data(sharding, value)
    for key, value in batch.items()
  }


def param_path(key_path: tuple[Any, ...]) -> str:
  """The path of a leaf as rules and messages write it: `decoder/embedding`."""
  return jax.tree_util.keystr(key_path, simple=True, separator="/")


def param_shardings(
  mesh: Mesh | AbstractMesh,
  abstract_params: PyTree,
  rules: Sequence[tuple[str, P]] = PARTITION_RULES,
) -> PyTree:
  """The NamedSharding of every parameter.

  An axis of the mesh whose size does not divide the parameter's axis is left
  out for that parameter, which is then whole along it: correct for any size,
  at the price of memory. Sizes of released models divide.

  Args:
    mesh: see `make_mesh`; an abstract one will do.
    abstract_params: parameters, or their ShapeDtypeStructs.
    rules: see `PARTITION_RULES`.

  Raises:
    ValueError: naming the path of a parameter that matches no rule, or that
      has fewer axes than its rule names.
  """

  def sharding(key_path, leaf):
    path = param_path(key_path)
    for pattern, spec in rules:
      if re.search(pattern, path):
        return NamedSharding(mesh, _fit(mesh, spec, leaf.shape, path))
    raise ValueError(
      f"parameter {path} of shape {tuple(leaf.shape)} matches no partition"
      " rule; add one to PARTITION_RULES in kosmos2_jax/sharding.py."
    )

  return jax.tree_util.tree_map_with_path(sharding, abstract_params)


def table_spec(mesh: Mesh | AbstractMesh, shape: Sequence[int]) -> P:
  """The spec of an embedding table [V, D], as `param_shardings` gives it."""
  return activations.fit(mesh, TABLE_SPEC, shape)


def opt_state_shardings(
  mesh: Mesh,
  tx: optax.GradientTransformation,
  abstract_opt_state: PyTree,
) -> PyTree:
  """Moments lie where their parameters lie; counters are on every device.

  Moments of a few parameters alone, or of the last layers of a stack, are
  placed by the same rules.
  """
  return optax.tree.map_params(
    tx,
    lambda moments: param_shardings(mesh, moments),
    abstract_opt_state,
    transform_non_params=lambda _: replicated(mesh),
    # Whole trees of moments, whose paths are those of the parameters.
    is_leaf=lambda _: True,
  )


def _fit(
  mesh: Mesh | AbstractMesh, spec: P, shape: Sequence[int], path: str
) -> P:
  """`spec` for the last axes of `shape`, without what does not divide."""
  if len(spec) > len(shape):
    raise ValueError(
      f"parameter {path} has shape {tuple(shape)}, but its partition rule"
      f" names {len(spec)} axes: {spec}."
    )
  names = (None,) * (len(shape) - len(spec)) + tuple(spec)
  return activations.fit(mesh, P(*names), shape)
