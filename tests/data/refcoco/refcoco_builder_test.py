"""RefCOCO in its two forms, on originals made by hand."""

import json
import pickle

import pytest

import data
from data.building import arguments as arguments_lib
from data.building import builder as building
from data.building.drops import Drop, DropReport
from data.building.json_files import BrokenJson
from data.refcoco.pickles import RefusedPickle
from data.refcoco.refcoco_builder import Refcoco

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
# Split, picture, box, category, expressions.
REFERENCES = [
  ("train", 7, [12, 10, 24, 20], 1, ["Man in RED!", "the  man, left"]),
  ("val", 8, [0, 0, 48, 40], 18, ["dog", "BIG dog"]),
  ("train", 7, [0.5, 1.5, 10, 10], 18, ["dog"]),
  ("testA", 8, [1, 1, 2, 2], 1, ["he"]),
  ("testB", 8, [1, 1, 2, 2], 18, ["it"]),
]


def file_name(image_id):
  return f"COCO_train2014_{image_id:012d}.jpg"


def write_refer(folder, references=REFERENCES, change=lambda refs, coco: None):
  """`refs(unc).p` and `instances.json`; returns the folder."""
  folder.mkdir(parents=True, exist_ok=True)
  refs, annotations, sent_id = [], [], 100
  for number, (split, image_id, box, category_id, texts) in enumerate(
    references
  ):
    sentences = []
    for text in texts:
      sentences.append(
        {
          "tokens": text.split(),
          "raw": text + " ",
          "sent_id": sent_id,
          "sent": text,
        }
      )
      sent_id += 1
    refs.append(
      {
        "ref_id": number,
        "ann_id": 1000 + number,
        "image_id": image_id,
        "split": split,
        "category_id": category_id,
        "file_name": f"COCO_train2014_{image_id:012d}_{number}.jpg",
        "sent_ids": [s["sent_id"] for s in sentences],
        "sentences": sentences,
      }
    )
    annotations.append(
      {"id": 1000 + number, "image_id": image_id, "bbox": box}
      | {"category_id": category_id, "area": 1, "iscrowd": 0}
    )
  coco = {
    "images": [
      {"id": i, "file_name": file_name(i), "width": 48, "height": 40}
      for i in (7, 8)
    ],
    "annotations": annotations,
    "categories": CATEGORIES,
  }
  change(refs, coco)
  (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
  (folder / "instances.json").write_text(json.dumps(coco))
  return folder


def write_mdetr(folder, references=REFERENCES, change=lambda split, file: None):
  """`finetune_refcoco_*.json`; returns the folder."""
  folder.mkdir(parents=True, exist_ok=True)
  next_id = 0
  for split in ("train", "val", "testA", "testB"):
    images, annotations = [], []
    for own_split, image_id, box, category_id, texts in references:
      for text in texts if own_split == split else ():
        images.append(
          {
            "file_name": file_name(image_id),
            "height": 40,
            "width": 48,
            "id": next_id,
            "original_id": image_id,
            "caption": text,
            "dataset_name": "refcoco",
            "tokens_negative": [[0, 1]],
          }
        )
        annotations.append(
          {
            "image_id": next_id,
            "category_id": category_id,
            "id": next_id,
            "bbox": box,
            "original_id": 5,
            "tokens_positive": [[0, 1]],
          }
        )
        next_id += 1
    file = {"images": images, "annotations": annotations}
    file["categories"] = CATEGORIES
    change(split, file)
    path = folder / f"finetune_refcoco_{split}.json"
    path.write_text(json.dumps(file))
  return folder


@pytest.fixture
def pictures(tmp_path, maker):
  """A folder as COCO's: train2014 with two pictures."""
  folder = tmp_path / "coco" / "train2014"
  folder.mkdir(parents=True)
  for image_id in (7, 8):
    (folder / file_name(image_id)).write_bytes(maker.jpeg(48, 40))
  return folder.parent


def read(annotations, pictures, split, **options):
  """The features of a split's records by reading alone, and the report."""
  arguments = arguments_lib.complete(
    Refcoco,
    {"dataset": "refcoco", "annotations": annotations, "pictures": pictures}
    | options,
  )
  units = Refcoco.find(
    **{k: v for k, v in arguments.items() if not k.endswith("_side")}
  )
  report = DropReport()
  records = []
  for unit in units:
    if unit.split == split:
      records += Refcoco.read(unit, report, arguments)
  features = [record.features for record in records]
  for example in features:
    for item in example["expressions"]:
      item["box_xyxy"] = tuple(item["box_xyxy"].tolist())
  assert report.records_read == report.records_kept + report.total("record")
  assert report.items_read == report.items_kept + report.total("item")
  return features, report


@pytest.mark.parametrize("group_by_image", [True, False])
def test_both_forms_give_the_same(tmp_path, pictures, group_by_image):
  refer = write_refer(tmp_path / "refer" / "refcoco")
  mdetr = write_mdetr(tmp_path / "mdetr")
  for split, count in (("train", 3), ("val", 2), ("testA", 1), ("testB", 1)):
    options = {"group_by_image": group_by_image}
    one, report = read(refer.parent, pictures, split, **options)
    other, _ = read(mdetr, pictures, split, **options)
    assert one == other
    assert not report.counts
    if group_by_image and split == "train":
      assert [len(example["expressions"]) for example in one] == [count]
    else:
      assert [example["index"] for example in one] == list(range(count))
      assert {len(example["expressions"]) for example in one} == {1}


def test_expressions_are_verbatim_and_boxes_normalised(tmp_path, pictures):
  mdetr = write_mdetr(tmp_path / "mdetr")
  [example], _ = read(mdetr, pictures, "train")
  picture = (pictures / "train2014" / file_name(7)).read_bytes()
  assert example["image"] == picture
  assert example["image_file"] == file_name(7)
  assert (example["width"], example["height"]) == (48, 40)
  assert [item["text"] for item in example["expressions"]] == [
    "Man in RED!",
    "the  man, left",
    "dog",
  ]
  assert example["expressions"][1]["box_xyxy"] == (0.25, 0.25, 0.75, 0.75)
  assert [item["category"] for item in example["expressions"]] == [
    "person",
    "person",
    "dog",
  ]
  assert [item["index"] for item in example["expressions"]] == [0, 1, 2]


def test_prepared(tmp_path, pictures):
  mdetr = write_mdetr(tmp_path / "mdetr")
  source = data.load_source(
    "refcoco",
    "val",
    tmp_path / "data",
    dataset="refcoco",
    annotations=str(mdetr),
    pictures=str(pictures),
    shorter_side=32,
  )
  examples = sorted(source.__getitems__([0, 1]), key=lambda e: e["index"])
  assert [e["expressions"][0]["text"] for e in examples] == ["dog", "BIG dog"]
  assert examples[0]["expressions"][0]["box_xyxy"] == (0, 0, 1, 1)
  assert (examples[0]["dataset"], examples[0]["split"]) == ("refcoco", "val")
  assert examples[0]["width"] == 48  # As annotated, not as resized.


NAN = float("nan")


@pytest.mark.parametrize(
  ("box", "reason"),
  [
    ([30, 10, -5, 5], Drop.BOX_EMPTY),
    ([NAN, 0, 1, 1], Drop.NOT_FINITE),
    ([40, 10, 30, 5], Drop.BOX_OUTSIDE),
    ([1, 2, 3], Drop.BAD_BOX),
    (None, Drop.BAD_BOX),
  ],
)
def test_bad_boxes(tmp_path, pictures, box, reason):
  references = [*REFERENCES, ("val", 8, box, 1, ["bad"])]
  for write in (write_refer, write_mdetr):
    folder = write(tmp_path / write.__name__, references)
    examples, report = read(folder, pictures, "val")
    assert [example["index"] for example in examples] == [0, 1]
    assert report.counts == {reason: 1, Drop.NO_BOX_LEFT: 1}


def test_faults_of_mdetr(tmp_path, pictures):
  def change(split, file):
    if split != "val":
      return
    good = file["images"][0]
    file["images"] += [
      dict(good),  # The same id once more.
      good | {"id": 900},  # Without a box.
      good | {"id": 901, "caption": " "},
      good | {"id": 902, "file_name": "gone.jpg"},
      good | {"id": 903, "file_name": "../../gone.jpg"},
      good | {"id": 904, "width": 0},
      good | {"id": 905, "width": 40, "height": 48},
      "no object",
    ]
    box = file["annotations"][0]
    file["annotations"] += [box | {"image_id": 901 + i} for i in range(5)]
    file["annotations"] += [box | {"image_id": 999}, dict(box), None]

  mdetr = write_mdetr(tmp_path / "mdetr", change=change)
  examples, report = read(mdetr, pictures, "val")
  assert [example["index"] for example in examples] == [0, 1]
  assert report.counts == {
    Drop.DUPLICATE_ID: 1,
    Drop.MISSING_ANNOTATION: 1,
    Drop.EMPTY_PHRASE: 1,
    Drop.NO_BOX_LEFT: 1,
    Drop.PICTURE_NOT_FOUND: 1,
    Drop.UNSAFE_NAME: 1,
    Drop.BAD_RECORD: 2,
    Drop.ASPECT_CHANGED: 1,
    Drop.STRAY_ANNOTATION: 2,
    Drop.SECOND_BOX: 1,
  }


def test_faults_of_refer(tmp_path, pictures):
  def change(refs, coco):
    good = refs[1]
    for number, changes in enumerate(
      [{"image_id": 99}, {"ann_id": 99}, {"ann_id": 1000}, {"sentences": None}]
    ):
      sentences = [good["sentences"][0] | {"sent_id": 900 + number}]
      refs.append(good | {"sentences": sentences} | changes)
    refs += [good, "no object"]

  refer = write_refer(tmp_path / "refer", change=change)
  examples, report = read(refer, pictures, "val")
  assert [example["index"] for example in examples] == [0, 1]
  assert report.counts == {
    Drop.UNKNOWN_IMAGE: 1,
    Drop.MISSING_ANNOTATION: 1,
    Drop.BAD_RECORD: 3,
    Drop.DUPLICATE_ID: 2,
  }


def test_half_a_file(tmp_path, pictures):
  mdetr = write_mdetr(tmp_path / "mdetr") / "finetune_refcoco_val.json"
  mdetr.write_bytes(mdetr.read_bytes()[:200])
  with pytest.raises(BrokenJson, match=r"finetune_refcoco_val.json, line 1"):
    read(mdetr.parent, pictures, "val")
  refer = write_refer(tmp_path / "refer") / "refs(unc).p"
  refer.write_bytes(refer.read_bytes()[:200])
  with pytest.raises(RefusedPickle, match="damaged"):
    read(refer.parent, pictures, "val")


def test_where_nothing_is(tmp_path, pictures):
  with pytest.raises(FileNotFoundError, match=r"refs\(umd\).p and instances"):
    Refcoco.find("refcocog", tmp_path, pictures)
  with pytest.raises(ValueError, match="expected a dataset of refcoco"):
    Refcoco.find("coco", tmp_path, pictures)
  with pytest.raises(ValueError, match="expected split_by of unc, google"):
    Refcoco.find("refcoco", tmp_path, pictures, split_by="umd")


def test_command_line(tmp_path, pictures, capsys):
  mdetr = write_mdetr(tmp_path / "mdetr")
  flags = ["--dataset=refcoco", "--group_by_image=false"]
  flags += [f"--annotations={mdetr}", f"--pictures={pictures}"]
  building.main(Refcoco, [*flags, f"--data_dir={tmp_path / 'data'}"])
  assert "7 of 7 records" in capsys.readouterr().out
