"""Visual Genome from its files to records."""

import json
import pathlib

import pytest

import data as datasets
from data.building import builder as building
from data.visual_genome import regions
from data.visual_genome.visual_genome_builder import VisualGenome

EXAMPLE = pathlib.Path(datasets.__file__).parent / "visual_genome/example"
PHOTOS = EXAMPLE.parents[1] / "jsonl/example"
GOOD = {"x": 12, "y": 10, "width": 24, "height": 20, "phrase": "A dog."}
URL = "https://cs.stanford.edu/people/rak248"


@pytest.fixture
def options(maker, tmp_path):
  """Pictures in two folders; of picture 3 there is none."""
  root = tmp_path / "visual_genome"
  images = []
  for number, folder in ((1, "VG_100K"), (2, "VG_100K_2"), (3, "VG_100K")):
    url = f"{URL}/{folder}/{number}.jpg"
    images.append({"image_id": number, "width": 48, "height": 40, "url": url})
    (root / folder).mkdir(parents=True, exist_ok=True)
    if number != 3:
      picture = maker.jpeg(48 * number, 40 * number)
      (root / folder / f"{number}.jpg").write_bytes(picture)
  elements = [
    {"id": 1, "regions": [GOOD, GOOD | {"x": -12, "phrase": "猫 left "}]},
    {"id": 2, "regions": [GOOD | {"width": 0}, GOOD]},
    {"id": 3, "regions": [GOOD]},
    {"id": 1, "regions": []},
  ]
  (root / "image_data.json").write_text(json.dumps(images))
  (root / "region_descriptions.json").write_text(json.dumps(elements))
  return {"annotations": str(root), "pictures": str(root)}


def read(split, data_dir, **options):
  """Examples by their ids."""
  source = datasets.load_source("visual_genome", split, data_dir, **options)
  examples = source.__getitems__(range(len(source)))
  return sorted(examples, key=lambda example: example["id"])


def test_every_feature(options, maker, tmp_path):
  first, second = read("train", tmp_path / "out", **options)
  assert first == {
    "id": "1",
    "image": maker.jpeg(48, 40),
    "expressions": [
      {"text": "A dog.", "box_xyxy": (0.25, 0.25, 0.75, 0.75)},
      {"text": "猫 left ", "box_xyxy": (0.0, 0.25, 0.25, 0.75)},
    ],
    "image_file": "VG_100K/1.jpg",
    "width": 48,
    "height": 40,
  }
  # Boxes are those of the picture as annotated, which may be another size.
  assert second == {
    "id": "2",
    "image": maker.jpeg(96, 80),
    "expressions": [{"text": "A dog.", "box_xyxy": (0.25, 0.25, 0.75, 0.75)}],
    "image_file": "VG_100K_2/2.jpg",
    "width": 48,
    "height": 40,
  }


def test_manifest(options, tmp_path):
  read("train", tmp_path / "out", **options)
  [path] = (tmp_path / "out").rglob("manifest.json")
  manifest = json.loads(path.read_text())
  assert manifest["records"] == {"read": 4, "kept": 2}
  assert manifest["items"] == {"read": 4, "kept": 3}
  dropped = manifest["dropped"]
  assert {
    level: {reason: entry["examples"] for reason, entry in entries.items()}
    for level, entries in dropped.items()
    if entries
  } == {
    "record": {
      "picture_not_found": ["region_descriptions.json:item 3"],
      "no_box_left": ["region_descriptions.json:item 4"],
    },
    "item": {"box_empty": ["region_descriptions.json:item 2"]},
  }
  assert manifest["notes"]["box_clipped"]["count"] == 1
  assert [file["name"] for file in manifest["files"]] == [
    "region_descriptions.json",
    "image_data.json",
  ]


def test_splits(options, maker, tmp_path):
  root = pathlib.Path(options["annotations"])
  numbers = range(1, 21)
  images = [
    {"image_id": i, "width": 48, "height": 40, "url": f"{URL}/VG_100K/{i}.jpg"}
    for i in numbers
  ]
  elements = [{"id": i, "regions": [GOOD]} for i in numbers]
  (root / "image_data.json").write_text(json.dumps(images))
  (root / "region_descriptions.json").write_text(json.dumps(elements))
  for i in numbers:
    (root / "VG_100K" / f"{i}.jpg").write_bytes(maker.jpeg(48, 40))
  ids = {
    split: {e["id"] for e in read(split, tmp_path, val_fraction=0.3, **options)}
    for split in regions.SPLITS
  }
  for split, found in ids.items():
    expected = [i for i in numbers if regions.split_of(i, 0.3) == split]
    assert found == set(map(str, expected))
  assert ids["train"]
  assert ids["val"]
  with pytest.raises(ValueError, match="has no split 'val'; it has train"):
    read("val", tmp_path, **options)


@pytest.mark.parametrize("name", ["region_descriptions", "image_data"])
def test_a_changed_file_is_noticed(options, tmp_path, name):
  read("train", tmp_path / "out", **options)
  path = pathlib.Path(options["annotations"]) / f"{name}.json"
  path.write_text(path.read_text().replace('"width": 48', '"width": 47'))
  path.write_text(path.read_text().replace("A dog.", "A cat."))
  examples = read("train", tmp_path / "out", **options)
  if name == "image_data":
    assert {example["width"] for example in examples} == {47}
  else:
    assert {e["expressions"][0]["text"] for e in examples} == {"A cat."}


def test_half_a_file(options, tmp_path):
  path = pathlib.Path(options["annotations"]) / "region_descriptions.json"
  text = path.read_text()
  path.write_text(text[: text.index('"id": 3') + 8])
  assert len(read("train", tmp_path / "out", **options)) == 2
  [path] = (tmp_path / "out").rglob("manifest.json")
  [entry] = json.loads(path.read_text())["dropped"]["file"].values()
  assert entry["examples"] == ["region_descriptions.json:line 1:after item 2"]


def test_no_list(options, tmp_path):
  path = pathlib.Path(options["annotations"]) / "region_descriptions.json"
  path.write_text("<html></html>")
  with pytest.raises(ValueError, match=r"(?s)found none.*unreadable_file"):
    building.prepare(VisualGenome, tmp_path / "out", **options)


def test_wrong_arguments(options):
  with pytest.raises(ValueError, match="val_fraction from 0 to below 1"):
    VisualGenome.find(**options, val_fraction=1.0)
  (pathlib.Path(options["annotations"]) / "image_data.json").unlink()
  with pytest.raises(FileNotFoundError, match="expected image_data.json in"):
    VisualGenome.find(**options)


def test_example(tmp_path):
  options = {"annotations": str(EXAMPLE), "pictures": str(PHOTOS)}
  examples = read("train", tmp_path, **options)
  assert [len(example["expressions"]) for example in examples] == [5, 4, 3]
  [path] = tmp_path.rglob("manifest.json")
  manifest = json.loads(path.read_text())
  assert manifest["items"] == {"read": 12, "kept": 12}
  assert not manifest["notes"]
