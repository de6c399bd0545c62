"""Reads VQAv2: questions about COCO pictures, and ten people's answers.

Questions and answers are in two files, joined by `question_id`:

  {"questions": [{"image_id": 458752, "question_id": 458752000,
                  "question": "What is this photo taken looking through?"}, …]}
  {"annotations": [{"question_id": 458752000, "image_id": 458752,
                    "question_type": "what is this", "answer_type": "other",
                    "multiple_choice_answer": "net", "answers": [
                      {"answer": "net", "answer_confidence": "maybe",
                       "answer_id": 1}, …]}, …]}

The MultipleChoice files of the first release have `multiple_choices` besides,
a list of 18 answers to each question.
"""

import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from data.building import coco, json_files, messages
from data.building.drops import Drop, Dropped, DropReport

# What official scores take for granted.
NUM_ANSWERS = 10
_RELEASE = re.compile(r"(train|val|test-dev|test)(20\d\d)")

# The bytes of a picture by its name and the place it is named at, ready to
# store; raises Dropped.
Load = Callable[[str, str], bytes]
Example = tuple[str, dict[str, Any]]


def release_of(path: pathlib.Path) -> tuple[str, str]:
  """The split and the year that a file's name tells: ("val", "2014").

  Raises ValueError: it tells none.
  """
  match = _RELEASE.search(path.name)
  if match is None:
    raise ValueError(
      "expected the name of a VQAv2 file to hold its split and year, as"
      f" v2_OpenEnded_mscoco_val2014_questions.json does, found {path.name!r};"
      " rename the file"
    )
  return match[1], match[2]


def read_questions(
  path: pathlib.Path,
  annotations: pathlib.Path | None,
  report: DropReport,
  load: Load,
) -> Iterator[Example]:
  """Yields id and features of every good question, in the order of the file.

  Args:
    path: questions.
    annotations: the answers to them; None where they are not public, then
      every list of answers is empty and every type "".
    report: is told of everything; complete when the iterator is exhausted.
      Its items are answers.
    load: gives the pictures.
  """
  split, year = release_of(path)
  release = split.removesuffix("-dev") + year
  answers = None
  if annotations is not None:
    answers = read_annotations(annotations, report)
  asked: set[int] = set()
  found = json_files.read_list(path, "questions", report)
  for position, (where, fields) in enumerate(found):
    report.records_read += 1
    try:
      record_id, features = _read_question(
        fields, where, answers, asked, release, report, load
      )
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    yield record_id, features | {"position": position}
  if answers is not None and (lone := len(answers.keys() - asked)):
    report.add(Drop.LONE_ANNOTATION, annotations.name, lone)


def read_annotations(path: pathlib.Path, report: DropReport) -> dict[int, str]:
  """Annotations by their question, as JSON: half a million fit in memory."""
  found: dict[int, str] = {}
  for where, fields in json_files.read_list(path, "annotations", report):
    number = _number(fields, "question_id")
    if number is None or _number(fields, "image_id") is None:
      report.add(Drop.BAD_ANNOTATION, where)
    elif number in found:
      report.add(Drop.SECOND_ANNOTATION, where)
    else:
      found[number] = json.dumps(fields)
  return found


def _read_question(
  fields: Any,
  where: str,
  answers: dict[int, str] | None,
  asked: set[int],
  release: str,
  report: DropReport,
  load: Load,
) -> Example:
  """One question; its number is put into `asked`. Raises Dropped."""
  if not isinstance(fields, dict):
    raise Dropped(Drop.BAD_JSON)
  number = _number(fields, "question_id")
  image_id = _number(fields, "image_id")
  if number is None or image_id is None:
    raise Dropped(Drop.BAD_ID)
  question = messages.check_words(fields.get("question"))
  given: list[tuple[str, str]] = []
  annotation: dict[str, Any] = {}
  if answers is not None:
    if number not in answers:
      raise Dropped(Drop.UNANSWERED)
    # Not taken out: a question that comes twice has the same answers.
    asked.add(number)
    annotation = json.loads(answers[number])
    if annotation["image_id"] != image_id:
      raise Dropped(Drop.ANOTHER_PICTURE)
    given = _answers(annotation.get("answers"), where, report)
  types = {
    name: messages.check_text(annotation.get(name, ""))
    for name in ("question_type", "answer_type", "multiple_choice_answer")
  }
  choices = fields.get("multiple_choices", [])
  if not isinstance(choices, list):
    raise Dropped(Drop.BAD_VALUE)
  choices = [messages.check_words(choice) for choice in choices]
  image = load(coco.picture_name(release, image_id), where)
  record_id = str(number)
  return record_id, {
    "id": record_id,
    "image": image,
    "question": question,
    "answers": [answer for answer, _ in given],
    "answer_confidences": [confidence for _, confidence in given],
    "multiple_choices": choices,
    **types,
  }


def _answers(
  value: Any, where: str, report: DropReport
) -> list[tuple[str, str]]:
  """Good answers with their confidence. Raises Dropped: NO_ANSWER_LEFT."""
  items = value if isinstance(value, list) else []
  kept = []
  for item in items:
    report.items_read += 1
    fields = item if isinstance(item, dict) else {}
    try:
      answer = messages.check_words(fields.get("answer"))
      confidence = messages.check_text(fields.get("answer_confidence", ""))
    except Dropped:
      report.add(Drop.BAD_SENTENCE, where)
      continue
    kept.append((answer, confidence))
  report.items_kept += len(kept)
  if not kept:
    raise Dropped(Drop.NO_ANSWER_LEFT)
  if len(kept) != NUM_ANSWERS:
    report.add(Drop.ANSWER_COUNT, where)
  return kept


def _number(fields: Any, name: str) -> int | None:
  """A whole number that is no id of another kind; None for anything else."""
  value = fields.get(name) if isinstance(fields, dict) else None
  if isinstance(value, bool) or not isinstance(value, int):
    return None
  return value if 0 <= value < 1 << 63 else None
