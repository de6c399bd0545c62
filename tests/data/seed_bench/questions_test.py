"""Questions of SEED-Bench, from a file in its format."""

import json

import pytest

from data.building.drops import Drop, Dropped, DropReport
from data.building.json_files import BrokenJson
from data.seed_bench import questions

TYPES = {"Instance Attributes": 3, "Instances Counting": 5}


def question(number="101669", **changes):
  return {
    "answer": "B",
    "choice_a": "One",
    "choice_b": " Two",
    "choice_c": "Three",
    "choice_d": "Four",
    "data_id": "1454426_2591111986",
    "data_type": "image",
    "question": "How many towels are in the image?",
    "question_id": number,
    "question_type_id": 5,
  } | changes


def load(name, where):
  if name == "gone":
    raise Dropped(Drop.PICTURE_NOT_FOUND)
  return f"{name} {where}".encode()


def read(tmp_path, *asked, **content):
  """Features and report of a file."""
  path = tmp_path / "SEED-Bench.json"
  content = {"questions": asked, "question_type": TYPES} | content
  path.write_text(json.dumps(content))
  report = DropReport()
  found = list(questions.read_questions(path, report, load))
  assert report.records_read == len(found) + report.total("record")
  assert all(features["id"] == record_id for record_id, features in found)
  return [features for _, features in found], report


def test_a_question(tmp_path):
  found, report = read(
    tmp_path, question(), question(2, question_type_id=9, answer="D")
  )
  assert found[0] == {
    "id": "101669",
    "image": b"1454426_2591111986 SEED-Bench.json:item 1",
    "question": "How many towels are in the image?",
    "answers": ["Two"],
    "choices": ["One", "Two", "Three", "Four"],
    "answer": "B",
    "question_type": "Instances Counting",
    "position": 0,
  }
  # A type that the file does not name.
  assert found[1]["question_type"] == "type 9"
  assert (found[1]["id"], found[1]["answers"]) == ("2", ["Four"])
  assert (report.files_read, report.items_kept) == (1, 8)
  assert not report.counts


@pytest.mark.parametrize(
  ("bad", "reason"),
  [
    ("?", Drop.BAD_JSON),
    (question(data_type="video"), Drop.NO_PICTURE),
    (question(data_type=None, data_id=["a", "b"]), Drop.NO_PICTURE),
    (question(None), Drop.BAD_ID),
    (question([1]), Drop.BAD_ID),
    (question(question="\n"), Drop.EMPTY_TEXT),
    (question(choice_d=""), Drop.EMPTY_TEXT),
    (question(choice_c=None), Drop.BAD_TEXT),
    (question(answer="E"), Drop.BAD_VALUE),
    (question(answer="AB"), Drop.BAD_VALUE),
    (question(answer=["A"]), Drop.BAD_VALUE),
    (question(question_type_id="5"), Drop.BAD_VALUE),
    (question(data_id=["a"]), Drop.BAD_VALUE),
    (question(data_id="gone"), Drop.PICTURE_NOT_FOUND),
  ],
)
def test_bad_questions(tmp_path, bad, reason):
  found, report = read(tmp_path, question("a"), bad, question("b"))
  assert [features["id"] for features in found] == ["a", "b"]
  assert [features["position"] for features in found] == [0, 2]
  assert dict(report.counts) == {reason: 1}
  assert report.examples[reason] == ["SEED-Bench.json:item 2"]


def test_names_of_types_may_be_missing(tmp_path):
  [features], _ = read(tmp_path, question(), question_type=None)
  assert features["question_type"] == "type 5"


def test_what_is_no_such_file_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r"list of questions in .*none"):
    read(tmp_path, questions=None)
  path = tmp_path / "SEED-Bench.json"
  path.write_text(json.dumps({"questions": [question()]})[:-20])
  with pytest.raises(BrokenJson, match="get it again"):
    list(questions.read_questions(path, DropReport(), load))
