"""Reads SEED-Bench: questions with four choices, and the names of their types.

  {"questions": [{"answer": "A", "choice_a": "One", "choice_b": "Two",
                  "choice_c": "Three", "choice_d": "Four",
                  "data_id": "1454426_2591111986", "data_type": "image",
                  "question": "How many towels are in the image?",
                  "question_id": "101669", "question_type_id": 5}, …],
   "question_type": {"Scene Understanding": 1, …}}

`data_id` is the name of a picture, without an extension as it is published.
"""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from data.building import json_files, messages, samples
from data.building.drops import Drop, Dropped, DropReport

LETTERS = "ABCD"

# The bytes of a picture by its name and the place it is named at, ready to
# store; raises Dropped.
Load = Callable[[str, str], bytes]
Example = tuple[str, dict[str, Any]]


def read_questions(
  path: pathlib.Path, report: DropReport, load: Load
) -> Iterator[Example]:
  """Yields id and features of every good question about a picture.

  Args:
    path: of the whole file, 10 MB; questions and types belong together.
    report: is told of everything; complete when the iterator is exhausted.
      Items are the choices.
    load: gives the pictures.

  Raises:
    BrokenJson: the file is no JSON, or not to its end.
    ValueError: it has no questions.
  """
  content = json_files.load(path)
  questions = content.get("questions") if isinstance(content, dict) else None
  if not isinstance(questions, list):
    raise ValueError(
      f"expected an object with a list of questions in {path}, as"
      " SEED-Bench.json has it, found none; get the file again"
    )
  report.files_read += 1
  types = _names(content.get("question_type"))
  for position, fields in enumerate(questions):
    report.records_read += 1
    where = f"{path.name}:item {position + 1}"
    try:
      record_id, features = _read_question(fields, where, types, load)
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    report.items_read += len(LETTERS)
    report.items_kept += len(LETTERS)
    yield record_id, features | {"position": position}


def _names(types: Any) -> dict[int, str]:
  """Names of types by their numbers."""
  if not isinstance(types, dict):
    return {}
  return {
    number: name for name, number in types.items() if isinstance(number, int)
  }


def _read_question(
  fields: Any, where: str, types: dict[int, str], load: Load
) -> Example:
  """One question. Raises Dropped."""
  if not isinstance(fields, dict):
    raise Dropped(Drop.BAD_JSON)
  if fields.get("data_type") != "image":
    raise Dropped(Drop.NO_PICTURE)
  record_id = samples.id_of(fields, "", "question_id")
  if not record_id:
    raise Dropped(Drop.BAD_ID)
  question = messages.check_words(fields.get("question"))
  choices = [
    messages.check_words(fields.get(f"choice_{letter.lower()}"))
    for letter in LETTERS
  ]
  number, name = fields.get("question_type_id"), fields.get("data_id")
  answer = fields.get("answer")
  if (
    isinstance(number, bool)
    or not isinstance(number, int)
    or not isinstance(name, str)
    or not isinstance(answer, str)
    or answer not in tuple(LETTERS)
  ):
    raise Dropped(Drop.BAD_VALUE)
  return record_id, {
    "id": record_id,
    "image": load(name, where),
    "question": question,
    "answers": [choices[LETTERS.index(answer)]],
    "choices": choices,
    "answer": answer,
    "question_type": types.get(number, f"type {number}"),
  }
