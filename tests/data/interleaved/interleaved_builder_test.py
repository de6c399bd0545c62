"""Documents with pictures: files to records that can be read at random."""

import json

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import data
from data.building import builder
from data.building.drops import Drop
from data.interleaved.interleaved_builder import Interleaved


def document(*names, text="A dog."):
  """A line in MMC4's layout, all pictures before its only sentence."""
  infos = [{"image_name": name, "matched_text_index": 0} for name in names]
  return json.dumps({"text_list": [text], "image_info": infos}) + "\n"


def stored(prepared):
  """Examples by id as they are stored, pictures encoded."""
  records = prepared.as_data_source(
    "train", deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
  )
  examples = {}
  for at in range(len(records)):
    fields = tf.train.Example.FromString(records[at]).features.feature
    examples[fields["id"].bytes_list.value[0].decode()] = {
      "images": list(fields["images"].bytes_list.value),
      "text": [v.decode() for v in fields["parts/text"].bytes_list.value],
      "image": list(fields["parts/image"].int64_list.value),
    }
  return examples


@pytest.fixture
def originals(tmp_path, maker):
  """Two files of documents beside a folder and a shard of pictures."""
  docs = tmp_path / "docs"
  docs.mkdir()
  lines = [document("1.jpg", "2.jpg"), document("gone.jpg")]
  (docs / "a.jsonl").write_text("".join(lines))
  (docs / "b.x.jsonl").write_text(document("2.jpg", text="犬"))
  pictures = {"1": maker.jpeg(70, 64), "2": maker.jpeg(80, 90)}
  for name in ("folder", "a", "b"):
    (tmp_path / name).mkdir()
    for key, picture in pictures.items():
      (tmp_path / name / f"{key}.jpg").write_bytes(picture)
  samples = [maker.sample(k, picture=p) for k, p in pictures.items()]
  maker.tar(*samples, name="0.tar")
  return tmp_path, pictures


@pytest.mark.parametrize("pictures", ["folder", "0.tar", "{name}"])
def test_round_trip(originals, pictures):
  folder, encoded = originals
  options = {"documents": folder / "docs", "pictures": f"{folder}/{pictures}"}
  prepared = builder.prepare(Interleaved, folder / "out", **options)
  examples = stored(prepared)
  assert sorted(examples) == ["docs/a.jsonl:1", "docs/b.x.jsonl:1"]
  one, two = (examples[key] for key in sorted(examples))
  assert one["images"] == list(encoded.values())
  assert one["image"] == [0, 1, -1]
  assert one["text"] == ["", "", "A dog."]
  assert two["images"] == [encoded["2"]]
  assert two["text"] == ["", "犬"]
  manifest = json.loads((prepared.data_path / builder.MANIFEST).read_text())
  assert manifest["records"] == {"read": 3, "kept": 2}
  assert manifest["items"] == {"read": 4, "kept": 3}


def test_small_pictures_are_left_out_from_64(originals, maker):
  folder, _ = originals
  (folder / "folder" / "1.jpg").write_bytes(maker.jpeg(63, 70))
  options = {"documents": folder / "docs", "pictures": folder / "folder"}
  prepared = builder.prepare(Interleaved, folder / "out", **options)
  assert prepared.report.counts[Drop.SMALL_PICTURE] == 1
  assert len(stored(prepared)["docs/a.jsonl:1"]["images"]) == 1


def test_documents_without_pictures(originals):
  folder, _ = originals
  options = {"documents": folder / "docs" / "a.jsonl", "keep_text": True}
  prepared = builder.prepare(
    Interleaved, folder / "out", pictures=folder / "folder", **options
  )
  example = stored(prepared)["docs/a.jsonl:2"]
  assert example["images"] == []
  assert example["text"] == ["A dog."]


def test_more_pictures_are_another_data_set(originals, maker):
  folder, _ = originals
  options = {"documents": folder / "docs", "pictures": folder / "folder"}
  before = builder.prepare(Interleaved, folder / "out", **options)
  again = builder.prepare(Interleaved, folder / "out", **options)
  assert again.data_path == before.data_path
  (folder / "folder" / "gone.jpg").write_bytes(maker.jpeg(64, 64))
  after = builder.prepare(Interleaved, folder / "out", **options)
  assert len(stored(after)) == len(stored(before)) + 1


def test_damage_of_shared_shards_is_counted_once(originals):
  folder, _ = originals
  with open(folder / "0.tar", "ab") as shard:
    shard.write(b"more")
  options = {"documents": folder / "docs", "pictures": folder / "0.tar"}
  prepared = builder.prepare(Interleaved, folder / "out", **options)
  assert prepared.report.counts[Drop.DATA_AFTER_END] == 1


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"pictures_by": "hash"}, "pictures_by is one of name, url.*'hash'"),
    ({"pictures_by": "url"}, "needs img2dataset's tar files.*folder"),
    ({"pictures": ["folder", "0.tar"]}, "in folders or in tar files"),
    ({"documents": "0.tar"}, "documents in files that end in .jsonl"),
    ({"documents": ["docs/*", "more/docs/*"]}, "rename one of the folders"),
  ],
)
def test_arguments_that_do_not_fit(originals, monkeypatch, changes, message):
  folder, _ = originals
  monkeypatch.chdir(folder)
  (folder / "more" / "docs").mkdir(parents=True)
  (folder / "more" / "docs" / "a.jsonl").write_text(document("1.jpg"))
  options = {"documents": "docs", "pictures": "folder"} | changes
  with pytest.raises(ValueError, match=message):
    Interleaved.make_config(**options)


def test_no_pictures(originals):
  folder, _ = originals
  with pytest.raises(
    FileNotFoundError, match=r"no shard of pictures at .*gone"
  ):
    Interleaved.make_config(documents=folder / "docs", pictures=folder / "gone")


def test_command_line_and_name(originals):
  folder, _ = originals
  docs, pictures = folder / "docs", folder / "folder"
  flags = ["--documents", str(docs), "--pictures", str(pictures)]
  out = folder / "out"
  builder.main(Interleaved, [*flags, f"--data_dir={out}", "--max_images=1"])
  options = {"documents": str(docs), "pictures": str(pictures), "max_images": 1}
  prepared = Interleaved(data_dir=out, **options)
  assert [len(e["images"]) for e in stored(prepared).values()] == [1, 1]
  assert data.builder_class("interleaved") is Interleaved
