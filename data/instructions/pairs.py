"""Reads instructions in words and their answers, in three layouts.

Each object of a file is told by its fields:

  Unnatural Instructions  {"instruction": …, "instances": [
                            {"instruction_with_input": …, "output": …, …}],
                           "reformulations": [the same; full data only]}
  FLAN                    {"inputs": …, "targets": …}
  Alpaca                  {"instruction": …, "input": …, "output": …}
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from data.building import json_files, messages
from data.building.drops import Drop, Dropped, DropReport

Example = tuple[str, dict[str, Any]]
# Asked, answered, and the layout it comes from, a note.
_Pair = tuple[Any, Any, Drop]


def read_pairs(path: pathlib.Path, report: DropReport) -> Iterator[Example]:
  """Yields id and features of every good pair of a file.

  A line of Unnatural Instructions has several pairs, and each is a record.
  The id is a hash of the words, so that equal pairs have the same.

  Args:
    path: JSON or JSON Lines, layouts mixed as they come.
    report: is told of everything; complete when the iterator is exhausted.
      Its notes say how many pairs of each layout there were.
  """
  for where, fields in json_files.read_objects(path, report):
    try:
      found = list(pairs_of(fields))
    except Dropped as dropped:
      report.records_read += 1
      report.add(dropped.reason, where)
      continue
    for asked, answered, layout in found:
      report.records_read += 1
      report.add(layout, where)
      try:
        example = _example(asked, answered)
      except Dropped as dropped:
        report.add(dropped.reason, where)
        continue
      yield example


def pairs_of(fields: Any) -> Iterator[_Pair]:
  """What is asked and answered in one object, not yet checked.

  Raises Dropped: BAD_JSON, UNKNOWN_LAYOUT.
  """
  if not isinstance(fields, dict):
    raise Dropped(Drop.BAD_JSON)
  if "instances" in fields:
    yield from _unnatural(fields)
  elif "inputs" in fields and "targets" in fields:
    yield fields["inputs"], fields["targets"], Drop.FLAN_PAIR
  elif "instruction" in fields and "output" in fields:
    asked = fields["instruction"]
    given = fields.get("input")
    if isinstance(asked, str) and isinstance(given, str) and given.strip():
      asked = f"{asked.rstrip()}\n\n{given.strip()}"
    elif not isinstance(given, str | None):
      asked = None  # Not what was meant to be asked.
    yield asked, fields["output"], Drop.ALPACA_PAIR
  else:
    raise Dropped(Drop.UNKNOWN_LAYOUT)


def _unnatural(fields: dict[str, Any]) -> Iterator[_Pair]:
  """The instances and the reformulations of one instruction.

  `constraints` is left out: the outputs were written without it.
  """
  reformulations = fields.get("reformulations") or []
  for name, layout in (
    ("instances", Drop.UNNATURAL_PAIR),
    ("reformulations", Drop.REFORMULATED_PAIR),
  ):
    items = fields["instances"] if name == "instances" else reformulations
    if not isinstance(items, list):
      raise Dropped(Drop.UNKNOWN_LAYOUT)
    for item in items:
      item = item if isinstance(item, dict) else {}
      yield item.get("instruction_with_input"), item.get("output"), layout
  if not fields["instances"] and not reformulations:
    raise Dropped(Drop.EMPTY_TEXT)


def _example(asked: Any, answered: Any) -> Example:
  """Raises Dropped: BAD_TEXT, EMPTY_TEXT, IMAGE_COUNT."""
  said = [
    {"role": "user", "text": messages.check_text(asked)},
    {"role": "assistant", "text": messages.check_text(answered)},
  ]
  messages.check_messages(said, num_images=0)
  record_id = messages.content_id(message["text"] for message in said)
  return record_id, {"id": record_id, "images": [], "messages": said}
