"""Questions of POPE, from lines in its format."""

import json
import pathlib

import pytest

from data.building.drops import Drop, Dropped, DropReport
from data.pope import questions


def line(number=1, **changes):
  return {
    "question_id": number,
    "image": "COCO_val2014_000000310196.jpg",
    "text": "Is there a snowboard in the image?",
    "label": "yes",
  } | changes


def load(name, where):
  if name == "gone.jpg":
    raise Dropped(Drop.PICTURE_NOT_FOUND)
  return f"{name} {where}".encode()


def read(tmp_path, *lines):
  """Features and report of a file."""
  path = tmp_path / "coco_pope_random.json"
  path.write_text("".join(f"{json.dumps(fields)}\n" for fields in lines))
  report = DropReport()
  found = list(questions.read_questions(path, report, load))
  assert report.records_read == len(found) + report.total("record")
  assert all(features["id"] == record_id for record_id, features in found)
  return [features for _, features in found], report


def test_questions_in_their_order(tmp_path):
  found, report = read(
    tmp_path, line(2), line(1, text=" Is there a dog? ", label="No")
  )
  assert found == [
    {
      "id": "2",
      "image": b"COCO_val2014_000000310196.jpg coco_pope_random.json:1",
      "question": "Is there a snowboard in the image?",
      "answers": ["yes"],
      "label": "yes",
      "position": 0,
    },
    {
      "id": "1",
      "image": b"COCO_val2014_000000310196.jpg coco_pope_random.json:2",
      "question": "Is there a dog?",
      "answers": ["no"],
      "label": "no",
      "position": 1,
    },
  ]
  assert (report.files_read, report.items_kept) == (1, 2)
  assert not report.counts


@pytest.mark.parametrize(
  ("bad", "reason"),
  [
    ([1], Drop.BAD_JSON),
    (line("1"), Drop.BAD_ID),
    (line(True), Drop.BAD_ID),
    (line(text=None), Drop.BAD_TEXT),
    (line(text=" "), Drop.EMPTY_TEXT),
    (line(label="maybe"), Drop.BAD_VALUE),
    (line(label=None), Drop.BAD_TEXT),
    (line(image=3), Drop.BAD_VALUE),
    (line(image="gone.jpg"), Drop.PICTURE_NOT_FOUND),
  ],
)
def test_bad_questions(tmp_path, bad, reason):
  found, report = read(tmp_path, line(1), bad, line(2))
  assert [features["position"] for features in found] == [0, 2]
  assert dict(report.counts) == {reason: 1}
  assert report.examples[reason] == ["coco_pope_random.json:2"]


def test_a_name_tells_the_split():
  for split in questions.SPLITS:
    path = pathlib.Path(f"coco_pope_{split}.json")
    assert questions.split_of(path) == split
  with pytest.raises(ValueError, match=r"'coco_pope\.json'; rename the file"):
    questions.split_of(pathlib.Path("coco_pope.json"))
