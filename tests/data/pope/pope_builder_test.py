"""POPE from its files to records."""

import json
import pathlib
import zipfile

import pytest

import data as datasets
from data.pope import pope_builder

EXAMPLE = pathlib.Path(pope_builder.__file__).parent / "example"
OPTIONS = {"questions": str(EXAMPLE / "*.json"), "pictures": str(EXAMPLE)}


def records(data_dir, split, **options):
  source = datasets.load_source("pope", split, data_dir, **options)
  found = source.__getitems__(range(len(source)))
  return sorted(found, key=lambda record: record["position"])


def test_each_file_is_a_split(tmp_path):
  asked = {
    split: [
      record["question"] for record in records(tmp_path, split, **OPTIONS)
    ]
    for split in ("random", "popular", "adversarial")
  }
  assert all(len(questions) == 4 for questions in asked.values())
  assert asked["adversarial"][1] == "Is there a dog in the image?"
  assert asked["random"] != asked["popular"] != asked["adversarial"]
  found = records(tmp_path, "popular", **OPTIONS)
  assert [record["label"] for record in found] == ["yes", "no"] * 2
  assert [record["answers"] for record in found] == [["yes"], ["no"]] * 2
  assert [record["id"] for record in found] == ["1", "2", "3", "4"]
  picture = (EXAMPLE / "COCO_val2014_000000000001.jpg").read_bytes()
  assert {record["image"] for record in found} == {picture}


def test_pictures_in_a_zip_under_their_name_of_2017(maker, tmp_path):
  with zipfile.ZipFile(tmp_path / "train2017.zip", "w") as archive:
    archive.writestr("train2017/000000000042.jpg", maker.jpeg())
  asked = {
    "question_id": 1,
    "image": "COCO_val2014_000000000042.jpg",
    "text": "Is there a dog in the image?",
    "label": "no",
  }
  path = tmp_path / "coco_pope_random.json"
  path.write_text(json.dumps(asked))
  [record] = records(
    tmp_path / "out",
    "random",
    questions=str(path),
    pictures=str(tmp_path / "train2017.zip"),
  )
  assert record["image"] == maker.jpeg()


def test_two_files_of_a_split_are_refused(tmp_path):
  for name in ("coco_pope_random.json", "gqa_pope_random.json"):
    (tmp_path / name).write_text("{}")
  with pytest.raises(ValueError, match=r"for random, found .*coco.* and .*gqa"):
    pope_builder.Pope(
      data_dir=tmp_path,
      questions=str(tmp_path / "*.json"),
      pictures=str(EXAMPLE),
    )
