"""Which examples every step has, and which rows they may go to.

Example e of step s is one of one kind, at one position of that kind's own
endless stream, and everything follows from those numbers: the record, by a
permutation per epoch, and the random numbers of the example.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kosmos2_jax.input import recipes, shuffling
from kosmos2_jax.input.sources import Source
from kosmos2_jax.input.text_ops import Op


@dataclasses.dataclass(frozen=True)
class Kind:
  """Examples of one source, made into rows in one way.

  Attributes:
    name: unique; the order of the kind's examples depends on it.
    source: random access to the examples.
    recipe: ops that write the text, see `recipes`.
    per_step: examples in every global batch.
  """

  name: str
  source: Source
  recipe: Sequence[Op]
  per_step: int


def make_kinds(
  specs: Sequence[Mapping[str, Any]],
  load_source: Callable[[str, str], Source],
) -> list[Kind]:
  """Kinds from plain descriptions, as a config has them.

  Args:
    specs: mappings with `name`, `dataset`, `split`, `recipe` (a name in
      `recipes.RECIPES`), `per_step`, and `options` of the recipe.
    load_source: gives the source of a data set's name and split; called once
      for each pair.

  Raises:
    ValueError: there is no such recipe, or it has no such option.
  """
  sources, kinds = {}, []
  for spec in specs:
    if spec["recipe"] not in recipes.RECIPES:
      raise ValueError(
        f"data kind {spec['name']!r} has the recipe {spec['recipe']!r}; "
        f"there are {', '.join(sorted(recipes.RECIPES))}"
      )
    try:
      recipe = recipes.RECIPES[spec["recipe"]](**spec.get("options", {}))
    except (TypeError, ValueError) as error:
      raise ValueError(
        f"options of data kind {spec['name']!r}: {error}"
      ) from error
    key = (spec["dataset"], spec["split"])
    if key not in sources:
      sources[key] = load_source(*key)
    kinds.append(Kind(spec["name"], sources[key], recipe, spec["per_step"]))
  return kinds


@dataclasses.dataclass(frozen=True)
class Slot:
  """One example of one step.

  Attributes:
    kind: what the example is.
    position: in the kind's stream, counted over all epochs.
    record: number of the example in the kind's source.
  """

  kind: Kind
  position: int
  record: int

  def name(self, example: Mapping[str, Any]) -> str:
    """How errors call the example that was read for the slot."""
    return f"example {example.get('id')!r} of {self.kind.source.name}"


class Schedule:
  """The plan of a stream: pure functions of the step."""

  def __init__(self, kinds: Sequence[Kind], seed: int):
    """Checks the kinds and lays out the examples of a step.

    Kinds with more examples are spread evenly over the step, so that every
    part of it (a host's, a micro-batch's) has its share of each.

    Raises:
      ValueError: no kinds, two of one name, or a kind without examples.
    """
    names = [kind.name for kind in kinds]
    if not kinds or len(set(names)) != len(names):
      raise ValueError(
        f"a stream has one or more data kinds of different names, found {names}"
      )
    for kind in kinds:
      if kind.per_step < 1 or not len(kind.source):
        raise ValueError(
          f"data kind {kind.name!r} needs a per_step of 1 or more and a source "
          f"with examples, found per_step {kind.per_step} and "
          f"{len(kind.source)} examples in {kind.source.name}"
        )
    self.kinds = tuple(kinds)
    self.seed = seed
    self.num_examples = sum(kind.per_step for kind in kinds)
    order = sorted(
      ((rank + 0.5) / kind.per_step, i, rank)
      for i, kind in enumerate(kinds)
      for rank in range(kind.per_step)
    )
    self._order = [(i, rank) for _, i, rank in order]

  def slots(self, step: int, examples: range) -> list[Slot]:
    """What these examples of a step are."""
    positions = {i: [] for i in range(len(self.kinds))}
    for example in examples:
      i, rank = self._order[example]
      positions[i].append(step * self.kinds[i].per_step + rank)
    streams = {
      i: zip(found, self._records(self.kinds[i], found), strict=True)
      for i, found in positions.items()
    }
    result = []
    for example in examples:
      i, _ = self._order[example]
      result.append(Slot(self.kinds[i], *next(streams[i])))
    return result

  def _records(self, kind: Kind, positions: list[int]) -> list[int]:
    length = len(kind.source)
    epochs, offsets = np.divmod(np.array(positions, np.int64), length)
    result = np.zeros(len(positions), np.int64)
    for epoch in np.unique(epochs).tolist():
      chosen = epochs == epoch
      result[chosen] = shuffling.permute(
        offsets[chosen],
        length=length,
        key=(self.seed, kind.name, "epoch", epoch),
      )
    return result.tolist()


class Layout:
  """Which examples of a step share which rows: groups of both.

  A group's examples are packed into the group's rows, whatever the other
  groups hold, so a group can be made anywhere. Without packing there is a
  group of one example and one row for every example.

  Attributes:
    num_rows: rows of the global batch.
    num_groups: how many groups there are.
    group_rows: rows of each.
    packed: whether a row may hold several examples.
  """

  def __init__(
    self, kinds: Sequence[Kind], rows_per_step: int | None, num_groups: int
  ):
    """Divides the examples and rows of a step.

    Args:
      kinds: what a step is made of.
      rows_per_step: rows the examples are packed into; None: one for each.
      num_groups: groups of a packed step.

    Raises:
      ValueError: the rows cannot be divided into the groups.
    """
    self._num_examples = sum(kind.per_step for kind in kinds)
    self._sizes = ", ".join(f"{k.name} {k.per_step}" for k in kinds)
    self.packed = rows_per_step is not None
    self.num_rows = rows_per_step if self.packed else self._num_examples
    self.num_groups = num_groups if self.packed else self._num_examples
    if self.num_rows < 1 or self.num_groups < 1:
      raise ValueError(
        "packing needs rows_per_step and pack_groups of 1 or more, found "
        f"{self.num_rows} and {self.num_groups}; tools.packing says how many "
        "rows a config's examples need"
      )
    if self.num_rows % self.num_groups:
      raise ValueError(
        f"rows_per_step {self.num_rows} cannot be divided into "
        f"{self.num_groups} groups of rows (pack_groups); make it a multiple"
      )
    self.group_rows = self.num_rows // self.num_groups

  def shard_groups(self, shard_index: int, num_shards: int) -> range:
    """The groups of every step that belong to one shard of several.

    Raises:
      ValueError: the groups cannot be divided, or there is no such shard.
    """
    if not 0 <= shard_index < num_shards:
      raise ValueError(
        f"shard_index is 0..{num_shards - 1} for {num_shards} shards, found "
        f"{shard_index}"
      )
    if self.num_groups % num_shards:
      if self.packed:
        what = f"{self.num_groups} groups (pack_groups)"
        remedy = "pack_groups"
      else:
        what = f"{self.num_rows} rows ({self._sizes})"
        remedy = "the sum of per_step"
      raise ValueError(
        f"the global batch of {what} cannot be divided among {num_shards} "
        f"shards; make {remedy} a multiple of {num_shards}"
      )
    size = self.num_groups // num_shards
    return range(shard_index * size, (shard_index + 1) * size)

  def examples(self, groups: range) -> range:
    """The examples of consecutive groups; groups differ by one at most."""
    starts = (
      group * self._num_examples // self.num_groups
      for group in (groups.start, groups.stop)
    )
    return range(*starts)

  def rows(self, groups: range) -> range:
    """The rows of consecutive groups."""
    return range(groups.start * self.group_rows, groups.stop * self.group_rows)
