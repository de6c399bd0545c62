"""Flickr30k Entities from its folders to records."""

import json
import pathlib

import pytest

import data as datasets
from data.flickr30k_entities.flickr30k_entities_builder import Flickr30kEntities

EXAMPLE = pathlib.Path(datasets.__file__).parent / "flickr30k_entities/example"
PHOTOS = EXAMPLE.parents[1] / "jsonl/example"
LINES = {
  "77": (
    "[/EN#1/people/other Two men] in [/EN#2/clothing hats] by"
    " [/EN#3/scene the sea] with [/EN#0/notvisual it] .",
    "Nobody says what this is .",
  ),
  "78": ("[/EN#4/people A man] behind [/EN#5/other a wall] .",),
  "79": ("[/EN#1/people Somebody] .", "And again ."),
}
BOXES = {
  "77": """<object><name>1</name><bndbox><xmin>13</xmin><ymin>11</ymin>
<xmax>37</xmax><ymax>31</ymax></bndbox></object>
<object><name>1</name><name>2</name><bndbox><xmin>1</xmin><ymin>1</ymin>
<xmax>25</xmax><ymax>21</ymax></bndbox></object>
<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object>""",
  "78": """<object><name>4</name><bndbox><xmin>1</xmin><ymin>1</ymin>
<xmax>25</xmax><ymax>21</ymax></bndbox></object>
<object><name>4</name><bndbox><xmin>30</xmin><ymin>9</ymin>
<xmax>20</xmax><ymax>21</ymax></bndbox></object>
<object><name>5</name><scene>0</scene><nobndbox>1</nobndbox></object>""",
  "79": "",
}


@pytest.fixture
def options(maker, tmp_path):
  """Two pictures and the annotations of three."""
  root = tmp_path / "flickr30k_entities"
  for name in ("Annotations", "Sentences", "pictures"):
    (root / name).mkdir(parents=True)
  for number, lines in LINES.items():
    (root / "Sentences" / f"{number}.txt").write_text("\n".join(lines) + "\n")
    (root / "Annotations" / f"{number}.xml").write_text(
      f"<annotation><filename>{number}.jpg</filename><size><width>48</width>"
      "<height>40</height><depth>3</depth></size>"
      f"{BOXES[number]}</annotation>"
    )
  (root / "train.txt").write_text("77\n79\n")
  (root / "val.txt").write_text("78\n")
  for number in ("77", "78"):
    (root / "pictures" / f"{number}.jpg").write_bytes(maker.jpeg(48, 40))
  return {"annotations": str(root), "pictures": str(root / "pictures")}


def read(split, data_dir, **options):
  """Examples in the order of the annotations."""
  source = datasets.load_source(
    "flickr30k_entities", split, data_dir, **options
  )
  examples = source.__getitems__(range(len(source)))
  return sorted(examples, key=lambda example: example["index"])


def mention(start, end, entity_id, types, num_boxes, without_box):
  return {
    "start": start,
    "end": end,
    "entity_id": entity_id,
    "types": types,
    "num_boxes": num_boxes,
    "without_box": without_box,
  }


def chunk(start, end, *box_xyxy):
  return {"start": start, "end": end, "box_xyxy": box_xyxy, "score": 1.0}


def pixels(number, *box_pixels):
  return {"mention": number, "box_pixels": box_pixels}


def test_every_feature(options, maker, tmp_path):
  first, second = read("train", tmp_path / "out", **options)
  picture = {
    "image": maker.jpeg(48, 40),
    "image_file": "77.jpg",
    "width": 48,
    "height": 40,
    "ref_exps": [],
  }
  assert first == picture | {
    "id": "77#0",
    "index": 0,
    "sentence": 0,
    "caption": "Two men in hats by the sea with it .",
    "noun_chunks": [
      chunk(0, 7, 0.25, 0.25, 0.75, 0.75),
      chunk(0, 7, 0.0, 0.0, 0.5, 0.5),
      chunk(11, 15, 0.0, 0.0, 0.5, 0.5),
    ],
    "mentions": [
      mention(0, 7, "1", "people/other", 2, ""),
      mention(11, 15, "2", "clothing", 1, ""),
      mention(19, 26, "3", "scene", 0, "scene"),
      mention(32, 34, "0", "notvisual", 0, "unmarked"),
    ],
    "mention_boxes": [
      pixels(0, 13.0, 11.0, 37.0, 31.0),
      pixels(0, 1.0, 1.0, 25.0, 21.0),
      pixels(1, 1.0, 1.0, 25.0, 21.0),
    ],
  }
  assert second == picture | {
    "id": "77#1",
    "index": 1,
    "sentence": 1,
    "caption": "Nobody says what this is .",
    "noun_chunks": [],
    "mentions": [],
    "mention_boxes": [],
  }
  [other] = read("val", tmp_path / "out", **options)
  assert other["id"] == "78#0"
  assert other["noun_chunks"] == [chunk(0, 5, 0.0, 0.0, 0.5, 0.5)]
  assert [m["without_box"] for m in other["mentions"]] == ["", "nobox"]
  # As they are written, the one without any area, too.
  assert other["mention_boxes"] == [
    pixels(0, 1.0, 1.0, 25.0, 21.0),
    pixels(0, 30.0, 9.0, 20.0, 21.0),
  ]


