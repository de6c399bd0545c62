"""What a process does that builds: its models are loaded once, then units."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from data.grit.build import account, shard
from data.grit.build.asking import Grounder
from data.grit.build.chain import Parser
from data.grit.build.options import BuildOptions
from data.grit.build.pairs import Unit


@dataclasses.dataclass(frozen=True)
class Task:
  """What is the same for all units; all of it pickles.

  folder         of the shards
  options        what decides what is kept
  make_parser    called once in a process
  make_grounder  the same
  known          number, parser and grounder of a shard that was there before;
                 or nothing
  """

  folder: str
  options: BuildOptions
  make_parser: Callable[[], Parser]
  make_grounder: Callable[[], Grounder]
  known: Mapping[str, Any]


def make_work(task: Task) -> Callable[[Mapping[str, Any]], None]:
  """Loads parser and grounder; returns what builds a unit (as a dictionary).

  Raises:
    Refused: the shard that is known was built with others.
  """
  # Libraries warn of what a build does not need, such as optimizer states.
  logging.set_verbosity(logging.ERROR)
  folder = pathlib.Path(task.folder)
  parser, grounder = task.make_parser(), task.make_grounder()
  if task.known:
    facts = account.model_facts(parser, grounder)
    path = account.stats_path(folder, task.known["number"])
    account.check_same(task.known, facts, path)

  def work(unit: Mapping[str, Any]) -> None:
    shard.build_shard(
      Unit.from_dict(unit), folder, task.options, parser, grounder
    )

  return work
