"""Captioned pictures: shards to records that can be read at random."""

import json

import pytest
import tensorflow_datasets as tfds

import data
from data.building import builder
from data.image_text.image_text_builder import ImageText


def stored(prepared):
  """Examples by id as they are stored, the picture's bytes not decoded."""
  source = prepared.as_data_source(
    split="train", decoders={"image": tfds.decode.SkipDecoding()}
  )
  return {source[i]["id"].decode(): source[i] for i in range(len(source))}


def test_round_trip(maker, tmp_path):
  maker.tar(maker.sample("1"), maker.sample("2", caption="犬"), name="a.tar")
  maker.tar(maker.sample("3", picture=maker.jpeg(9, 9)), name="b.tar")
  prepared = builder.prepare(ImageText, tmp_path / "out", shards=tmp_path)
  examples = stored(prepared)
  assert sorted(examples) == ["1", "2"]
  assert examples["1"]["image"] == maker.jpeg()
  assert examples["2"]["caption"].decode() == "犬"
  manifest = json.loads((prepared.data_path / builder.MANIFEST).read_text())
  assert [file["name"] for file in manifest["files"]] == ["a.tar", "b.tar"]
  assert manifest["records"] == {"read": 3, "kept": 2}
  assert manifest["dropped"]["record"]["picture_too_small"]["count"] == 1


def test_of_an_id_the_first_is_kept(maker, tmp_path, capsys):
  one = maker.sample("1", caption="first")
  maker.tar(one, name="a.tar")
  maker.tar(maker.sample("1", caption="second"), name="b.tar")
  prepared = builder.prepare(ImageText, tmp_path / "out", shards=tmp_path)
  [example] = stored(prepared).values()
  assert example["caption"] == b"first"
  assert "duplicate_id" in capsys.readouterr().out


def test_command_line(maker, tmp_path):
  small = maker.sample("1", similarity=0.5)
  large = maker.sample("2", similarity=0.5, picture=maker.jpeg(99, 99))
  unlike = maker.sample("3", similarity=0.1, picture=maker.jpeg(99, 99))
  path = maker.tar(small, large, unlike)
  out = tmp_path / "out"
  flags = f"--shards={path} --data_dir={out} --min_side=60 --shorter_side=80"
  builder.main(ImageText, [*flags.split(), "--min_similarity=0.3"])
  prepared = ImageText(
    shards=path, data_dir=out, min_side=60, shorter_side=80, min_similarity=0.3
  )
  source = prepared.as_data_source("train")
  assert [example["image"].shape for example in source] == [(80, 80, 3)]


def test_no_shards(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"no image-text shard at .*READ"):
    builder.prepare(ImageText, tmp_path, shards=tmp_path / "gone.tar")


def test_opened_by_name(maker, tmp_path):
  path = maker.tar(maker.sample("1"), maker.sample("2"))
  source = data.load_source("image_text", "train", tmp_path, shards=str(path))
  assert len(source) == 2
  examples = source.__getitems__([0, 1])
  assert [e["caption"] for e in examples] == ["a dog on grass"] * 2
