"""Writes a data set once, whole or not at all, in one process or many."""

import contextlib
import fcntl
import io
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds


def prepare(
  builder_class: Any,
  data_dir: str | os.PathLike,
  *,
  max_examples: int | None = None,
  beam_workers: int = 0,
  beam_options: Any = None,
  **arguments: Any,
) -> Any:
  """The builder of these files, with its data written under `data_dir`.

  Returns at once if the same files were prepared there before; otherwise reads
  them and prints what was dropped and why. A preparation that was interrupted
  leaves nothing that could be taken for a finished one, and is started again.
  Several processes may call this at the same time; one works and the others
  wait. Never uses the network itself.

  Args:
    builder_class: of `FilesBuilder`, what to prepare.
    data_dir: the folder of all data sets.
    max_examples: of each split, at most; None is all. Reading ends there.
    beam_workers: processes of this machine that read with Apache Beam, a file
      at a time. Beam's local runner holds all records in memory; 0 reads in
      this process, in little memory.
    beam_options: Beam's options, as text ("--runner=FlinkRunner ...") or
      `PipelineOptions`, instead of `beam_workers`. Files and `data_dir` have
      to be where the workers see them, too.
    **arguments: the builder's.

  Returns:
    A `builder_class`.

  Raises:
    FileNotFoundError, ValueError: no such files, or nothing good in them.
    ModuleNotFoundError: Beam is asked for and not installed.
    TypeError: unknown arguments.
  """
  data_dir = os.path.expanduser(data_dir)
  builder = builder_class(
    data_dir=data_dir, max_examples=max_examples, **arguments
  )
  folder = pathlib.Path(builder.data_path)
  if folder.exists():
    return builder
  beam = {}
  if beam_workers or beam_options is not None:
    beam = _beam_config(max_examples, beam_workers, beam_options)
  with _locked(folder.parent.with_name(f".{folder.parent.name}.lock")):
    # Whoever held the lock before may have done it all.
    if not folder.exists():
      for leftover in folder.parent.glob("incomplete.*"):
        shutil.rmtree(leftover)
      write(builder, beam)
      print(builder.report.table())
      return builder
  return builder_class(config=builder.builder_config, data_dir=data_dir)


def _beam_config(
  max_examples: int | None, workers: int, options: Any
) -> dict[str, Any]:
  """Fields of TFDS's DownloadConfig."""
  if max_examples is not None:
    raise ValueError(
      "max_examples reads in order until there are enough, and Beam reads all"
      f" files at once; found max_examples={max_examples} with Beam: leave one"
      " of them out"
    )
  try:
    from data.building import beam_build
  except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] != "apache_beam":
      raise
    raise ModuleNotFoundError(
      "reading with beam_workers or beam_options needs Apache Beam, found"
      " none: pip install 'kosmos2_jax[beam]'",
      name=error.name,
    ) from None
  return beam_build.make_config(workers, options)


def write(builder: Any, beam: Mapping[str, Any] | None = None) -> None:
  """Runs TFDS's preparation, which here downloads nothing.

  Args:
    builder: any builder of TFDS.
    beam: further fields of TFDS's DownloadConfig.
  """
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  with (
    tempfile.TemporaryDirectory() as no_downloads,
    # TFDS prints that it downloads something of unknown size.
    contextlib.redirect_stdout(io.StringIO()),
  ):
    builder.download_and_prepare(
      download_dir=no_downloads,
      download_config=tfds.download.DownloadConfig(
        try_download_gcs=False, **(beam or {})
      ),
    )


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  """Waits for an exclusive lock, which a killed process loses by itself."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
