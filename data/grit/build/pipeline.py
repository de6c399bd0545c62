"""Builds many shards at once with Apache Beam.

A unit of pairs is an element and becomes a shard; pictures do not go through
the pipeline. What is built is seen in the folder, so a run that was ended goes
on where it was, and the folder has to be one that all workers see.
"""

import functools
import json
import logging
import os
import pathlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from data.building import beam_build
from data.grit.build import account, supervision, worker
from data.grit.build.asking import Grounder
from data.grit.build.chain import Parser
from data.grit.build.child import Refused
from data.grit.build.options import BuildOptions
from data.grit.build.pairs import Unit
from data.grit.build.summary import Summary, summarize

# Beam deals units out before it starts. With more threads than processes, a
# process that is done early takes from what was dealt to others.
THREADS_PER_WORKER = 4
LOOK_SECONDS = 0.5
# Pauses between looks at the folder are so much longer than a look.
LOOK_PAUSES = 20
# How long the threads of a build that is stopped may take to end.
STOP_SECONDS = 30.0


def build(
  units: Sequence[Unit],
  folder: pathlib.Path,
  options: BuildOptions,
  make_parser: Callable[[], Parser],
  make_grounder: Callable[[], Grounder],
  *,
  workers: int = 1,
  threads_per_worker: int = 1,
  beam_options: str | Sequence[str] | None = None,
  watch: Callable[[int, int], None] | None = None,
) -> Summary:
  """Builds the shards of all units that are not finished.

  Args:
    units: of `pairs.find_units`; those of the same pairs as before, if the
      folder has shards.
    folder: of the shards; is made.
    options: what decides what is kept.
    make_parser: called in each process that builds. It pickles.
    make_grounder: the same.
    workers: processes that build, each with a parser and a grounder. With
      `beam_options`, in each process of Beam's.
    threads_per_worker: threads of computing in each of them.
    beam_options: of a cluster's runner; by default Beam runs here.
    watch: told now and then how many shards are finished, of how many.

  Returns:
    What was built, all of it, and which units failed.

  Raises:
    Refused: there are shards of another build in the folder; a parser or
      grounder cannot be made.
    OSError: the folder cannot be made or written.
    KeyboardInterrupt: the user did not want to wait. All processes have ended.
  """
  for name, number in (
    ("workers", workers),
    ("threads_per_worker", threads_per_worker),
  ):
    if number < 1:
      raise ValueError(f"expected at least 1 of {name}, found {number}")
  if not units:
    raise ValueError("expected units of pairs to build, found none")
  folder.mkdir(parents=True, exist_ok=True)
  account.remove_leftovers(folder)
  left, known = _look(units, folder, options)
  key = uuid.uuid4().hex
  outcomes = folder / f"outcomes-{key}.json"
  task = worker.Task(
    os.fspath(folder), options, make_parser, make_grounder, known
  )
  build_units = _BuildUnits(key, task, workers, threads_per_worker)
  # Where nothing is left, a look at one finished shard says whether the same
  # parser and grounder are asked for.
  todo = left or list(units[:1])
  config = beam_build.make_config(0, beam_options or _local(workers))
  finished = len(units) - len(left)
  run = functools.partial(_run, config, todo, build_units, outcomes)
  try:
    _run_in_thread(run, key, folder, left, finished, watch)
    told = json.loads(outcomes.read_text())
  finally:
    supervision.stop_pool(key)
    outcomes.unlink(missing_ok=True)
    account.remove_leftovers(folder)
  if told["refused"]:
    raise Refused(told["refused"][0])
  return summarize(units, folder, dict(told["failed"]), num_before=finished)


def _look(
  units: Sequence[Unit], folder: pathlib.Path, options: BuildOptions
) -> tuple[list[Unit], dict[str, Any]]:
  """Units that are not finished, and the parser and grounder of the others."""
  left: list[Unit] = []
  known: dict[str, Any] = {}
  known_number = 0
  for unit in units:
    told = account.read(folder, unit.number)
    if told is None:
      left.append(unit)
      continue
    facts = {"unit": account.unit_facts(unit), "options": options.as_dict()}
    path = account.stats_path(folder, unit.number)
    account.check_same(told, facts | known, path)
    known = {name: told[name] for name in ("parser", "grounder")}
    known_number = unit.number
  return left, known | {"number": known_number} if known else {}


