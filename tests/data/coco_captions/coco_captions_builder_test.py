"""COCO captions from Karpathy's file to records."""

import json
import zipfile

import data as datasets


def picture(number, split):
  return {
    "filepath": "val2014",
    "filename": f"COCO_val2014_{number:012d}.jpg",
    "imgid": 0,
    "cocoid": number,
    "split": split,
    "sentences": [{"raw": "A dog.", "tokens": ["a", "dog"], "sentid": 1}],
  }


def test_pictures_by_the_names_of_two_releases(maker, tmp_path):
  archive = tmp_path / "val2014.zip"
  with zipfile.ZipFile(archive, "w") as file:
    file.writestr("val2014/COCO_val2014_000000000009.jpg", maker.jpeg())
  folder = tmp_path / "train2017"
  folder.mkdir()
  (folder / "000000000025.jpg").write_bytes(maker.jpeg(60, 50))
  captions = tmp_path / "dataset_coco.json"
  images = [picture(9, "restval"), picture(25, "train"), picture(3, "train")]
  captions.write_text(json.dumps({"images": images, "dataset": "coco"}))
  source = datasets.load_source(
    "coco_captions",
    "train",
    tmp_path / "out",
    captions=str(captions),
    pictures=f"{archive},{folder}",
    splits="train",
  )
  found = source.__getitems__(range(len(source)))
  assert {record["id"]: record["image"] for record in found} == {
    "9": maker.jpeg(),
    "25": maker.jpeg(60, 50),
  }
  assert found[0]["captions"] == ["A dog."]
