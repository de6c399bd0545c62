"""Reads units in parallel with Apache Beam: the same records, the same account.

Imported only when Beam is asked for. A unit is a task; of records with the
same id in several units, the first in the order of units is kept, as without
Beam.
"""

import json
import os
import pathlib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options import pipeline_options
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle

from data.building import reading
from data.building.drops import DropReport
from data.building.reading import Unit

LOCAL_RUNNERS = (None, "DirectRunner", "FnApiRunner")
# What goes through the pipeline: the unit's number and the record's place in
# the unit, its items, its features.
Read = tuple[int, int, int, dict[str, Any]]


class ReadUnits(beam.PTransform):
  """The (id, features) of a split; its report is written to a file."""

  def __init__(
    self,
    builder_class: Any,
    units: Sequence[Unit],
    arguments: Mapping[str, Any],
    report_path: pathlib.Path,
  ):
    """Takes what to read, and where to write the report as JSON."""
    super().__init__()
    self._reader = _ReadUnit(builder_class, dict(arguments))
    # Numbers and text alone, which every runner carries.
    self._units = [
      (number, unit.split, os.fspath(unit.path))
      for number, unit in enumerate(units)
    ]
    self._report_path = os.fspath(report_path)

  def expand(self, pipeline: Any) -> Any:
    """Adds the steps to a pipeline."""
    read = (
      pipeline
      | "Units" >> beam.Create(self._units)
      | "Spread" >> beam.Reshuffle()
      | "Read" >> beam.ParDo(self._reader).with_outputs("parts", main="records")
    )
    first = (
      read.records
      | "GroupIds" >> beam.GroupByKey()
      | "KeepFirst"
      >> beam.ParDo(_KeepFirst()).with_outputs("repeated", main="kept")
    )
    _ = (
      {"parts": read.parts, "repeated": first.repeated}
      | "GroupUnits" >> beam.CoGroupByKey()
      | "CountRepeated" >> beam.Map(_count_repeated)
      | "CollectUnits" >> beam.combiners.ToList()
      | "WriteReport" >> beam.Map(_write_report, self._report_path)
    )
    return first.kept


class _ReadUnit(beam.DoFn):
  """A unit to its records, then the unit's report."""

  def __init__(self, builder_class: Any, arguments: dict[str, Any]):
    self._builder_class = builder_class
    self._arguments = arguments

  def process(self, element: tuple[int, str, str]) -> Iterator[Any]:
    number, split, path = element
    unit = Unit(split, pathlib.Path(path))
    report = DropReport()
    records = reading.read_unit(
      self._builder_class, unit, self._arguments, report
    )
    for place, (record, num_items) in enumerate(records):
      yield record.id, (number, place, num_items, record.features)
    part = unit.path.name, report.as_dict()
    yield beam.pvalue.TaggedOutput("parts", (number, part))


class _KeepFirst(beam.DoFn):
  """The first record of an id, and where the others are."""

  def process(self, element: tuple[str, Iterable[Read]]) -> Iterator[Any]:
    record_id, records = element
    first = None
    for record in records:
      if first is not None and record[:2] > first[:2]:
        other = record
      else:
        first, other = record, first
      if other is not None:
        number, place, num_items, _ = other
        yield beam.pvalue.TaggedOutput(
          "repeated", (number, (place, record_id, num_items))
        )
    yield record_id, first[3]


def make_config(workers: int, options: Any) -> dict[str, Any]:
  """The fields of TFDS's DownloadConfig that make it use Beam.

  Args:
    workers: processes of this machine, used unless there are `options`.
    options: Beam's, as text, a list of flags or `PipelineOptions`; or None.

  Raises:
    ValueError: a number of workers that is none, or both are given.
  """
  if options is not None and workers:
    raise ValueError(
      f"expected beam_workers or beam_options, found both: {workers} workers"
      f" and the options {options!r}; leave one of them out"
    )
  if options is None and workers < 1:
    raise ValueError(f"expected at least 1 of beam_workers, found {workers}")
  if options is None:
    options = [
      f"--direct_num_workers={workers}",
      "--direct_running_mode=multi_processing",
    ]
  if isinstance(options, str):
    options = shlex.split(options)
  if not isinstance(options, pipeline_options.PipelineOptions):
    options = pipeline_options.PipelineOptions(list(options))
  runner = options.view_as(pipeline_options.StandardOptions).runner
  if runner in LOCAL_RUNNERS:
    # Beam's own choice for this machine downloads a program first.
    runner = fn_runner.FnApiRunner(
      provision_info=fn_runner.ExtendedProvisionInfo(
        beam_provision_api_pb2.ProvisionInfo(
          pipeline_options=JobServiceHandle.encode_pipeline_options(
            options.get_all_options()
          )
        )
      )
    )
  return {"beam_runner": runner, "beam_options": options}


def read_report(path: pathlib.Path, title: str) -> DropReport:
  """The report that `ReadUnits` wrote; its file is removed."""
  told = json.loads(path.read_text())
  path.unlink()
  return DropReport.from_dict(told, title)


def _count_repeated(element: tuple[int, dict[str, Any]]) -> tuple[int, Any]:
  """A unit's report, with those of its records that came before elsewhere."""
  number, found = element
  [(name, told)] = found["parts"]
  report = DropReport.from_dict(told, "")
  unit = Unit("", pathlib.Path(name))
  for _, record_id, num_items in sorted(found["repeated"]):
    reading.take_back(report, unit, record_id, num_items)
  return number, report.as_dict()


def _write_report(parts: list[tuple[int, Any]], path: str) -> None:
  """Merges the reports of all units in their order."""
  report = DropReport()
  for _, told in sorted(parts, key=lambda part: part[0]):
    report.merge(DropReport.from_dict(told, ""))
  pathlib.Path(path).write_text(json.dumps(report.as_dict()))
