"""The TFDS builder of `shapes`: generated scenes, captions and boxes.

from data.shapes import shapes_builder
builder = shapes_builder.prepare("~/datasets")      # instant when there
source = builder.as_data_source("train")
"""

import argparse
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from data.building import preparing
from data.shapes import rendering, scenes, world

MANIFEST = "manifest.json"


@dataclasses.dataclass(eq=False, kw_only=True)
class ShapesConfig(tfds.core.BuilderConfig):
  """How many scenes, and which ones.

  Give every set of numbers its own `name`: it names the folder.
  """

  num_train: int = 60_000
  num_validation: int = 1_000
  num_test: int = 1_000
  num_test_unseen_pairs: int = 1_000
  image_size: int = 64
  min_shapes: int = 1
  max_shapes: int = 4
  seed: int = 0

  def count(self, split: str) -> int:
    return getattr(self, f"num_{split}")


class Shapes(tfds.core.GeneratorBasedBuilder):
  """Scenes of coloured shapes with captions and boxes, rendered here."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}
  BUILDER_CONFIGS: ClassVar = [
    ShapesConfig(name="default", description="The default training run."),
    ShapesConfig(
      name="tiny",
      description="For tests.",
      num_train=64,
      num_validation=16,
      num_test=16,
      num_test_unseen_pairs=16,
    ),
  ]
  DEFAULT_BUILDER_CONFIG_NAME = "default"

  def _info(self) -> tfds.core.DatasetInfo:
    spans = {
      "start": np.int32,
      "end": np.int32,
      "box_xyxy": tfds.features.Tensor(shape=(4,), dtype=np.float32),
      "score": np.float32,
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description="Generated scenes of coloured shapes, captions and boxes.",
      features=tfds.features.FeaturesDict(
        {
          "id": tfds.features.Text(),
          "image": tfds.features.Image(
            shape=(None, None, 3), encoding_format="png"
          ),
          "caption": tfds.features.Text(),
          "noun_chunks": tfds.features.Sequence(dict(spans)),
          "ref_exps": tfds.features.Sequence(dict(spans)),
          "expressions": tfds.features.Sequence(
            {
              "text": tfds.features.Text(),
              "box_xyxy": tfds.features.Tensor(shape=(4,), dtype=np.float32),
            }
          ),
        }
      ),
      # Scenes are independent of each other and readers shuffle, so record i
      # of a split can simply be its scene i.
      disable_shuffling=True,
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
    del dl_manager  # Nothing is downloaded.
    return {
      split: self._generate_examples(split)
      for split in scenes.SPLITS
      if self.builder_config.count(split)
    }

  def _generate_examples(
    self, split: str
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    config = self.builder_config
    request = rendering.Request(
      split=split,
      seed=config.seed,
      min_shapes=config.min_shapes,
      max_shapes=config.max_shapes,
      image_size=config.image_size,
    )
    counts = {"examples": 0, "boxes": 0, "expressions": 0}
    for record in rendering.render_all(request, config.count(split)):
      index = counts["examples"]
      counts["examples"] += 1
      counts["boxes"] += len(record["noun_chunks"]["start"])
      counts["expressions"] += len(record["expressions"]["text"])
      yield index, record
    self._add_to_manifest(split, counts)

  def _add_to_manifest(self, split: str, counts: dict[str, int]) -> None:
    """Writes a finished split's counts beside the records."""
    path = pathlib.Path(self.data_dir) / MANIFEST
    manifest = (
      json.loads(path.read_text()) if path.exists() else _manifest(self)
    )
    # Nothing can be dropped: every scene is rendered.
    manifest["splits"][split] = {**counts, "dropped": {}}
    path.write_text(json.dumps(manifest, indent=2) + "\n")


def _manifest(builder: Shapes) -> dict[str, Any]:
  """The manifest before any split is finished: what was asked for."""
  config = builder.builder_config
  fields = {field.name for field in dataclasses.fields(ShapesConfig)}
  fields -= {f.name for f in dataclasses.fields(tfds.core.BuilderConfig)}
  return {
    "dataset": builder.name,
    "version": str(builder.version),
    "config": {name: getattr(config, name) for name in sorted(fields)},
    "held_out_pairs": [" ".join(p) for p in sorted(world.HELD_OUT_PAIRS)],
    "splits": {},
  }


def prepare(
  data_dir: str | os.PathLike, config: str | ShapesConfig = "default"
) -> Shapes:
  """Renders the dataset below `data_dir` unless it is there already.

  Safe to interrupt and to call from several processes at once: records are
  written to a folder beside the final one, which takes its name in one step,
  and only one process at a time prepares; a later call starts afresh and
  removes what an interrupted one has left.

  Args:
    data_dir: the folder of all datasets; "~" is expanded, and it is created
      if it does not exist.
    config: "default", "tiny", or numbers of your own.

  Returns:
    The builder, ready to be read.

  Raises:
    ValueError: unknown `config`, or the folder of `config.name` holds scenes
      that were made with other numbers.
  """
  names = [known.name for known in Shapes.BUILDER_CONFIGS]
  if isinstance(config, str) and config not in names:
    raise ValueError(
      f"Expected a shapes config of {names} or a ShapesConfig, got {config!r}."
    )
  root = pathlib.Path(data_dir).expanduser()
  root.mkdir(parents=True, exist_ok=True)
  builder = _builder(root, config)
  final = pathlib.Path(builder.data_dir)
  if not final.exists():
    final.parent.mkdir(parents=True, exist_ok=True)
    with open(final.parent / ".lock", "w") as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)  # Released when the process ends.
      # Another process may have been faster; a builder looks only once.
      builder = _builder(root, config)
      if not final.exists():
        # Folders of processes that were killed: we hold the lock, so no
        # living one writes here.
        for leftover in final.parent.glob(f"incomplete.*_{final.name}"):
          shutil.rmtree(leftover)
        logging.info("Rendering shapes to %s.", builder.data_dir)
        preparing.write(builder)
  _check_numbers(builder)
  return builder


def _builder(root: pathlib.Path, config: str | ShapesConfig) -> Shapes:
  return Shapes(data_dir=root, config=config, file_format="array_record")


def _check_numbers(builder: Shapes) -> None:
  """Raises if prepared scenes are not those the config asks for."""
  path = pathlib.Path(builder.data_dir) / MANIFEST
  expected = _manifest(builder)["config"]
  found = json.loads(path.read_text())["config"] if path.exists() else None
  if found != expected:
    raise ValueError(
      f"Expected shapes made with {expected} in {builder.data_dir}, found "
      f"{found or 'no ' + MANIFEST}; delete that folder or give the config "
      "another name."
    )


def main(arguments: Sequence[str] | None = None) -> None:
  """Prepares the dataset and prints where it is."""
  parser = argparse.ArgumentParser(description=main.__doc__)
  parser.add_argument("--data_dir", required=True)
  names = [config.name for config in Shapes.BUILDER_CONFIGS]
  parser.add_argument("--config", default="default", choices=names)
  flags = parser.parse_args(arguments)
  print(prepare(flags.data_dir, flags.config).data_dir)


if __name__ == "__main__":
  main()
