"""LLaVA-Instruct from its file and a folder of pictures to records."""

import json

import numpy as np
import pytest

import data as datasets
from data.building import builder as building
from data.llava_instruct import llava_instruct_builder


def conversation(number, *said, image="000000000001.jpg"):
  turns = [
    {"from": speaker, "value": value}
    for speaker, value in zip(("human", "gpt") * 2, said, strict=False)
  ]
  return {"id": number, "image": image, "conversations": turns}


@pytest.fixture
def options(maker, tmp_path):
  """Two conversations about one picture, one about none that is there."""
  pictures = tmp_path / "train2017"
  pictures.mkdir()
  (pictures / "000000000001.jpg").write_bytes(maker.jpeg(80, 60))
  conversations = tmp_path / "llava_instruct_150k.json"
  said = "<image>\nWhat is it?", "A picture.", "Really?", "Yes."
  conversations.write_text(
    json.dumps(
      [
        conversation("1", *said),
        conversation("1", "Say more.\n<image>", "Patches of colour."),
        conversation("1", *said),
        conversation("2", *said, image="000000000002.jpg"),
        {
          "id": "3",
          "conversations": conversation("", "Hi", "Hello")["conversations"],
        },
      ]
    )
  )
  return {"conversations": str(conversations), "pictures": str(pictures)}


def test_records(options, tmp_path, maker):
  source = datasets.load_source(
    "llava_instruct", "train", tmp_path / "out", **options
  )
  records = source.__getitems__(range(len(source)))
  texts = {record["messages"][0]["text"]: record for record in records}
  assert sorted(texts) == [
    "<image>What is it?",
    "Hi",
    "Say more.<image>",
  ]
  first = texts["<image>What is it?"]
  assert [message["role"] for message in first["messages"]] == [
    "user",
    "assistant",
  ] * 2
  assert first["images"] == [maker.jpeg(80, 60)]
  assert texts["Hi"]["images"] == []


def test_account(options, tmp_path):
  builder = building.prepare(
    llava_instruct_builder.LlavaInstruct,
    tmp_path / "out",
    shorter_side=40,
    **options,
  )
  [path] = (tmp_path / "out").rglob("manifest.json")
  manifest = json.loads(path.read_text())
  assert manifest["records"] == {"read": 5, "kept": 3}
  dropped = manifest["dropped"]["record"]
  assert {name: entry["count"] for name, entry in dropped.items()} == {
    "picture_not_found": 1,
    "duplicate_id": 1,
  }
  assert dropped["picture_not_found"]["examples"] == [
    "llava_instruct_150k.json:item 4"
  ]
  # Decoded: uint8 arrays.
  shapes = {
    np.shape(image)
    for record in builder.as_data_source("train")
    for image in record["images"]
  }
  assert shapes == {(40, 53, 3)}


def test_a_new_picture_is_another_data_set(options, maker, tmp_path):
  one = llava_instruct_builder.LlavaInstruct.make_config(**options)
  assert one.name == (
    llava_instruct_builder.LlavaInstruct.make_config(**options).name
  )
  picture = tmp_path / "train2017" / "000000000002.jpg"
  picture.write_bytes(maker.jpeg())
  two = llava_instruct_builder.LlavaInstruct.make_config(**options)
  assert one.name != two.name


@pytest.mark.parametrize("name", ["conversations", "pictures"])
def test_paths_that_are_not_there(options, tmp_path, name):
  options[name] = str(tmp_path / "gone")
  with pytest.raises(FileNotFoundError, match="gone"):
    llava_instruct_builder.LlavaInstruct(data_dir=tmp_path, **options)
