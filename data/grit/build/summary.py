"""The accounts of all shards as one."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from data.building.drops import DropReport
from data.grit.build import account
from data.grit.build.asking import MAX_ERRORS
from data.grit.build.pairs import Unit
from data.grit.build.shard import TITLE
from data.grit.build.statistics import Statistics

NOT_BUILT = "it was not built, and nothing says why"


@dataclasses.dataclass
class Summary:
  """Of a folder, whichever runs built its shards.

  num_units        that were asked for
  num_before       of them, those that were finished before this run
  failed           units that have no shard: number, name and error
  facts            options, parser and grounder of the shards
  report           of all finished units
  statistics       the same
  seconds          of the processes, by step; all shards together
  peak_mebibytes   of the process that needed most, MiB
  grounder_errors  of the first pairs for which it failed
  not_asked        phrases that the grounder could not be asked for
  """

  num_units: int
  num_before: int
  failed: list[dict[str, Any]]
  facts: dict[str, Any]
  report: DropReport
  statistics: Statistics
  seconds: dict[str, float]
  peak_mebibytes: float
  grounder_errors: list[str]
  not_asked: int

  @property
  def grounder_share(self) -> float:
    """The part of the time that the grounder took, 0..1."""
    total = sum(self.seconds.values())
    return self.seconds.get("grounding", 0.0) / total if total else 0.0

  @property
  def pairs_per_second(self) -> float:
    """Pairs that were read, a second of one process."""
    total = sum(self.seconds.values())
    return self.report.records_read / total if total else 0.0

  def as_dict(self) -> dict[str, Any]:
    """The summary as JSON can hold it."""
    return {
      "units": self.num_units,
      "finished_before": self.num_before,
      "failed": self.failed,
      **self.facts,
      "statistics": self.statistics.as_dict(),
      "report": self.report.as_dict(),
      "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
      "grounder_share": round(self.grounder_share, 4),
      "pairs_per_second_of_a_process": round(self.pairs_per_second, 1),
      "peak_mebibytes": self.peak_mebibytes,
      "grounder_errors": self.grounder_errors,
      "phrases_not_asked": self.not_asked,
    }


def summarize(
  units: Sequence[Unit],
  folder: pathlib.Path,
  errors: Mapping[int, str],
  num_before: int,
) -> Summary:
  """Reads the accounts of all units, in their order, one at a time.

  Args:
    units: whose shards there should be.
    folder: where they are.
    errors: why the units failed that did, by number.
    num_before: of `Summary`.
  """
  summary = Summary(
    num_units=len(units),
    num_before=num_before,
    failed=[],
    facts={},
    report=DropReport(title=TITLE),
    statistics=Statistics(),
    seconds={},
    peak_mebibytes=0.0,
    grounder_errors=[],
    not_asked=0,
  )
  seconds: collections.Counter[str] = collections.Counter()
  for unit in units:
    told = account.read(folder, unit.number)
    if told is None:
      error = errors.get(unit.number, NOT_BUILT)
      summary.failed.append(
        {"number": unit.number, "name": unit.name, "error": error}
      )
      continue
    summary.facts = {
      name: told[name] for name in account.DECIDING if name != "unit"
    }
    summary.report.merge(DropReport.from_dict(told["report"], TITLE))
    summary.statistics.merge(Statistics.from_dict(told["statistics"]))
    seconds.update(told["seconds"])
    summary.peak_mebibytes = max(summary.peak_mebibytes, told["peak_mebibytes"])
    summary.not_asked += told["phrases_not_asked"]
    room = MAX_ERRORS - len(summary.grounder_errors)
    summary.grounder_errors += told["grounder_errors"][:room]
  summary.seconds = dict(seconds)
  return summary
