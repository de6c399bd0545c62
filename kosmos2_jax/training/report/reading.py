"""What is known of a run: its workdir, as far as the files can be read.

A file that is missing is no mistake: a run has just begun, or is of an older
version. One that cannot be read is told in a sentence.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epath

from kosmos2_jax.evals.report import FORMAT
from kosmos2_jax.training import ledger, workdir, writers
from kosmos2_jax.training.report import environment
from kosmos2_jax.training.report.samples import Samples

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Run:
  """A workdir.

  Attributes:
    name: of the folder.
    rows: of `metrics.jsonl`: "step", "time" and numbers by name.
    events: of `ledger.jsonl`.
    config: whole, or {}.
    environment: see `environment.describe`, or {}.
    results: `results.json` of the evaluation at the end, or {}.
    samples: step -> answers, ascending; see `samples`.
    pictures: file -> encoded pictures of the answers.
    first_batch: rows of a batch as PNG.
    has_evaluation: whether the page of that evaluation is beside.
    complaints: a sentence for each file that could not be read, or not whole.
  """

  name: str
  rows: Sequence[Row] = ()
  events: Sequence[ledger.Event] = ()
  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  results: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  samples: Mapping[int, Sequence[Mapping[str, Any]]] = dataclasses.field(
    default_factory=dict
  )
  pictures: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
  first_batch: bytes | None = None
  has_evaluation: bool = False
  complaints: Sequence[str] = ()

  @property
  def num_steps(self) -> int | None:
    """Updates of the whole run, where the config says."""
    found = self.config.get("num_steps")
    return found if isinstance(found, int) else None


def read(folder: str | os.PathLike) -> Run:
  """Reads a workdir.

  Raises:
    FileNotFoundError: if there is no such folder, or no run in it.
  """
  path = workdir.open_folder(folder)
  if not path.is_dir():
    raise FileNotFoundError(
      f"there is no folder {os.fspath(folder)!r}; --workdir is the folder that"
      " train.py was given."
    )
  files = (writers.FILE, ledger.FILE, workdir.CONFIG_FILE)
  if not any((path / name).exists() for name in files):
    raise FileNotFoundError(
      f"{os.fspath(folder)!r} holds no run of train.py: expected one of"
      f" {', '.join(files)}."
    )
  said: list[str] = []
  samples = Samples(path)
  answers = _samples(samples, said)
  return Run(
    name=path.name,
    rows=_lines(path / writers.FILE, _is_row, said),
    events=_lines(path / ledger.FILE, _is_event, said),
    config=_object(path / workdir.CONFIG_FILE, said),
    environment=_object(path / environment.FILE, said),
    results=_results(path / workdir.RESULTS_FILE, said),
    samples=answers,
    pictures=_pictures(samples, answers, said),
    first_batch=samples.first_batch(),
    has_evaluation=(path / workdir.EVALUATION_FILE).exists(),
    complaints=said,
  )


def _object(path: epath.Path, said: list[str]) -> dict[str, Any]:
  """A JSON object; {} if there is none."""
  if not path.exists():
    return {}
  try:
    found = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    said.append(f"{path.name} is left out: {error}.")
    return {}
  if not isinstance(found, dict):
    said.append(f"{path.name} is left out: it holds no object.")
    return {}
  return found


def _results(path: epath.Path, said: list[str]) -> dict[str, Any]:
  found = _object(path, said)
  if found and found.get("format") != FORMAT:
    said.append(
      f"{path.name} is left out: expected format {FORMAT}, found"
      f" {found.get('format')!r}."
    )
    return {}
  return found


def _lines(
  path: epath.Path, fits: Callable[[Any], bool], said: list[str]
) -> list[dict[str, Any]]:
  """The lines of JSON that fit; the others are told."""
  if not path.exists():
    return []
  found, odd = [], []
  lines = path.read_bytes().decode("utf-8", "replace").split("\n")
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
    except ValueError:
      row = None
    if fits(row):
      found.append(row)
    elif number == len(lines):  # nothing ends it
      said.append(f"{path.name}: the last line is cut off, and left out.")
    else:
      odd.append(number)
  if odd:
    said.append(
      f"{path.name}: {len(odd)} line(s) cannot be read and are left out, the"
      f" first is line {odd[0]}."
    )
  return found


def is_number(value: Any) -> bool:
  """Whether a value of JSON is a finite number."""
  return (
    isinstance(value, int | float)
    and not isinstance(value, bool)
    and math.isfinite(value)
  )


def _is_row(row: Any) -> bool:
  return isinstance(row, dict) and isinstance(row.get("step"), int)


def _is_event(row: Any) -> bool:
  if not isinstance(row, dict) or not isinstance(row.get("event"), str):
    return False
  kinds = {"start": ("step",), "steps": ("first", "end")}
  names = ("time", "seconds", *kinds.get(row["event"], ()))
  if not all(is_number(row.get(name)) for name in names):
    return False
  return row["event"] != "steps" or row["first"] < row["end"]


def _samples(samples: Samples, said: list[str]) -> dict[int, Any]:
  found = {}
  for step in samples.steps():
    try:
      found[step] = samples.read(step)
    except (OSError, ValueError) as error:
      said.append(f"The samples of step {step:,} are left out: {error}.")
  return found


def _pictures(samples, answers, said) -> dict[str, bytes]:
  shown = [entry["picture"] for all_ in answers.values() for entry in all_]
  found = {}
  for name in dict.fromkeys(picture["file"] for picture in shown if picture):
    try:
      found[name] = samples.picture(name)
    except OSError as error:
      said.append(f"A picture of the samples is missing: {error}.")
  return found
