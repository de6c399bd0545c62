"""Flickr30k Entities in its two forms, on originals made by hand."""

import json

import pytest

from data.building.drops import Drop, Dropped, DropReport
from data.building.picture_folder import PictureFolder
from data.flickr30k_entities import entities, records, sentences

LINE = (
  "[/EN#1/people/other Two men] in [/EN#2/clothing hats] by"
  " [/EN#3/scene the sea] with [/EN#0/notvisual it] ."
)
XML = """<annotation><filename>77.jpg</filename>
<size><width>48</width><height>40</height><depth>3</depth></size>
<object><name>1</name><bndbox><xmin>13</xmin><ymin>11</ymin>
<xmax>37</xmax><ymax>31</ymax></bndbox></object>
<object><name>1</name><name>2</name><bndbox><xmin>1</xmin><ymin>1</ymin>
<xmax>25</xmax><ymax>21</ymax></bndbox></object>
<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object>
</annotation>"""
# Each would be a good file if its document type were read over.
DOCUMENT_TYPES = {
  "alone": ("<!DOCTYPE annotation>", "77.jpg"),
  "external": ('<!DOCTYPE annotation SYSTEM "file:///dev/null">', "77.jpg"),
  "entity": ('<!DOCTYPE a [<!ENTITY b "77">]>', "&b;.jpg"),
  "nested": (
    '<!DOCTYPE a [<!ENTITY b "7"><!ENTITY c "&b;&b;">]>',
    "&c;.jpg",
  ),
}


@pytest.fixture
def pictures(tmp_path, maker):
  folder = tmp_path / "pictures"
  folder.mkdir()
  (folder / "77.jpg").write_bytes(maker.jpeg(48, 40))
  with PictureFolder(folder, DropReport()) as pictures:
    yield pictures


def write_official(root, *, xml=XML, lines=(LINE, "[/EN#2/clothing Hats] .")):
  for name in ("Annotations", "Sentences"):
    (root / name).mkdir(parents=True)
  (root / "val.txt").write_text("77\n78\n../77\n")
  (root / "Annotations" / "77.xml").write_text(xml)
  (root / "Sentences" / "77.txt").write_text("\n".join(lines) + "\n")
  return root


def read_official(root, pictures):
  report = DropReport()
  found = records.read_official(root / "val.txt", root, pictures, report)
  examples = list(found)
  assert report.records_read == report.records_kept + report.total("record")
  assert report.items_read == report.items_kept + report.total("item")
  return examples, report


def test_official(tmp_path, pictures):
  examples, report = read_official(write_official(tmp_path / "a"), pictures)
  assert [example.id for example in examples] == ["77#0", "77#1"]
  assert examples[0].caption == "Two men in hats by the sea with it ."
  first = [(0.25, 0.25, 0.75, 0.75), (0, 0, 0.5, 0.5)]
  assert [
    (
      examples[0].caption[p.start : p.end],
      p.entity_id,
      p.types,
      list(p.boxes_xyxy),
      p.without_box,
    )
    for p in examples[0].phrases
  ] == [
    ("Two men", "1", ("people", "other"), first, ""),
    ("hats", "2", ("clothing",), first[1:], ""),
    ("the sea", "3", ("scene",), [], "scene"),
    ("it", "0", ("notvisual",), [], "unmarked"),
  ]
  assert report.counts == {Drop.MISSING_ANNOTATION: 1, Drop.BAD_RECORD: 1}


def test_mdetr_gives_the_same_boxes(tmp_path, pictures):
  image = {
    "file_name": "77.jpg",
    "height": "40",
    "width": "48",
    "id": 5,
    "caption": "Two men in hats by the sea with it .",
    "sentence_id": 0,
    "tokens_positive_eval": [[[0, 7]], [[11, 15]]],
  }
  annotations = [
    {"image_id": 5, "bbox": [13, 11, 24, 20], "tokens_positive": [[0, 7]]},
    {
      "image_id": 5,
      "bbox": [1, 1, 24, 20],
      "tokens_positive": [[0, 7], [11, 15]],
    },
    {"image_id": 6, "bbox": [1, 1, 24, 20], "tokens_positive": [[0, 7]]},
    {"image_id": 5, "bbox": [9, 9, -2, 2], "tokens_positive": [[0, 7]]},
  ]
  path = tmp_path / "final_flickr_separateGT_val.json"
  path.write_text(
    json.dumps({"images": [image, image], "annotations": annotations})
  )
  report = DropReport()
  [mdetr] = records.read_mdetr(path, pictures, report)
  [official, _], _ = read_official(write_official(tmp_path / "a"), pictures)
  assert (mdetr.id, mdetr.caption) == (official.id, official.caption)
  assert [(p.start, p.end, p.boxes_xyxy) for p in mdetr.phrases] == [
    (p.start, p.end, p.boxes_xyxy) for p in official.phrases if p.boxes_xyxy
  ]
  # As they are written, the one that is none, too.
  one, two = official.phrases[0].boxes_pixels
  assert (one, two) == ((13, 11, 37, 31), (1, 1, 25, 21))
  assert [p.boxes_pixels for p in mdetr.phrases] == [
    (one, two, (9, 9, 7, 11)),
    (two,),
  ]
  assert report.counts == {
    Drop.STRAY_ANNOTATION: 1,
    Drop.BOX_EMPTY: 1,
    Drop.DUPLICATE_ID: 1,
  }


@pytest.mark.parametrize("xml", ["<a>", "<a/>", "", XML + "<a/>"])
def test_xml_that_is_refused(tmp_path, pictures, xml):
  root = write_official(tmp_path / "a", xml=xml)
  examples, report = read_official(root, pictures)
  assert not examples
  assert report.counts[Drop.BAD_RECORD] == 3  # Two sentences and a bad name.


@pytest.mark.parametrize("kind", DOCUMENT_TYPES)
def test_a_document_type_is_refused(tmp_path, pictures, kind):
  document_type, name = DOCUMENT_TYPES[kind]
  xml = document_type + XML.replace("77.jpg", name)
  with pytest.raises(Dropped) as dropped:
    entities.parse(xml.encode(), DropReport(), "77.xml")
  assert dropped.value.reason is Drop.BAD_RECORD
  examples, report = read_official(
    write_official(tmp_path / "a", xml=xml), pictures
  )
  assert not examples
  assert report.counts[Drop.BAD_RECORD] == 3  # Two sentences and a bad name.


@pytest.mark.parametrize(
  "line", ["[/EN#1/people A man in", "a [/EN#1/people ] b", "[/EN#x/a man]"]
)
def test_bad_markup(line):
  with pytest.raises(Dropped) as dropped:
    sentences.parse(line)
  assert dropped.value.reason is Drop.BAD_MARKUP
