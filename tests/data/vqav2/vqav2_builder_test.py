"""VQAv2 from its files to records."""

import json

import pytest

import data as datasets
from data.vqav2 import vqav2_builder

QUESTIONS = "v2_OpenEnded_mscoco_{}_questions.json"
ANNOTATIONS = "v2_mscoco_{}_annotations.json"


@pytest.fixture
def options(maker, tmp_path):
  """Two questions of val, one of test-dev, one picture each."""
  pictures = tmp_path / "pictures"
  pictures.mkdir()
  (pictures / "COCO_val2014_000000000042.jpg").write_bytes(maker.jpeg())
  (pictures / "COCO_test2015_000000000001.jpg").write_bytes(maker.jpeg())
  for release, image_id, numbers in (
    ("val2014", 42, (42001, 42000)),
    ("test-dev2015", 1, (1000,)),
  ):
    asked = [
      {"image_id": image_id, "question_id": n, "question": f"Why {n}?"}
      | ({"multiple_choices": ["net", "ball"]} if n == 42000 else {})
      for n in numbers
    ]
    (tmp_path / QUESTIONS.format(release)).write_text(
      json.dumps({"data_subtype": release, "questions": asked})
    )
  answers = [{"answer": "net", "answer_confidence": "yes"}] * 10
  answered = [
    {
      "image_id": 42,
      "question_id": n,
      "answers": answers,
      "answer_type": "other",
      "question_type": "why",
      "multiple_choice_answer": "net",
    }
    for n in (42000, 42001)
  ]
  (tmp_path / ANNOTATIONS.format("val2014")).write_text(
    json.dumps({"annotations": answered})
  )
  return {
    "questions": str(tmp_path / QUESTIONS.format("*")),
    "annotations": str(tmp_path / ANNOTATIONS.format("val2014")),
    "pictures": str(pictures),
  }


def test_records(options, maker, tmp_path):
  source = datasets.load_source(
    "vqav2", "validation", tmp_path / "out", **options
  )
  found = source.__getitems__(range(len(source)))
  found.sort(key=lambda record: record["position"])
  assert [record["id"] for record in found] == ["42001", "42000"]
  assert found[0]["question"] == "Why 42001?"
  assert found[0]["answers"] == ["net"] * 10
  assert found[0]["answer_confidences"] == ["yes"] * 10
  assert found[0]["answer_type"] == "other"
  assert [record["multiple_choices"] for record in found] == [
    [],
    ["net", "ball"],
  ]
  assert found[0]["image"] == maker.jpeg()
  source = datasets.load_source(
    "vqav2", "test_dev", tmp_path / "out", **options
  )
  [record] = source.__getitems__(range(len(source)))
  assert record["answers"] == []


def test_val_needs_its_annotations(options, tmp_path):
  del options["annotations"]
  with pytest.raises(
    FileNotFoundError, match=r"v2_mscoco_val2014_annotations\.json.*none"
  ):
    vqav2_builder.Vqav2(data_dir=tmp_path, **options)


def test_two_files_of_annotations(options, tmp_path):
  copy = tmp_path / ("copy_of_" + ANNOTATIONS.format("val2014"))
  copy.write_text('{"annotations": []}')
  options["annotations"] = [options["annotations"], str(copy)]
  with pytest.raises(ValueError, match="val2014, found .* leave one"):
    vqav2_builder.Vqav2(data_dir=tmp_path, **options)


def test_other_answers_are_another_data_set(options, tmp_path):
  one = vqav2_builder.Vqav2.make_config(**options)
  path = tmp_path / ANNOTATIONS.format("val2014")
  path.write_text(path.read_text().replace("net", "ball"))
  assert vqav2_builder.Vqav2.make_config(**options).name != one.name
