"""Flickr30k and COCO captions, from Karpathy's files to records."""

import json

import pytest

import data as datasets
from data.building import builder as building
from data.coco_captions import coco_captions_builder
from data.flickr30k import flickr30k_builder

CAPTIONS = ["Two dogs.", "Grass under dogs. "]


def picture(filename, split, **fields):
  sentences = [{"raw": raw, "tokens": [], "sentid": 0} for raw in CAPTIONS]
  return {"filename": filename, "split": split, "sentences": sentences} | fields


@pytest.fixture
def options(maker, tmp_path):
  """A file of Flickr30k's with a picture in each split."""
  splits = ("train", "val", "test", "restval")
  pictures = tmp_path / "flickr30k-images"
  pictures.mkdir()
  for i, _ in enumerate(splits):
    (pictures / f"{i}.jpg").write_bytes(maker.jpeg(40 + i, 40))
  captions = tmp_path / "dataset_flickr30k.json"
  images = [picture(f"{i}.jpg", split) for i, split in enumerate(splits)]
  images.append(picture("7.jpg", "test"))
  captions.write_text(json.dumps({"images": images, "dataset": "flickr30k"}))
  return {"captions": str(captions), "pictures": str(pictures)}


def records(split, data_dir, name="flickr30k", **options):
  """By id."""
  source = datasets.load_source(name, split, data_dir, **options)
  found = source.__getitems__(range(len(source)))
  return {record["id"]: record for record in found}


def test_records(options, maker, tmp_path):
  out = tmp_path / "out"
  assert sorted(records("train", out, **options)) == ["0", "3"]
  assert sorted(records("validation", out, **options)) == ["1"]
  [test] = records("test", out, **options).values()
  assert test["captions"] == ["Two dogs.", "Grass under dogs."]
  assert test["caption"] == "Two dogs."
  assert test["image"] == maker.jpeg(42, 40)
  [path] = out.rglob("manifest.json")
  manifest = json.loads(path.read_text())
  assert manifest["records"] == {"read": 5, "kept": 4}
  entry = manifest["dropped"]["record"]["picture_not_found"]
  assert entry["examples"] == ["dataset_flickr30k.json:item 5"]


def test_options(options, tmp_path):
  options |= {"splits": "train", "restval": False, "one_per_caption": True}
  found = records("train", tmp_path / "out", **options)
  assert {i: record["caption"] for i, record in found.items()} == {
    "0-1": "Two dogs.",
    "0-2": "Grass under dogs.",
  }


@pytest.mark.parametrize("splits", ["val", "train,train", "", "train,,test"])
def test_unknown_splits(options, tmp_path, splits):
  with pytest.raises(ValueError, match=r"found '.*'$"):
    flickr30k_builder.Flickr30k(data_dir=tmp_path, splits=splits, **options)


def test_a_split_without_pictures_is_an_error(options, tmp_path):
  options["captions"] = str(tmp_path / "empty.json")
  (tmp_path / "empty.json").write_text('{"images": []}')
  with pytest.raises(ValueError, match="at least one good Flickr30k record"):
    building.prepare(flickr30k_builder.Flickr30k, tmp_path / "out", **options)
  assert not list((tmp_path / "out").rglob("manifest.json"))


def test_coco(maker, tmp_path):
  """COCO's file names folders; these pictures have the names of 2017."""
  pictures = tmp_path / "train2017"
  pictures.mkdir()
  (pictures / "000000000009.jpg").write_bytes(maker.jpeg())
  name = "COCO_val2014_000000000009.jpg"
  one = picture(name, "restval", filepath="val2014", cocoid=9)
  captions = tmp_path / "dataset_coco.json"
  captions.write_text(json.dumps({"images": [one]}))
  builder = building.prepare(
    coco_captions_builder.CocoCaptions,
    tmp_path / "out",
    captions=captions,
    pictures=pictures,
    splits="train",
  )
  [record] = builder.as_data_source("train")
  assert record["id"] == b"9"
