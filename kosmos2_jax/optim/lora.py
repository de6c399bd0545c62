"""Low-rank adapters: a few trained parameters beside frozen kernels (LoRA).

An adapted kernel K [in, out] is computed as

  K + alpha / rank · A B      A [in, rank], B [rank, out]

(https://arxiv.org/abs/2106.09685). A starts at random and B at zero, so the
first step sees the model it started from, exactly. Adapters are a part of the
parameters of their own, `lora`, under the paths of their kernels, stacked as
these are:

  decoder/layers/mlp/up/kernel           [depth, D, F]
  lora/decoder/layers/mlp/up/kernel/a    [depth, D, rank]
  lora/decoder/layers/mlp/up/kernel/b    [depth, rank, F]

The embedding [V, D] can have one too, A [V, rank], which lets every word move
in a few directions; there A starts at zero and B at random, as a word that is
not seen gets no gradient.

Models know nothing of them. Whoever computes calls `Lora.merge` first, inside
of what is derived while training, so that gradients reach A and B; that costs
the gradient of each adapted kernel for the moment, and keeps none of it.
"""

import dataclasses
import math
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from kosmos2_jax.optim.patterns import flatten, matches, unflatten

PART = "lora"
PREFIX = f"{PART}/"
EMBEDDING = "decoder/embedding"
FIELDS = ("rank", "alpha", "targets")


@dataclasses.dataclass(frozen=True)
class Lora:
  """Which kernels have adapters, and how large those are.

  Attributes:
    rank: r; how many directions of a kernel change.
    alpha: the change is multiplied by alpha / rank.
    targets: patterns; a kernel, or the embedding, in whose path one is found is
      adapted.
    whole: patterns of other parameters that are trained as they are, beside
      the adapters; nothing that merging needs to know.
  """

  rank: int
  alpha: float
  targets: tuple[str, ...]
  whole: tuple[str, ...] = ()

  def __post_init__(self):
    if self.rank < 1:
      raise ValueError(
        f"lora.rank is a whole number, 0 for no adapters; found {self.rank}."
      )
    if not (self.alpha > 0 and math.isfinite(self.alpha)):
      raise ValueError(f"lora.alpha is above 0; found {self.alpha}.")
    if not self.targets:
      raise ValueError(
        "lora.targets is empty, so there is nothing to adapt: give patterns of"
        ' kernels, such as ("^decoder/",), or set lora.rank to 0.'
      )

  def description(self) -> dict[str, Any]:
    """What merging needs to know, as JSON can say it; see `described`."""
    return {
      "rank": self.rank,
      "alpha": float(self.alpha),
      "targets": list(self.targets),
    }

  def paths(self, params: PyTree) -> list[str]:
    """The kernels that are adapted, and the embedding if it is.

    Args:
      params: of the model, or anything of that structure.

    Raises:
      ValueError: for a pattern that is found in no kernel's path.
    """
    kernels = [
      path
      for path in flatten(params)
      if path.endswith("/kernel") or path == EMBEDDING
    ]
    found = set()
    for pattern in self.targets:
      found.update(matches(pattern, kernels, "lora.targets"))
    return [path for path in kernels if path in found]

  def shapes(self, params: PyTree) -> PyTree:
    """The adapters as float32 ShapeDtypeStructs, without `PART` around them.

    Raises:
      ValueError: see `paths`; or for a rank that is no less than the smaller
        side of a kernel, which would save nothing.
    """
    leaves, result = flatten(params), {}
    for path in self.paths(params):
      shape = leaves[path].shape
      first, split = _axes(path, len(shape))
      fan_in = math.prod(shape[first:split])
      fan_out = math.prod(shape[split:])
      if self.rank >= min(fan_in, fan_out):
        raise ValueError(
          f"lora.rank is less than the sides of every adapted kernel; found"
          f" {self.rank} for {path} of {fan_in} x {fan_out}: lower it, or"
          " leave the kernel out of lora.targets."
        )
      lead = shape[:first]
      for name, axes in (
        ("a", (*lead, fan_in, self.rank)),
        ("b", (*lead, self.rank, *shape[split:])),
      ):
        result[f"{path}/{name}"] = jax.ShapeDtypeStruct(axes, jnp.float32)
    return unflatten(result)

  def merge(self, params: PyTree) -> PyTree:
    """The parameters of the model alone, adapted.

    Args:
      params: with the part `PART`; arrays.

    Raises:
      ValueError: if the adapters are not those of `shapes`.
    """
    base = {name: tree for name, tree in params.items() if name != PART}
    adapters = flatten(params.get(PART, {}))
    wanted = {
      path: leaf.shape for path, leaf in flatten(self.shapes(base)).items()
    }
    if wanted != {path: leaf.shape for path, leaf in adapters.items()}:
      raise ValueError(
        f"expected adapters of rank {self.rank} for {', '.join(self.targets)},"
        f" found {len(adapters)} other arrays: they are of another run."
      )
    leaves = flatten(base)
    for path in self.paths(base):
      a, b = adapters[f"{path}/a"], adapters[f"{path}/b"]
      kernel = leaves[path]
      flat = b.reshape(*b.shape[: a.ndim - 1], -1)
      # Float32 to the last bit of it: merged once, or anew in each step.
      change = jnp.matmul(a, flat, precision="highest")
      change = change.reshape(kernel.shape) * (self.alpha / self.rank)
      leaves[path] = kernel + change.astype(kernel.dtype)
    return unflatten(leaves)


def make_lora(section: Mapping[str, Any] | None) -> Lora | None:
  """The adapters of a config's section `lora`; None for rank 0, or no section.

  Raises:
    ValueError: for a wrong number, or nothing to adapt.
  """
  section = dict(section or {})
  if not section.get("rank"):
    return None
  section["targets"] = tuple(section["targets"])
  section["whole"] = tuple(section.get("whole", ()))
  return Lora(**section)


def described(description: Mapping[str, Any] | None) -> Lora | None:
  """The adapters of a checkpoint, from `Lora.description`; None for none.

  Raises:
    ValueError: for a description that is none.
  """
  if description is None:
    return None
  if set(description) != set(FIELDS):
    raise ValueError(
      f"the description of adapters has {', '.join(FIELDS)}; found"
      f" {sorted(description)}."
    )
  return make_lora(description)


def init(shapes: PyTree, key: jax.Array) -> PyTree:
  """Fresh adapters: A uniform within 1 / sqrt(in), as kernels, B zero.

  Of the embedding A is zero, and B uniform within 1 / sqrt(rank).

  Args:
    shapes: see `Lora.shapes`.
    key: the random key; each array has one of its own, by its path.
  """
  result = {}
  for path, leaf in flatten(shapes).items():
    if path.endswith("/a" if path.startswith(EMBEDDING) else "/b"):
      result[path] = jnp.zeros(leaf.shape, leaf.dtype)
      continue
    bound = leaf.shape[-2] ** -0.5
    own = jax.random.fold_in(key, zlib.crc32(path.encode()))
    result[path] = jax.random.uniform(
      own, leaf.shape, leaf.dtype, -bound, bound
    )
  return unflatten(result)


def _axes(path: str, ndim: int) -> tuple[int, int]:
  """Where the axes of inputs begin, and where those of outputs do.

  Queries, keys and values are [… D N H], a stem of convolutions [h w 3 E] and
  all others [… in out]; axes before those are of stacked layers.
  """
  first = 1 if "/layers/" in path else 0
  several = path.split("/")[-2] in ("query", "key", "value")
  return first, ndim - 2 if several else ndim - 1
