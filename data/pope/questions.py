"""Reads POPE: JSON Lines, though the files are called .json.

  {"question_id": 1, "image": "COCO_val2014_000000310196.jpg",
   "text": "Is there a snowboard in the image?", "label": "yes"}

Half of the labels are "yes".
"""

import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from data.building import json_files, messages
from data.building.drops import Drop, Dropped, DropReport

LABELS = ("yes", "no")
# How the things that are not there were chosen.
SPLITS = ("random", "popular", "adversarial")
_SPLIT = re.compile("|".join(SPLITS))

# The bytes of a picture by its name and the place it is named at, ready to
# store; raises Dropped.
Load = Callable[[str, str], bytes]
Example = tuple[str, dict[str, Any]]


def split_of(path: pathlib.Path) -> str:
  """The split that a file's name tells.

  Raises ValueError: it tells none.
  """
  match = _SPLIT.search(path.name)
  if match is None:
    raise ValueError(
      f"expected the name of a POPE file to hold one of {', '.join(SPLITS)}, as"
      f" coco_pope_random.json does, found {path.name!r}; rename the file"
    )
  return match[0]


def read_questions(
  path: pathlib.Path, report: DropReport, load: Load
) -> Iterator[Example]:
  """Yields id and features of every good question, in the order of the file.

  Args:
    path: of the questions.
    report: is told of everything; complete when the iterator is exhausted.
      Each question has one item, its label.
    load: gives the pictures.
  """
  found = json_files.read_objects(path, report)
  for position, (where, fields) in enumerate(found):
    report.records_read += 1
    try:
      record_id, features = _read_question(fields, where, load)
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    report.items_read += 1
    report.items_kept += 1
    yield record_id, features | {"position": position}


def _read_question(fields: Any, where: str, load: Load) -> Example:
  """One question. Raises Dropped."""
  if not isinstance(fields, dict):
    raise Dropped(Drop.BAD_JSON)
  number = fields.get("question_id")
  if isinstance(number, bool) or not isinstance(number, int):
    raise Dropped(Drop.BAD_ID)
  question = messages.check_words(fields.get("text"))
  label = messages.check_words(fields.get("label")).lower()
  name = fields.get("image")
  if label not in LABELS or not isinstance(name, str):
    raise Dropped(Drop.BAD_VALUE)
  record_id = str(number)
  return record_id, {
    "id": record_id,
    "image": load(name, where),
    "question": question,
    "answers": [label],
    "label": label,
  }
