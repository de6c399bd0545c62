"""Karpathy's splits, from a file in their format."""

import json

import pytest

from data.building import karpathy
from data.building.drops import Drop, Dropped, DropReport


def picture(number, split, captions=("A dog.", "Grass. \n"), **changes):
  """A picture of COCO's file."""
  sentences = [
    {"tokens": raw.split(), "raw": raw, "imgid": number, "sentid": number + i}
    for i, raw in enumerate(captions)
  ]
  return {
    "filepath": "val2014",
    "sentids": [s["sentid"] for s in sentences],
    "filename": f"COCO_val2014_{number:012d}.jpg",
    "imgid": 0,
    "split": split,
    "sentences": sentences,
    "cocoid": number,
  } | changes


def load(name, where):
  if "gone" in name:
    raise Dropped(Drop.PICTURE_NOT_FOUND)
  return name.encode()


def read(tmp_path, *pictures, splits=("test",), **options):
  path = tmp_path / "dataset_coco.json"
  path.write_text(json.dumps({"images": pictures, "dataset": "coco"}))
  report = DropReport()
  found = list(
    karpathy.read_captions(path, report, load, splits=set(splits), **options)
  )
  assert report.records_read == len(found) + report.total("record")
  assert report.items_read == report.items_kept + report.total("item")
  assert all(features["id"] == record_id for record_id, features in found)
  return [features for _, features in found], report


def test_one_record_per_picture(tmp_path):
  found, report = read(
    tmp_path, picture(1, "train"), picture(42, "test"), picture(3, "restval")
  )
  assert found == [
    {
      "id": "42",
      "image": b"val2014/COCO_val2014_000000000042.jpg",
      "caption": "A dog.",
      "captions": ["A dog.", "Grass."],
    }
  ]
  assert (report.records_read, report.items_read) == (1, 2)
  assert not report.counts


def test_several_splits(tmp_path):
  pictures = [picture(i, s) for i, s in enumerate(karpathy.SPLITS)]
  found, report = read(tmp_path, *pictures, splits=("train", "restval"))
  assert [features["id"] for features in found] == ["0", "1"]
  assert not report.counts


def test_one_record_per_caption(tmp_path):
  found, _ = read(tmp_path, picture(42, "test"), one_per_caption=True)
  assert [(f["id"], f["caption"]) for f in found] == [
    ("42-1", "A dog."),
    ("42-2", "Grass."),
  ]
  assert found[0]["image"] == found[1]["image"]
  assert found[1]["captions"] == ["A dog.", "Grass."]


def test_flickr30k_has_neither_folder_nor_number(tmp_path):
  one = picture(0, "test", filename="1000092795.jpg")
  del one["filepath"], one["cocoid"]
  [features], _ = read(tmp_path, one)
  assert features["id"] == "1000092795"
  assert features["image"] == b"1000092795.jpg"


@pytest.mark.parametrize("one_per_caption", [False, True])
def test_bad_captions(tmp_path, one_per_caption):
  one = picture(1, "test", ["", "A dog.", "\ud83d"])
  one["sentences"] += [{"tokens": []}, "A cat."]
  found, report = read(tmp_path, one, one_per_caption=one_per_caption)
  assert len(found) == 1
  assert found[0]["id"] == ("1-2" if one_per_caption else "1")
  assert dict(report.counts) == {Drop.BAD_SENTENCE: 4}
  assert report.examples[Drop.BAD_SENTENCE][1] == (
    "dataset_coco.json:item 1, caption 3"
  )


@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    ({"sentences": []}, Drop.NO_CAPTION_LEFT),
    ({"sentences": None}, Drop.NO_CAPTION_LEFT),
    ({"filename": None}, Drop.BAD_TEXT),
    ({"filename": ""}, Drop.EMPTY_TEXT),
    ({"filepath": 3}, Drop.BAD_TEXT),
    ({"filename": "gone.jpg"}, Drop.PICTURE_NOT_FOUND),
    ({"split": "dev"}, Drop.BAD_SPLIT),
    ({"split": None}, Drop.BAD_SPLIT),
    ({"split": ["test"]}, Drop.BAD_SPLIT),
  ],
)
def test_bad_pictures(tmp_path, changes, reason):
  one = picture(1, "test") | changes
  found, report = read(tmp_path, one, picture(2, "test"))
  assert len(found) == 1
  assert dict(report.counts) == {reason: 1}
  assert report.examples[reason] == ["dataset_coco.json:item 1"]


def test_what_is_no_picture(tmp_path):
  assert dict(read(tmp_path, 7)[1].counts) == {Drop.BAD_JSON: 1}


def test_what_has_no_split_is_counted_once(tmp_path):
  """A file is read for each split, and by one of them for all that is odd."""
  pictures = [picture(1, "dev"), picture(2, "test"), 7]
  found, report = read(tmp_path, *pictures, first=False)
  assert (len(found), report.files_read) == (1, 0)
  assert not report.counts


def test_half_a_file(tmp_path):
  path = tmp_path / "half.json"
  pictures = [picture(i, "test") for i in range(2)]
  path.write_text(json.dumps({"images": pictures})[:-40])
  for first in (True, False):
    report = DropReport()
    options = {"splits": {"test"}, "first": first}
    found = list(karpathy.read_captions(path, report, load, **options))
    assert len(found) == 1
    assert report.counts[Drop.TRUNCATED_FILE] == first
