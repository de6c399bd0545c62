"""Questions and answers of VQAv2, from files in its format."""

import json
import pathlib

import pytest

from data.building.drops import Drop, Dropped, DropReport
from data.vqav2 import questions


def question(number, image_id=458752, **changes):
  return {
    "image_id": image_id,
    "question": "What is it? ",
    "question_id": number,
  } | changes


def annotation(number, image_id=458752, **changes):
  answers = [
    {"answer": "net", "answer_confidence": "maybe", "answer_id": i + 1}
    for i in range(10)
  ]
  return {
    "question_type": "what is",
    "multiple_choice_answer": "net",
    "answers": answers,
    "image_id": image_id,
    "answer_type": "other",
    "question_id": number,
  } | changes


def load(name, where):
  if name.endswith("000000000013.jpg"):
    raise Dropped(Drop.PICTURE_NOT_FOUND)
  return name.encode()


def read(tmp_path, asked, answered=None, release="val2014"):
  """Features and report of the two files."""
  path = tmp_path / f"v2_OpenEnded_mscoco_{release}_questions.json"
  path.write_text(
    json.dumps({"info": {}, "data_subtype": release, "questions": asked})
  )
  answers = None
  if answered is not None:
    answers = tmp_path / f"v2_mscoco_{release}_annotations.json"
    answers.write_text(json.dumps({"info": {}, "annotations": answered}))
  report = DropReport()
  found = list(questions.read_questions(path, answers, report, load))
  assert report.records_read == len(found) + report.total("record")
  assert report.items_read == report.items_kept + report.total("item")
  assert all(features["id"] == record_id for record_id, features in found)
  return [features for _, features in found], report


def test_question_and_answers(tmp_path):
  asked = [question(n) for n in (458752002, 458752000)]
  answered = [annotation(n) for n in (458752000, 458752002)]
  found, report = read(tmp_path, asked, answered)
  assert [features["id"] for features in found] == ["458752002", "458752000"]
  assert found[0] == {
    "id": "458752002",
    "image": b"COCO_val2014_000000458752.jpg",
    "question": "What is it?",
    "answers": ["net"] * 10,
    "answer_confidences": ["maybe"] * 10,
    "multiple_choices": [],
    "question_type": "what is",
    "answer_type": "other",
    "multiple_choice_answer": "net",
    "position": 0,
  }
  assert found[1]["position"] == 1
  assert (report.files_read, report.items_kept) == (2, 20)
  assert not report.counts


@pytest.mark.parametrize("release", ["test2015", "test-dev2015"])
def test_without_answers(tmp_path, release):
  [features], report = read(tmp_path, [question(1)], release=release)
  assert features["image"] == b"COCO_test2015_000000458752.jpg"
  assert features["answers"] == []
  assert features["answer_type"] == ""
  assert not report.counts


@pytest.mark.parametrize(
  ("asked", "answered", "reason"),
  [
    (7, None, Drop.BAD_JSON),
    (question(None), None, Drop.BAD_ID),
    (question("1"), None, Drop.BAD_ID),
    (question(True), None, Drop.BAD_ID),
    (question(1, image_id=-1), None, Drop.BAD_ID),
    (question(1, question=None), None, Drop.BAD_TEXT),
    (question(1, question=" "), None, Drop.EMPTY_TEXT),
    (question(1, multiple_choices="net"), annotation(1), Drop.BAD_VALUE),
    (question(1, multiple_choices=[1]), annotation(1), Drop.BAD_TEXT),
    (question(1, multiple_choices=[" "]), annotation(1), Drop.EMPTY_TEXT),
    (question(1), None, Drop.UNANSWERED),
    (question(1), annotation(1, 9), Drop.ANOTHER_PICTURE),
    (question(1), annotation(1, answers=[]), Drop.NO_ANSWER_LEFT),
    (question(1), annotation(1, answers=None), Drop.NO_ANSWER_LEFT),
    (question(1), annotation(1, answer_type=3), Drop.BAD_TEXT),
    (question(1, 13), annotation(1, 13), Drop.PICTURE_NOT_FOUND),
  ],
)
def test_bad_questions(tmp_path, asked, answered, reason):
  answers = [annotation(2)] + [answered] * (answered is not None)
  found, report = read(tmp_path, [asked, question(2)], answers)
  assert [features["id"] for features in found] == ["2"]
  assert dict(report.counts) == {reason: 1}


def test_choices_are_kept_in_their_order(tmp_path):
  asked = question(1, multiple_choices=["net ", "ball", "a cat", "net"])
  [features], report = read(tmp_path, [asked], [annotation(1)])
  assert features["multiple_choices"] == ["net", "ball", "a cat", "net"]
  assert not report.counts


def test_bad_answers(tmp_path):
  answers = [
    {"answer": "net", "answer_confidence": "yes"},
    {"answer": "a ball"},
    {"answer": ""},
    {"answer": "net", "answer_confidence": 1},
    "net",
  ]
  found, report = read(
    tmp_path, [question(1)], [annotation(1, answers=answers)]
  )
  assert found[0]["answers"] == ["net", "a ball"]
  assert found[0]["answer_confidences"] == ["yes", ""]
  assert dict(report.counts) == {Drop.BAD_SENTENCE: 3, Drop.ANSWER_COUNT: 1}


def test_bad_annotations(tmp_path):
  answered = [
    annotation(1),
    annotation(1, multiple_choice_answer="ball"),
    annotation(None),
    annotation(2, image_id=None),
    7,
    annotation(3),
  ]
  [features], report = read(tmp_path, [question(1)], answered)
  assert features["multiple_choice_answer"] == "net"
  assert dict(report.counts) == {
    Drop.SECOND_ANNOTATION: 1,
    Drop.BAD_ANNOTATION: 3,
    Drop.LONE_ANNOTATION: 1,
  }


def test_name_without_a_split():
  with pytest.raises(ValueError, match=r"'questions\.json'; rename the file"):
    questions.release_of(pathlib.Path("questions.json"))
