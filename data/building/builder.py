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

import abc
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data.building import arguments as argument_rules
from data.building import command, identity, reading
from data.building.drops import DropReport
from data.building.preparing import prepare
from data.building.reading import Record, Unit

__all__ = ["FilesBuilder", "FilesConfig", "Record", "Unit", "main", "prepare"]

MANIFEST = "manifest.json"


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
      those that all builders with pictures share.
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
  @abc.abstractmethod
  def find(cls, **arguments: Any) -> list[Unit]:
    """What there is to read, in the order in which the first of an id counts.

    Raises:
      FileNotFoundError, ValueError: no such files, in one sentence.
    """

  @classmethod
  @abc.abstractmethod
  def make_features(cls) -> dict[str, Any]:
    """The features of a record, most often a family of `features`."""

  @classmethod
  @abc.abstractmethod
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

  @classmethod
  def files(
    cls, units: Sequence[Unit], arguments: Mapping[str, Any]
  ) -> list[pathlib.Path]:
    """Files and folders besides the units' that decide what is stored."""
    del units, arguments
    return []

  @classmethod
  def facts(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What else decides what is stored, as JSON holds it: the arguments."""
    return argument_rules.facts(cls, arguments)

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
    given = argument_rules.complete(cls, arguments)
    units = argument_rules.find_units(cls, given)
    if not units:
      raise ValueError(f"expected files of {cls.TITLE} to read, found none")
    facts = {
      "reader_version": cls.READER_VERSION,
      "arguments": cls.facts(given),
      "max_examples": max_examples,
    }
    more = [("", path) for path in cls.files(units, given)]
    return FilesConfig(
      name=f"files_{identity.fingerprint(facts, [*units, *more])}",
      description=few([unit.path.name for unit in units]),
      units=tuple(units),
      arguments=given,
      max_examples=max_examples,
    )

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
    read = self._beam_examples if self._with_beam else self._generate_examples
    return {split: read(split) for split in self._splits()}

  def _splits(self) -> list[str]:
    units = self.builder_config.units
    return list(dict.fromkeys(unit.split for unit in units))

  def _units(self, split: str) -> list[Unit]:
    return [u for u in self.builder_config.units if u.split == split]

  def _beam_examples(self, split: str) -> Any:
    from data.building import beam_build  # Beam is only loaded when used.

    return beam_build.ReadUnits(
      type(self),
      self._units(split),
      self.builder_config.arguments,
      self._report_path(split),
    )

  def _read_reports(self) -> None:
    from data.building import beam_build

    for split in self._splits():
      path = self._report_path(split)
      self._reports[split] = beam_build.read_report(path, self.TITLE)

  def _report_path(self, split: str) -> pathlib.Path:
    """Where Beam's workers leave the account of a split."""
    return pathlib.Path(self.data_path) / f"report.{split}.json"

  def _generate_examples(
    self, split: str
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    config = self.builder_config
    report = self._reports[split] = DropReport(title=self.TITLE)
    units = self._units(split)
    for record in reading.read_split(
      type(self), units, config.arguments, report, config.max_examples
    ):
      yield record.id, record.features
    if not report.records_kept:
      names = [unit.path.name for unit in units]
      raise ValueError(
        f"expected at least one good {self.TITLE} record for the split"
        f" {split!r}, found none in {few(names)}:\n" + report.table()
      )

  def _download_and_prepare(
    self,
    dl_manager: tfds.download.DownloadManager,
    download_config: tfds.download.DownloadConfig,
  ) -> None:
    self._reports: dict[str, DropReport] = {}
    self._with_beam = download_config.beam_options is not None
    super()._download_and_prepare(dl_manager, download_config)
    if self._with_beam:
      self._read_reports()
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


def main(
  builder_class: type[FilesBuilder], arguments: Sequence[str] | None = None
) -> None:
  """The command line of a builder, see `command`."""
  command.run(builder_class, prepare, arguments)


def few(names: Sequence[str]) -> str:
  """The first of several names and how many there are."""
  rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
  return names[0] + rest


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
