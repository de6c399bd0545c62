"""The base of all builders that read files: TFDS, random-access ArrayRecord.

A builder says which files there are and what a file holds:

  class Captions(builder.FilesBuilder):
    NAME, TITLE = "captions", "captions"
    ARGUMENTS = {"files": "JSON files, a folder or a pattern"}
    PATHS = ("files",)

    @classmethod
    def find(cls, files): ...            # -> list[Unit]
    @classmethod
    def make_features(cls): ...          # -> dict of features
    @classmethod
    def read(cls, unit, report, arguments): ...   # yields Records

and `prepare(Captions, data_dir, files="*.json")` does the rest: it finds data
that was prepared before, else reads the files, drops records whose id was kept
before, writes beside the final folder, puts `manifest.json` there with the
account of everything, and gives the folder its name in one step.
"""

import contextlib
import dataclasses
import fcntl
import io
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data.building import command, identity, reading
from data.building.drops import DropReport
from data.building.reading import Record, Unit

MANIFEST = "manifest.json"
# Options of all builders with pictures: the shorter side in pixels below which
# a picture is dropped, and the one to which larger pictures are resized
# (0: none are).
PICTURE_DEFAULTS = {"min_side": 32, "shorter_side": 0}


@dataclasses.dataclass
class FilesConfig(tfds.core.BuilderConfig):
  """Which files, read how. The name is their identity."""

  # Not shown: TFDS logs the config, and there may be thousands.
  units: tuple[Unit, ...] = dataclasses.field(default=(), repr=False)
  arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
  max_examples: int | None = None


class FilesBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Records of the given files.

  Examples are stored in the order of a hash of their ids, so that the order
  depends neither on the machine nor on how records are spread over files.
  Use `prepare`, which also guards against two processes and interruption.

  Attributes:
    NAME: the folder in data/, and of the prepared data.
    TITLE: what tables and errors call the data.
    READER_VERSION: part of the identity of what is prepared: raise it when the
      same files would be read differently.
    ARGUMENTS: name and help of each argument of `find` and `read`.
    PATHS: those of them that name files, one or several. What `find` makes of
      them counts, not how they are spelled.
    DEFAULTS: of arguments; so do those in the signature of `find` count, and
      `PICTURE_DEFAULTS`.
    report: the account of what was read, once it was.
  """

  VERSION = tfds.core.Version("1.0.0")
  NAME: ClassVar[str] = ""
  TITLE: ClassVar[str] = ""
  READER_VERSION: ClassVar[int] = 1
  ARGUMENTS: ClassVar[Mapping[str, str]] = {}
  PATHS: ClassVar[Sequence[str]] = ()
  DEFAULTS: ClassVar[Mapping[str, Any]] = {}
  CITATION: ClassVar[str] = ""
  HOMEPAGE: ClassVar[str] = ""
  DESCRIPTION: ClassVar[str] = ""

  def __init_subclass__(cls, **kwargs: Any):
    """TFDS's registry is left alone: it has data sets of the same names."""
    if cls.NAME:
      cls.name = cls.NAME
    super().__init_subclass__(skip_registration=True, **kwargs)

  def __init__(
    self,
    *,
    config: FilesConfig | None = None,
    max_examples: int | None = None,
    data_dir: str | os.PathLike | None = None,
    version: Any = None,
    file_format: str | None = "array_record",
    **arguments: Any,
  ):
    """Makes the builder; nothing is read but what identifies the files.

    Args:
      config: what `make_config` gives, instead of the arguments.
      max_examples: of each split, at most; None is all.
      data_dir: of the TFDS builder.
      version: of the TFDS builder.
      file_format: of the records written.
      **arguments: those of `ARGUMENTS`.

    Raises:
      FileNotFoundError, ValueError: no such files.
      TypeError: unknown arguments.
    """
    if config is None:
      config = self.make_config(max_examples=max_examples, **arguments)
    self.report = DropReport(title=self.TITLE)
    super().__init__(
      config=config, data_dir=data_dir, version=version, file_format=file_format
    )

  # ---- What a builder says.

  @classmethod
  def find(cls, **arguments: Any) -> list[Unit]:
    """What there is to read, in the order in which the first of an id counts.

    Raises:
      FileNotFoundError, ValueError: no such files, in one sentence.
    """
    raise NotImplementedError(f"{cls.__name__} has to say what it reads")

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """The features of a record, most often a family of `features`."""
    raise NotImplementedError(f"{cls.__name__} has to say what a record holds")

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the good records of one unit; runs in other processes, too.

    Args:
      unit: one of those that `find` gave.
      report: is told of everything that is dropped. Files, records read and
        records kept need not be counted; if records read are, every one of
        them has to be yielded or dropped for one reason.
      arguments: with their defaults.
    """
    raise NotImplementedError(f"{cls.__name__} has to read its files")

  @classmethod
  def files(
    cls, units: Sequence[Unit], arguments: Mapping[str, Any]
  ) -> list[pathlib.Path]:
    """Files and folders besides the units' that decide what is stored."""
    del units, arguments
    return []

  # ---- What TFDS asks for.

  @classmethod
  def make_config(
    cls, *, max_examples: int | None = None, **arguments: Any
  ) -> FilesConfig:
    """The config of these files; its name changes whenever they do.

    Raises: as `__init__`.
    """
    if max_examples is not None and max_examples < 1:
      raise ValueError(
        f"max_examples is at least 1, or left out for all; found {max_examples}"
      )
    arguments = cls.complete(arguments)
    units = identity.call_with_known(cls.find, arguments)
    if not units:
      raise ValueError(f"expected files of {cls.TITLE} to read, found none")
    facts = {
      "reader_version": cls.READER_VERSION,
      "arguments": cls.facts(arguments),
      "max_examples": max_examples,
    }
    more = [("", path) for path in cls.files(units, arguments)]
    return FilesConfig(
      name=f"files_{identity.fingerprint(facts, [*units, *more])}",
      description=few([unit.path.name for unit in units]),
      units=tuple(units),
      arguments=arguments,
      max_examples=max_examples,
    )

  @classmethod
  def default_arguments(cls) -> dict[str, Any]:
    """Defaults of those arguments that have one."""
    pictures = {
      name: value
      for name, value in PICTURE_DEFAULTS.items()
      if name in cls.ARGUMENTS
    }
    found = {
      name: value
      for name, value in identity.defaults_of(cls.find).items()
      if name in cls.ARGUMENTS
    }
    return pictures | found | dict(cls.DEFAULTS)

  @classmethod
  def complete(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with all defaults.

    Raises:
      TypeError: unknown arguments.
      ValueError: one is missing.
    """
    unknown = sorted(set(arguments) - set(cls.ARGUMENTS))
    if unknown:
      raise TypeError(
        f"{cls.__name__} has no argument {', '.join(unknown)}; it has"
        f" {', '.join(cls.ARGUMENTS)}"
      )
    given = {k: v for k, v in arguments.items() if v is not None}
    arguments = cls.default_arguments() | given
    for name in identity.required_by(cls.find):
      if name not in arguments:
        raise ValueError(
          f"{cls.__name__} needs {name}: expected"
          f" {cls.ARGUMENTS.get(name, 'a value')}; found none"
        )
    return arguments

  @classmethod
  def facts(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that do not name files, as JSON holds them."""
    return {
      name: identity.plain(value)
      for name, value in sorted(arguments.items())
      if name not in cls.PATHS
    }

  def _create_builder_config(
    self, builder_config: FilesConfig, version: Any
  ) -> FilesConfig:
    # TFDS would warn each time that the class does not list this config.
    return builder_config

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.DESCRIPTION or self.TITLE,
      features=tfds.features.FeaturesDict(self.make_features()),
      citation=self.CITATION,
      homepage=self.HOMEPAGE or None,
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Any]:
    del dl_manager  # Nothing is downloaded.
    self._reports: dict[str, DropReport] = {}
    return {
      split: self._generate_examples(split)
      for split in dict.fromkeys(u.split for u in self.builder_config.units)
    }

  def _generate_examples(
    self, split: str
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    config = self.builder_config
    report = self._reports[split] = DropReport(title=self.TITLE)
    units = [unit for unit in config.units if unit.split == split]
    for record in reading.read_split(
      type(self), units, config.arguments, report, config.max_examples
    ):
      yield record.id, record.features
    if not report.records_kept:
      raise ValueError(
        f"expected at least one good {self.TITLE} record for the split"
        f" {split!r}, found none in {few([u.path.name for u in units])}:\n"
        + report.table()
      )

  def _download_and_prepare(
    self,
    dl_manager: tfds.download.DownloadManager,
    download_config: tfds.download.DownloadConfig,
  ) -> None:
    super()._download_and_prepare(dl_manager, download_config)
    self.report = DropReport(title=self.TITLE)
    for report in self._reports.values():
      self.report.merge(report)
    # Still in the temporary folder, which TFDS renames when all is written.
    (pathlib.Path(self.data_path) / MANIFEST).write_text(
      json.dumps(self._manifest(), indent=2) + "\n"
    )

  def _manifest(self) -> dict[str, Any]:
    """The account; the same for the same files and arguments."""
    config = self.builder_config
    paths = [unit.path for unit in config.units]
    paths += self.files(config.units, config.arguments)
    return {
      "dataset": self.name,
      "reader_version": self.READER_VERSION,
      "arguments": self.facts(config.arguments),
      "max_examples": config.max_examples,
      "files": [identity.describe(path) for path in dict.fromkeys(paths)],
      "splits": {
        split: _counts(report) for split, report in self._reports.items()
      },
    } | self.report.as_dict()


def prepare(
  builder_class: type[FilesBuilder],
  data_dir: str | os.PathLike,
  *,
  max_examples: int | None = None,
  **arguments: Any,
) -> FilesBuilder:
  """The builder of these files, with its data written under `data_dir`.

  Returns at once if the same files were prepared there before; otherwise reads
  them and prints what was dropped and why. A preparation that was interrupted
  leaves nothing that could be taken for a finished one, and is started again.
  Several processes may call this at the same time; one works and the others
  wait. Never uses the network.

  Args:
    builder_class: what to prepare.
    data_dir: the folder of all data sets.
    max_examples: of each split, at most; None is all. Reading ends there.
    **arguments: the builder's.

  Raises:
    FileNotFoundError, ValueError: no such files, or nothing good in them.
    TypeError: unknown arguments.
  """
  data_dir = os.path.expanduser(data_dir)
  builder = builder_class(
    data_dir=data_dir, max_examples=max_examples, **arguments
  )
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
  return builder_class(config=builder.builder_config, data_dir=data_dir)


def main(
  builder_class: type[FilesBuilder], arguments: Sequence[str] | None = None
) -> None:
  """The command line of a builder, see `command`."""
  command.run(builder_class, prepare, arguments)


def few(names: Sequence[str]) -> str:
  """The first of several names and how many there are."""
  rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
  return names[0] + rest


def _write(builder: FilesBuilder) -> None:
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


def _counts(report: DropReport) -> dict[str, Any]:
  """A split's part of the manifest; places are told for all splits together."""
  return {
    "examples": report.records_kept,
    "records_read": report.records_read,
    "dropped": {
      reason.name.lower(): report.counts[reason]
      for reason in sorted(report.counts, key=lambda reason: reason.name)
      if reason.level == "record"
    },
  }


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  """Waits for an exclusive lock, which a killed process loses by itself."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