def test_manifest(options, tmp_path):
  read("train", tmp_path / "out", **options)
  [path] = (tmp_path / "out").rglob("manifest.json")
  manifest = json.loads(path.read_text())
  assert manifest["records"] == {"read": 5, "kept": 3}
  assert manifest["items"] == {"read": 5, "kept": 4}
  [(reason, entry)] = manifest["dropped"]["record"].items()
  assert (reason, entry["count"]) == ("picture_not_found", 2)
  assert entry["examples"] == ["79.xml"]
  [(reason, entry)] = manifest["dropped"]["item"].items()
  assert (reason, entry["examples"]) == ("box_empty", ["78.xml"])
  assert {
    name: split["examples"] for name, split in manifest["splits"].items()
  } == {"train": 2, "val": 1}
  assert [file["name"] for file in manifest["files"]] == [
    "train.txt",
    "val.txt",
    "Annotations",
    "Sentences",
  ]


@pytest.mark.parametrize(
  ("name", "old", "new"),
  [
    ("Annotations/77.xml", "<xmax>37<", "<xmax>36<"),
    ("Sentences/77.txt", "Two men", "Two cats"),
  ],
)
def test_a_changed_file_is_noticed(options, tmp_path, name, old, new):
  before = read("train", tmp_path / "out", **options)
  path = pathlib.Path(options["annotations"]) / name
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new))
  after = read("train", tmp_path / "out", **options)
  assert before[0] != after[0]
  assert before[1] == after[1]
  # What was prepared first is found again.
  path.write_text(text)
  assert read("train", tmp_path / "out", **options) == before
  assert len(list((tmp_path / "out").rglob("manifest.json"))) == 2


def test_mdetr_in_one_file(options, tmp_path):
  image = {
    "file_name": "77.jpg",
    "height": "40",
    "width": "48",
    "id": 5,
    "caption": "Two men in hats .",
    "sentence_id": 3,
    "tokens_positive_eval": [[[0, 7]], [[11, 15]]],
  }
  box = {"image_id": 5, "bbox": [13, 11, 24, 20], "tokens_positive": [[0, 7]]}
  folder = tmp_path / "mdetr"
  folder.mkdir()
  (folder / "final_flickr_separateGT_test.json").write_text(
    json.dumps({"images": [image], "annotations": [box]})
  )
  options["annotations"] = str(folder)
  [example] = read("test", tmp_path / "out", **options)
  assert (example["id"], example["sentence"]) == ("77#3", 3)
  assert example["noun_chunks"] == [chunk(0, 7, 0.25, 0.25, 0.75, 0.75)]
  assert example["mentions"] == [
    mention(0, 7, "", "", 1, ""),
    mention(11, 15, "", "", 0, "unmarked"),
  ]


def test_nothing_there(tmp_path):
  with pytest.raises(FileNotFoundError, match="found neither; data/flickr30k"):
    Flickr30kEntities.find(tmp_path, tmp_path)


def test_example(tmp_path):
  options = {"annotations": str(EXAMPLE), "pictures": str(PHOTOS)}
  train = read("train", tmp_path, **options)
  assert [example["id"] for example in train] == [
    "1001#0",
    "1001#1",
    "1002#0",
    "1002#1",
  ]
  assert len(read("val", tmp_path, **options)) == 1
  [path] = tmp_path.rglob("manifest.json")
  manifest = json.loads(path.read_text())
  assert manifest["records"] == {"read": 5, "kept": 5}
  assert manifest["items"]["read"] == manifest["items"]["kept"]