def _local(workers: int) -> list[str]:
  return [
    f"--direct_num_workers={THREADS_PER_WORKER * workers}",
    "--direct_running_mode=multi_threading",
  ]


def _run(
  config: dict[str, Any],
  units: Sequence[Unit],
  build_units: "_BuildUnits",
  outcomes: pathlib.Path,
) -> None:
  """The pipeline, up to its end."""
  with beam.Pipeline(
    runner=config["beam_runner"], options=config["beam_options"]
  ) as pipeline:
    _ = (
      pipeline
      | "Units" >> beam.Create([unit.as_dict() for unit in units])
      | "Spread" >> beam.Reshuffle()
      | "Build" >> beam.ParDo(build_units)
      | "Collect" >> beam.CombineGlobally(_Outcomes())
      | "Write" >> beam.Map(_write, os.fspath(outcomes))
    )


def _run_in_thread(
  run: Callable[[], None],
  key: str,
  folder: pathlib.Path,
  left: Sequence[Unit],
  finished: int,
  watch: Callable[[int, int], None] | None,
) -> None:
  """Runs the pipeline while this thread watches the folder and the keyboard."""
  errors: list[BaseException] = []

  def run_and_tell() -> None:
    try:
      run()
    except BaseException as error:
      errors.append(error)

  thread = threading.Thread(target=run_and_tell, daemon=True)
  thread.start()
  waiting = [account.stats_path(folder, unit.number) for unit in left]
  total = finished + len(left)
  try:
    pause = LOOK_SECONDS
    while thread.is_alive():
      thread.join(pause)
      start = time.monotonic()
      waiting = [path for path in waiting if not path.exists()]
      # There may be many, in a folder that is far away.
      pause = max(LOOK_SECONDS, LOOK_PAUSES * (time.monotonic() - start))
      if watch is not None:
        watch(total - len(waiting), total)
  except KeyboardInterrupt:
    # Nothing waits for a child any more, so Beam comes to its end.
    supervision.stop_pool(key)
    thread.join(STOP_SECONDS)
    raise
  if errors:
    raise errors[0]


class _BuildUnits(beam.DoFn):
  """A unit to its shard; yields what became of it, which is little."""

  def __init__(self, key: str, task: worker.Task, workers: int, threads: int):
    self._key = key
    self._task = task
    self._workers = workers
    self._threads = threads

  def process(self, element: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pool = supervision.shared_pool(self._key, self._make_pool)
    number = element["number"]
    try:
      outcome = pool.run(element)
    except Refused as refused:
      # The same for all others: none of them needs to be tried.
      pool.stop()
      yield {"refused": [str(refused)], "failed": []}
    except supervision.Stopped:
      yield {"refused": [], "failed": []}
    else:
      failed = [[number, outcome.error]] if outcome.error else []
      if failed:
        logging.error("%s: %s", element["name"], outcome.error)
      yield {"refused": [], "failed": failed}

  def teardown(self) -> None:
    # Others of this process may be at work.
    supervision.rest_pool(self._key)

  def _make_pool(self) -> supervision.Pool:
    return supervision.Pool(
      functools.partial(worker.make_work, self._task),
      self._workers,
      supervision.thread_variables(self._threads),
    )


class _Outcomes(beam.CombineFn):
  """All that failed, and why; the rest is told by the shards' accounts."""

  def create_accumulator(self) -> dict[str, list[Any]]:
    return {"refused": [], "failed": []}

  def add_input(
    self, accumulator: dict[str, list[Any]], element: dict[str, list[Any]]
  ) -> dict[str, list[Any]]:
    return self.merge_accumulators([accumulator, element])

  def merge_accumulators(self, accumulators: Any) -> dict[str, list[Any]]:
    merged = self.create_accumulator()
    for accumulator in accumulators:
      merged["refused"] = (merged["refused"] + accumulator["refused"])[:1]
      merged["failed"] += accumulator["failed"]
    return merged

  def extract_output(
    self, accumulator: dict[str, list[Any]]
  ) -> dict[str, list[Any]]:
    return accumulator | {"failed": sorted(accumulator["failed"])}


def _write(told: dict[str, list[Any]], path: str) -> None:
  account.write_whole(pathlib.Path(path), json.dumps(told))
