"""Data sets: one folder each, a TFDS builder and a README.

`load_source` opens any of them for the input pipeline and the evaluators.
"""

import importlib
import os
import pathlib
import shlex
from typing import TYPE_CHECKING, Any

# TensorFlow is loaded by the functions that need it: the scenes of `shapes`
# are drawn without it, in many processes.
if TYPE_CHECKING:
  from collections.abc import Callable, Mapping

  import tensorflow_datasets as tfds

  from data.building.builder import FilesBuilder
  from kosmos2_jax.input.sources import TfdsSource

# Builders of files, all opened in the same way: module and class.
BUILDERS = {
  "coco_captions": "data.coco_captions.coco_captions_builder:CocoCaptions",
  "flickr30k": "data.flickr30k.flickr30k_builder:Flickr30k",
  "flickr30k_entities": (
    "data.flickr30k_entities.flickr30k_entities_builder:Flickr30kEntities"
  ),
  "grit": "data.grit.grit_builder:Grit",
  "image_text": "data.image_text.image_text_builder:ImageText",
  "instructions": "data.instructions.instructions_builder:Instructions",
  "interleaved": "data.interleaved.interleaved_builder:Interleaved",
  "jsonl": "data.jsonl.jsonl_builder:Jsonl",
  "llava_instruct": "data.llava_instruct.llava_instruct_builder:LlavaInstruct",
  "pope": "data.pope.pope_builder:Pope",
  "refcoco": "data.refcoco.refcoco_builder:Refcoco",
  "seed_bench": "data.seed_bench.seed_bench_builder:SeedBench",
  "text": "data.text.text_builder:Text",
  "visual_genome": "data.visual_genome.visual_genome_builder:VisualGenome",
  "vqav2": "data.vqav2.vqav2_builder:Vqav2",
}
# The scenes of `shapes` are drawn and have no files.
NAMES = tuple(sorted((*BUILDERS, "shapes")))


def load_source(
  name: str,
  split: str,
  data_dir: str | os.PathLike = "",
  *,
  prepare: bool = True,
  **options: Any,
) -> "TfdsSource":
  """Random access to a split of a data set.

  Args:
    name: folder in `data/`, one of `NAMES`.
    split: its name, or a part such as "train[:100]".
    data_dir: where prepared data sets lie; "" is the environment variable
      TFDS_DATA_DIR or else ~/tensorflow_datasets.
    prepare: prepare the data set first where that has not been done; instant
      where it has.
    **options: which one of the name: the arguments of its builder, such as
      `shards` and `min_side` for "grit", and those of `building.prepare`; for
      "shapes" `config`, a name, or the fields of a `ShapesConfig`.

  Raises:
    ValueError: unknown name, split or option.
    FileNotFoundError: not prepared and `prepare` is False, or no raw files to
      prepare it from.
  """
  data_dir = pathlib.Path(data_dir or default_data_dir()).expanduser()
  if name not in NAMES:
    raise ValueError(
      f"expected a data set in data/, one of {', '.join(NAMES)}, found {name!r}"
    )
  try:
    if name == "shapes":
      builder = _open_shapes(data_dir, prepare, options)
    else:
      builder = _open_files(builder_class(name), data_dir, prepare, options)
  except TypeError as error:
    raise ValueError(
      f"data set {name!r} does not take these options: {options} ({error}); "
      f"see data/{name}/README.md"
    ) from error
  from kosmos2_jax.input.sources import TfdsSource

  return TfdsSource(builder, split)


def loader(
  data_dir: str | os.PathLike, builders: "Mapping[str, Mapping[str, Any]]"
) -> "Callable[[str, str], TfdsSource]":
  """`load_source` by (name, split), for all data sets of a run.

  Args:
    data_dir: see `load_source`.
    builders: the options of each data set that has any. One that has
      `builder` may have any name, and is that folder in `data/` with these
      options: "refcoco+" is `{"builder": "refcoco", "dataset": "refcoco+"}`.
  """

  def load(name: str, split: str) -> "TfdsSource":
    options = dict(builders.get(name, {}))
    return load_source(options.pop("builder", name), split, data_dir, **options)

  return load


class FaultyFile(ValueError):
  """Lines of a file cannot be used; the message has a line for each fault."""


def in_words(error: Exception) -> str:
  """What an error says: one line, or the list of faults of a file."""
  if isinstance(error, FaultyFile):
    return str(error)
  return " ".join(str(error).split())


def default_data_dir() -> str:
  """Where TFDS keeps prepared data sets when nothing else is said."""
  return os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")


def builder_class(name: str) -> "type[FilesBuilder]":
  """The class of a builder in `BUILDERS`."""
  module, _, class_name = BUILDERS[name].partition(":")
  return getattr(importlib.import_module(module), class_name)


def _open_shapes(
  data_dir: pathlib.Path, prepare: bool, options: dict[str, Any]
) -> "tfds.core.DatasetBuilder":
  from data.shapes import shapes_builder

  config = options.get("config", "default")
  if set(options) - {"config"}:
    # Its own name for every set of numbers, because that names the folder.
    numbers = "_".join(f"{k}={v}" for k, v in sorted(options.items()))
    config = shapes_builder.ShapesConfig(name=numbers, **options)
  if prepare:
    return shapes_builder.prepare(data_dir, config)
  builder = shapes_builder.Shapes(
    data_dir=data_dir, config=config, file_format="array_record"
  )
  command = "python -m data.shapes.shapes_builder --data_dir=" + str(data_dir)
  if isinstance(config, str):
    command += f" --config={config}"
  return _prepared(builder, command)


def _open_files(
  builder_class: "type[FilesBuilder]",
  data_dir: pathlib.Path,
  prepare: bool,
  options: dict[str, Any],
) -> "tfds.core.DatasetBuilder":
  from data.building import builder as building

  if prepare:
    return building.prepare(builder_class, data_dir, **options)
  which = {k: v for k, v in options.items() if not k.startswith("beam_")}
  builder = builder_class(data_dir=data_dir, **which)
  flags = "".join(f" --{k}={shlex.quote(str(v))}" for k, v in options.items())
  command = f"python -m {builder_class.__module__}{flags}"
  return _prepared(builder, f"{command} --data_dir={data_dir}")


def _prepared(
  builder: "tfds.core.DatasetBuilder", command: str
) -> "tfds.core.DatasetBuilder":
  if not pathlib.Path(builder.data_path).exists():
    raise FileNotFoundError(
      f"expected the prepared data set {builder.name!r} in "
      f"{builder.data_path}, found no such folder; prepare it with: {command}"
    )
  return builder
