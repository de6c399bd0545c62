"""Many layers after each other: in one loop, or each on its own.

Stacked, the parameters of all layers are one array with a leading depth axis
and run under `lax.scan`: compile time does not grow with depth, and one
sharding rule serves all layers. That is for training and for accelerators.

Separate, every layer has its own arrays, and kernels (the resampler's, too) are
[out, in]: XLA on CPU copies each slice of a stacked array before it uses it,
which makes a decode step of the released model several times slower. That is
for answering on a CPU; `separate` turns the one into the other.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from kosmos2_jax.models.rematerialisation import rematerialise

# Keys and values of all layers in one array each, or a dict for every layer.
KvCache = dict[str, Array] | list[dict[str, Array]]


def scan_layers(
  layer: type[nn.Module],
  *,
  depth: int,
  remat: str,
  unroll: int,
  num_broadcast: int,
) -> type[nn.Module]:
  """Stacks `layer` under one `lax.scan`, rematerialised as named.

  The layer's `__call__` is `(x, per_layer, *broadcast, deterministic)` and
  returns `(x, per_layer_out)`; `per_layer` may be None. Parameters get a
  leading axis of length `depth`, so compile time does not grow with depth.

  Args:
    layer: the module class.
    depth: number of layers.
    remat: see `rematerialisation`.
    unroll: layers per iteration of the loop. More compile longer and run
      faster where loop bodies run badly (XLA on CPU: about twice at `depth`).
    num_broadcast: how many arguments stand between `per_layer` and
      `deterministic`; every layer sees the same ones.

  Returns:
    The lifted module class.

  Raises:
    ValueError: for an unknown `remat`.
  """
  deterministic = num_broadcast + 3  # its place; 0 is self
  layer = rematerialise(layer, remat, (deterministic,))
  return nn.scan(
    layer,
    variable_axes={"params": 0},
    split_rngs={"params": True, "dropout": True},
    in_axes=(0, *[nn.broadcast] * (num_broadcast + 1)),
    length=depth,
    unroll=min(unroll, depth),
  )


def make_layers(
  layer: type[nn.Module],
  *sizes: Any,
  depth: int,
  stacked: bool,
  dtype: jnp.dtype,
  remat: str,
  unroll: int,
  num_broadcast: int,
) -> nn.Module | list[nn.Module]:
  """All layers of a model in one of the two forms, for `run_layers`.

  Args:
    layer: the module class.
    *sizes: its first attributes.
    depth: number of layers.
    stacked: which form; separate layers have transposed kernels.
    dtype: compute type.
    remat: see `scan_layers`; of the stacked form.
    unroll: see there.
    num_broadcast: see there.
  """
  if stacked:
    stack = scan_layers(
      layer,
      depth=depth,
      remat=remat,
      unroll=unroll,
      num_broadcast=num_broadcast,
    )
    return stack(*sizes, dtype=dtype, name="layers")
  return [
    layer(*sizes, transposed=True, dtype=dtype, name=f"layers_{i}")
    for i in range(depth)
  ]


def run_layers(
  layers: nn.Module | Sequence[nn.Module],
  x: Float[Array, "B T D"],
  per_layer: KvCache | None,
  *args: Any,
) -> tuple[Float[Array, "B T D"], KvCache | None]:
  """Applies stacked or separate layers; see `scan_layers` for the call."""
  if isinstance(layers, nn.Module):
    return layers(x, per_layer, *args)
  outputs = []
  for i, layer in enumerate(layers):
    given = None if per_layer is None else per_layer[i]
    x, output = layer(x, given, *args)
    outputs.append(output)
  return x, None if per_layer is None else outputs


def take_rows(kv_cache: KvCache, rows: Int[Array, " R"]) -> KvCache:
  """The cache with these rows of the batch, in this order."""
  if isinstance(kv_cache, dict):
    return {name: array[:, rows] for name, array in kv_cache.items()}
  return jax.tree.map(lambda array: array[rows], kv_cache)


def lengthen_cache(kv_cache: KvCache, num_slots: int) -> KvCache:
  """The cache with so many more slots behind those it has."""

  def pad(array):
    widths = [(0, 0)] * (array.ndim - 3) + [(0, num_slots), (0, 0), (0, 0)]
    return jnp.pad(array, widths)

  return jax.tree.map(pad, kv_cache)


def separate(params: Mapping[str, Any], path: str = "") -> dict[str, Any]:
  """The parameters of a stacked model for the same model with separate layers.

  Args:
    params: nested, on one device or in numpy; stacks are taken apart while
      they are copied, so that memory holds them once and one array more.
    path: of `params` in the whole tree, with a slash behind it.

  Returns:
    `layers_0`, `layers_1`, … instead of each `layers`.
  """
  result = {}
  for name, value in params.items():
    if name == "layers":
      result |= _separate_stack(value)
    elif isinstance(value, Mapping):
      result[name] = separate(value, f"{path}{name}/")
    else:
      own = is_transposed(path + name)
      result[name] = _own(value, name) if own else value
  return result


def is_transposed(path: str) -> bool:
  """Tells if the kernel of a stacked model's path is [out, in] in the other."""
  return path.startswith("resampler/") or "/layers/" in path


def stacked_path(path: str) -> tuple[str, int | None]:
  """Where a parameter of a separate layer is in the stacked model.

  Returns:
    The path with `layers` for `layers_3`, and 3; or the path itself and None.
  """
  found = re.search(r"(^|/)layers_(\d+)/", path)
  if not found:
    return path, None
  number = int(found[2])
  return path.replace(f"layers_{number}/", "layers/", 1), number


def _separate_stack(tree: dict[str, Any]) -> dict[str, Any]:
  depth = len(jax.tree.leaves(tree)[0])
  layers = {f"layers_{i}": {} for i in range(depth)}
  for name in list(tree):
    value = tree.pop(name)
    if isinstance(value, Mapping):
      parts = list(_separate_stack(value).values())
    else:
      parts = [_own(value[i], name) for i in range(depth)]
    for layer, part in zip(layers.values(), parts, strict=True):
      layer[name] = part
  return layers


def _own(array: Any, name: str) -> Any:
  """A layer's array with its kernel transposed, copied from the stack."""
  if name != "kernel":
    return array.copy()
  if isinstance(array, np.ndarray):
    return np.ascontiguousarray(np.moveaxis(array, 0, -1))
  return jnp.moveaxis(array, 0, -1)
