"""TFDS builder of GrIT: img2dataset tar shards to random-access ArrayRecord.

from data.grit import grit_builder
builder = grit_builder.prepare("grit/*.tar", "~/datasets")
source = builder.as_data_source("train")
"""

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from data.building.drops import DropReport
from data.grit import shards as shards_lib
from data.grit.records import Item

# Part of the identity of what is prepared: raise it when the same shards would
# be read differently.
READER_VERSION = 1
MANIFEST = "manifest.json"
CITATION = (
  "Peng et al., Kosmos-2: Grounding Multimodal Large Language Models to the"
  " World, arXiv:2306.14824"
)
# Smaller shards are identified by content: a copy or a checkout changes the
# time of a file. Larger ones would take minutes to read.
HASHED_BYTES = 16 << 20


@dataclasses.dataclass
class GritConfig(tfds.core.BuilderConfig):
  """Which shards, read how. The name is their identity, see `make_config`."""

  # Not shown: TFDS logs the config, and there may be thousands.
  paths: tuple[pathlib.Path, ...] = dataclasses.field(default=(), repr=False)
  min_side: int = shards_lib.MIN_SIDE


class Grit(tfds.core.GeneratorBasedBuilder):
  """GrIT records of the given shards, all in the split "train".

  Examples are stored in the order of a hash of their ids, so that the order
  depends neither on the machine nor on how records are spread over shards.
  Use `prepare`, which also guards against two processes and interruption.
  """

  VERSION = tfds.core.Version("1.0.0")

  def __init__(
    self,
    *,
    shards: shards_lib.Shards | None = None,
    min_side: int = shards_lib.MIN_SIDE,
    config: GritConfig | None = None,
    file_format: str = "array_record",
    **kwargs: Any,
  ):
    """Makes the builder; nothing is read but what identifies the shards.

    Args:
      shards: a tar file, a folder of them, a glob pattern, or several.
      min_side: shorter side in pixels below which a picture is dropped.
      config: what `make_config` gives, instead of the two above.
      file_format: of the records written.
      **kwargs: of the TFDS builder, `data_dir` above all.

    Raises:
      FileNotFoundError, ValueError: no such shards.
    """
    if config is None:
      if shards is None:
        raise ValueError(
          "Grit needs shards to read: expected Grit(shards='grit/*.tar'),"
          " found none"
        )
      config = make_config(shards, min_side=min_side)
    self.report = DropReport(title="GrIT")
    super().__init__(config=config, file_format=file_format, **kwargs)

  def _create_builder_config(
    self, builder_config: GritConfig, version: Any
  ) -> GritConfig:
    # TFDS would warn each time that the class does not list this config.
    return builder_config

  def _info(self) -> tfds.core.DatasetInfo:
    items = {
      "start": np.int32,
      "end": np.int32,
      "box_xyxy": tfds.features.Tensor(shape=(4,), dtype=np.float32),
      "score": np.float32,
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description="Web pictures, captions, phrases with boxes (GrIT).",
      features=tfds.features.FeaturesDict(
        {
          "id": tfds.features.Text(),
          # Bytes are stored as they come, JPEG or PNG.
          "image": tfds.features.Image(shape=(None, None, 3)),
          "caption": tfds.features.Text(),
          "noun_chunks": tfds.features.Sequence(items),
          "ref_exps": tfds.features.Sequence(items),
        }
      ),
      citation=CITATION,
      homepage="https://huggingface.co/datasets/zzliang/GRIT",
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    del dl_manager  # Nothing is downloaded.
    return {"train": self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
    config = self.builder_config
    self.report = DropReport(title="GrIT")
    for record in shards_lib.read_shards(
      config.paths,
      self.report,
      min_side=config.min_side,
      decodes=_tensorflow_decodes,
    ):
      yield (
        record.id,
        {
          "id": record.id,
          "image": record.image,
          "caption": record.caption,
          "noun_chunks": [_to_feature(item) for item in record.noun_chunks],
          "ref_exps": [_to_feature(item) for item in record.ref_exps],
        },
      )
    if not self.report.records_kept:
      raise ValueError(
        "expected at least one good GrIT record, found none in"
        f" {_few([path.name for path in config.paths])}:\n"
        + self.report.table()
      )
    # Still in the temporary folder, which TFDS renames when all is written.
    manifest = {
      "reader_version": READER_VERSION,
      "min_side": config.min_side,
      "files": [_describe(path) for path in config.paths],
    } | self.report.as_dict()
    (self.data_path / MANIFEST).write_text(
      json.dumps(manifest, indent=2) + "\n"
    )


def prepare(
  shards: shards_lib.Shards,
  data_dir: str | os.PathLike,
  *,
  min_side: int = shards_lib.MIN_SIDE,
) -> Grit:
  """The builder of these shards, with its data written under `data_dir`.

  Returns at once if the same shards were prepared there before; otherwise
  reads them and prints what was dropped and why. A preparation that was
  interrupted leaves nothing that could be taken for a finished one, and is
  started again. Several processes may call this at the same time; one works
  and the others wait. Never uses the network.

  Raises:
    FileNotFoundError, ValueError: no such shards, or nothing good in them.
  """
  data_dir = os.path.expanduser(data_dir)
  builder = Grit(shards=shards, min_side=min_side, data_dir=data_dir)
  folder = pathlib.Path(builder.data_path)
  if folder.exists():
    return builder
  with _locked(folder.parent.with_name(f".{folder.parent.name}.lock")):
    # Whoever held the lock before may have done it all.
    if not folder.exists():
      for leftover in folder.parent.glob("incomplete.*"):
        shutil.rmtree(leftover)
      _write(builder)
      print(builder.report.table())
      return builder
  return Grit(config=builder.builder_config, data_dir=data_dir)


def _write(builder: Grit) -> None:
  """Runs TFDS's preparation, which here downloads nothing."""
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  with (
    tempfile.TemporaryDirectory() as no_downloads,
    # TFDS prints that it downloads something of unknown size.
    contextlib.redirect_stdout(io.StringIO()),
  ):
    builder.download_and_prepare(
      download_dir=no_downloads,
      download_config=tfds.download.DownloadConfig(try_download_gcs=False),
    )


def make_config(
  shards: shards_lib.Shards, *, min_side: int = shards_lib.MIN_SIDE
) -> GritConfig:
  """The config of these shards; its name changes whenever they do.

  A shard is known by its name, its size and its content, or, beyond
  `HASHED_BYTES`, the time of its last change.
  """
  paths = shards_lib.find_shards(shards)
  identity = hashlib.sha256()
  identity.update(f"{READER_VERSION} {min_side}\n".encode())
  for path in paths:
    stat = path.stat()
    if stat.st_size <= HASHED_BYTES and path.is_file():
      state = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
      state = f"{stat.st_mtime_ns}"
    identity.update(f"{path.name} {stat.st_size} {state}\n".encode())
  return GritConfig(
    name=f"shards_{identity.hexdigest()[:16]}",
    description=_few([path.name for path in paths]),
    paths=tuple(paths),
    min_side=min_side,
  )


def _to_feature(item: Item) -> dict[str, Any]:
  return {
    "start": item.start,
    "end": item.end,
    "box_xyxy": np.asarray(item.box_xyxy, np.float32),
    "score": item.score,
  }


def _tensorflow_decodes(data: bytes) -> bool:
  """Whether the input pipeline's decoder takes what Pillow took."""
  try:
    tf.io.decode_image(data, channels=3, expand_animations=False)
  except tf.errors.OpError:
    return False
  return True


def _describe(path: pathlib.Path) -> dict[str, Any]:
  return {"name": path.name, "bytes": path.stat().st_size}


def _few(names: list[str]) -> str:
  """The first of several names and how many there are."""
  rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
  return names[0] + rest


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  """Waits for an exclusive lock, which a killed process loses by itself."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def main(arguments: Sequence[str] | None = None) -> None:
  """Prepares GrIT shards, prints what was dropped and where the data is."""
  parser = argparse.ArgumentParser(description=main.__doc__)
  parser.add_argument("--shards", required=True, nargs="+")
  parser.add_argument("--data_dir", required=True)
  parser.add_argument("--min_side", type=int, default=shards_lib.MIN_SIDE)
  flags = parser.parse_args(arguments)
  try:
    builder = prepare(flags.shards, flags.data_dir, min_side=flags.min_side)
  except (FileNotFoundError, ValueError) as error:
    sys.exit(f"error: {error}")
  print(builder.data_dir)


if __name__ == "__main__":
  main()
