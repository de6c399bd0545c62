"""From a config's section `data` to a stream that can be opened at any step."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kosmos2_jax.input import pipeline
from kosmos2_jax.input.augmentation import Augmentation
from kosmos2_jax.input.schedule import Kind, Layout, make_kinds
from kosmos2_jax.input.sources import Source
from kosmos2_jax.text.tokenizer import Tokenizer

# Arguments of `pipeline.make_stream` that a config's section `data` has as they
# are.
_COPIED_OPTIONS = (
  "seq_len",
  "view",
  "images_per_row",
  "pack_groups",
  "fast_decode",
  "num_threads",
)


@dataclasses.dataclass(frozen=True)
class StreamPlan:
  """A stream that can be opened at any step; made by `plan_stream`.

  Attributes:
    kinds: what is mixed.
    num_rows: rows of the global batch.
    options: the other arguments of `pipeline.make_stream`.
  """

  kinds: Sequence[Kind]
  num_rows: int
  options: Mapping[str, Any]

  @property
  def kind_names(self) -> tuple[str, ...]:
    """Names of the kinds; number k of a batch's `kinds` is the k-th, from 1."""
    return tuple(kind.name for kind in self.kinds)

  def open(
    self, start_step: int = 0, shard_index: int = 0, num_shards: int = 1
  ) -> pipeline.Stream:
    """See `pipeline.make_stream`."""
    return pipeline.make_stream(
      self.kinds,
      start_step=start_step,
      shard_index=shard_index,
      num_shards=num_shards,
      **self.options,
    )


def plan_stream(
  specs: Sequence[Mapping[str, Any]],
  data: Mapping[str, Any],
  load_source: Callable[[str, str], Source],
  tokenizer: Tokenizer,
  *,
  image_size: int,
  num_latents: int,
  seed: int,
) -> StreamPlan:
  """The stream of a run, as its config describes it.

  Args:
    specs: the config's `data.kinds`, see `schedule.make_kinds`.
    data: the config's section `data`, as plain values.
    load_source: gives the source of a data set's name and split.
    tokenizer: makes ids of text.
    image_size: see `pipeline.make_stream`.
    num_latents: see `pipeline.make_stream`.
    seed: see `pipeline.make_stream`.

  Raises:
    ValueError: a kind, or the numbers of rows and groups, are wrong.
  """
  kinds = make_kinds(specs, load_source)
  options = {
    "tokenizer": tokenizer,
    "image_size": image_size,
    "num_latents": num_latents,
    "seed": seed,
    "rows_per_step": data["rows_per_step"] if data["pack"] else None,
    "augmentation": Augmentation(**data["augmentation"]),
  }
  options |= {name: data[name] for name in _COPIED_OPTIONS}
  layout = Layout(kinds, options["rows_per_step"], options["pack_groups"])
  return StreamPlan(kinds, layout.num_rows, options)
