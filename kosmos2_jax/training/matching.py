"""Whether what was saved is what this run would save."""

import os
from typing import Any

import jax
from jaxtyping import PyTree

from kosmos2_jax.sharding import param_path


def check_shapes(
  folder: os.PathLike, metadata: Any, abstract: PyTree, what: str, owner: str
) -> None:
  """Raises ValueError unless the saved shapes are those of `abstract`.

  Args:
    folder: of the checkpoint.
    metadata: orbax's, of one of its items.
    abstract: arrays or ShapeDtypeStructs.
    what: word for a leaf of them.
    owner: word for what has such leaves.
  """
  saved, wanted = _shapes(metadata.tree), _shapes(abstract)
  advice = (
    f"give the config the values this {owner} was made with, or start in"
    " another --workdir."
  )
  for name in sorted(saved.keys() | wanted.keys()):
    was, should = (shapes.get(name, "none") for shapes in (saved, wanted))
    if was != should:
      raise ValueError(
        f"{what} {name} has shape {was} in the checkpoint {folder} and"
        f" {should} in the {owner} of this config: {advice}"
      )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  leaves = jax.tree_util.tree_flatten_with_path(
    tree, is_leaf=lambda x: hasattr(x, "shape")
  )[0]
  return {param_path(path): tuple(leaf.shape) for path, leaf in leaves}
