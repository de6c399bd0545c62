"""Visual Genome's regions, on originals made by hand."""

import json

import pytest

from data.building.drops import Drop, DropReport
from data.building.picture_folder import PictureFolder
from data.visual_genome import regions

GOOD = {"x": 12, "y": 10, "width": 24, "height": 20, "phrase": "A dog."}


@pytest.fixture
def read(tmp_path, maker):
  """Writes three pictures and the given file; reads a split."""

  def read(elements, split="train", val_fraction=0.0, cut=None):
    url = "https://cs.stanford.edu/people/rak248/VG_100K_2/"
    images = [
      {"image_id": i, "width": 48, "height": 40, "url": f"{url}{i}.jpg"}
      for i in (1, 2, 3, 4)
    ]
    (tmp_path / "image_data.json").write_text(json.dumps(images))
    path = tmp_path / "region_descriptions.json"
    path.write_text(json.dumps(elements)[:cut])
    folder = tmp_path / "images" / "VG_100K_2"
    folder.mkdir(parents=True, exist_ok=True)
    for i in (1, 2, 3):
      (folder / f"{i}.jpg").write_bytes(maker.jpeg(48, 40))
    report = DropReport()
    with PictureFolder(tmp_path / "images", report) as pictures:
      examples = list(
        regions.read(
          path,
          tmp_path / "image_data.json",
          split,
          pictures,
          report,
          val_fraction=val_fraction,
        )
      )
    assert report.records_read == report.records_kept + report.total("record")
    assert report.items_read == report.items_kept + report.total("item")
    return examples, report

  return read


def element(image_id, *changes):
  return {"id": image_id, "regions": [GOOD | change for change in changes]}


def test_regions(read):
  examples, report = read([element(1, {}, {"phrase": "it"}), element(2, {})])
  assert [example.id for example in examples] == ["1", "2"]
  assert examples[0].image_file == "VG_100K_2/1.jpg"
  assert [region.text for region in examples[0].regions] == ["A dog.", "it"]
  assert examples[0].regions[0].box_xyxy == (0.25, 0.25, 0.75, 0.75)
  assert not report.counts


def test_faults(read):
  changes = [
    {"x": -12, "width": 60},
    {"x": 50},
    {"width": -1},
    {"y": float("nan")},
    {"height": "20"},
    {"phrase": " "},
  ]
  [one], report = read(
    [element(1, {}, *changes), element(4, {}), element(9, {}), element(2), 5]
  )
  assert [region.box_xyxy for region in one.regions] == [
    (0.25, 0.25, 0.75, 0.75),
    (0, 0.25, 1, 0.75),
  ]
  assert report.counts == {
    Drop.BOX_CLIPPED: 1,
    Drop.BOX_OUTSIDE: 1,
    Drop.BOX_EMPTY: 1,
    Drop.NOT_FINITE: 1,
    Drop.BAD_BOX: 1,
    Drop.EMPTY_PHRASE: 1,
    Drop.PICTURE_NOT_FOUND: 1,
    Drop.UNKNOWN_IMAGE: 1,
    Drop.NO_BOX_LEFT: 1,
    Drop.BAD_RECORD: 1,
  }


def test_half_a_file(read):
  examples, report = read([element(i, {}) for i in (1, 2, 3)], cut=150)
  assert [example.id for example in examples] == ["1"]
  assert report.counts == {Drop.TRUNCATED_FILE: 1}
  [place] = report.examples[Drop.TRUNCATED_FILE]
  assert place == "region_descriptions.json:line 1:after item 1"


def test_splits_share_no_picture(read):
  elements = [element(i, {}) for i in (1, 2, 3)]
  found = []
  for split in regions.SPLITS:
    found += read(elements, split, val_fraction=0.5)[0]
  assert sorted(example.id for example in found) == ["1", "2", "3"]
  split = [regions.split_of(i, 0.25) for i in range(4000)]
  assert 900 < split.count("val") < 1100
