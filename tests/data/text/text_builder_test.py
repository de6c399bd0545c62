"""Text: files and data sets of TFDS to records that can be read at random."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

import data
from data.building import builder
from data.building.drops import Drop
from data.text.text_builder import Text

TEXTS = {f"{n:02}": f"Text {n}: ½ 犬.\nLine two." for n in range(12)}


class Books(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A data set of TFDS with texts among other features."""

  VERSION = tfds.core.Version("2.0.0")

  def _info(self):
    features = {
      "content": tfds.features.Text(),
      "image": tfds.features.Image(shape=(None, None, 3)),
      "year": tfds.features.Scalar(np.int32),
    }
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features)
    )

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    for key, text in {**TEXTS, "empty": " ", "long": "word\n" * 50}.items():
      yield key, {"content": text, "image": b"not decoded", "year": 2000}


def books(data_dir, file_format="tfrecord"):
  """Prepares the data set in two shards."""
  prepared = Books(data_dir=data_dir, file_format=file_format)
  sharding = tfds.download.DownloadConfig(num_shards=2)
  prepared.download_and_prepare(download_config=sharding)
  return prepared


def stored(prepared):
  """Texts by id."""
  examples = prepared.as_data_source("train")
  return {e["id"].decode(): e["text"].decode() for e in examples}


def test_files(tmp_path):
  lines = [json.dumps({"text": text}) for text in TEXTS.values()]
  (tmp_path / "a.jsonl").write_text("\n".join([*lines, "{"]))
  (tmp_path / "b.txt").write_text("One.\n\nTwo.")
  options = {"files": tmp_path, "documents": "paragraph"}
  prepared = builder.prepare(Text, tmp_path / "out", **options)
  assert stored(prepared) == {
    f"{tmp_path.name}/a.jsonl:{n}": text
    for n, text in enumerate(TEXTS.values(), start=1)
  } | {
    f"{tmp_path.name}/b.txt:1": "One.",
    f"{tmp_path.name}/b.txt:3": "Two.",
  }
  assert dict(prepared.report.counts) == {Drop.BAD_JSON: 1}
  assert prepared.report.records_read == 15


def test_long_documents_are_parts_of_their_own(tmp_path):
  (tmp_path / "a.txt").write_text("one\ntwo\nthree")
  options = {"files": tmp_path / "a.txt", "max_chars": 8}
  prepared = builder.prepare(Text, tmp_path / "out", **options)
  assert sorted(stored(prepared).values()) == ["one\ntwo\n", "three"]
  assert prepared.report.records_kept == 2


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_data_set_of_tfds(tmp_path, file_format):
  original = books(tmp_path / "tfds", file_format)
  assert len(original.info.splits["train"].filepaths) == 2
  options = {"tfds_name": "books", "tfds_data_dir": str(tmp_path / "tfds")}
  prepared = builder.prepare(
    Text, tmp_path / "out", tfds_field="content", max_chars=100, **options
  )
  assert len(prepared.builder_config.units) == 2
  texts = sorted(stored(prepared).values())
  parts = ["word\n" * 20, "word\n" * 20, "word\n" * 10]
  assert texts == sorted([*TEXTS.values(), *parts])
  assert prepared.report.counts == {Drop.EMPTY_TEXT: 1, Drop.TEXT_SPLIT: 2}
  assert prepared.report.records_read == 16


def test_damaged_data_set_of_tfds(tmp_path):
  original = books(tmp_path / "tfds")
  path = original.info.splits["train"].filepaths[0]
  data_bytes = path.read_bytes()
  path.write_bytes(data_bytes[: len(data_bytes) // 2])
  options = {"tfds_name": "books", "tfds_data_dir": str(tmp_path / "tfds")}
  prepared = builder.prepare(
    Text, tmp_path / "out", tfds_field="content", **options
  )
  assert prepared.report.counts[Drop.TRUNCATED_FILE] == 1
  assert prepared.report.total("file") == 1


@pytest.mark.parametrize(
  ("changes", "error", "message"),
  [
    ({"tfds_name": "novels"}, ValueError, "tfds_name to be a data set of TFDS"),
    ({"tfds_split": "val"}, ValueError, "one of .*train; found 'val'"),
    ({"tfds_field": "year"}, ValueError, "one of content; found 'year'"),
    ({"tfds_name": "lm1b"}, FileNotFoundError, "tfds_download to let TFDS"),
    ({"files": "a.txt"}, ValueError, "either files or tfds_name.*both"),
    ({"max_chars": 0}, ValueError, "max_chars is at least 1; found 0"),
    ({"tfds_data_dir": ["a", "b"]}, ValueError, "one folder.* found a, b"),
  ],
)
def test_arguments_that_do_not_fit(tmp_path, changes, error, message):
  books(tmp_path)
  options = {"tfds_name": "books", "tfds_field": "content"}
  options |= {"tfds_data_dir": str(tmp_path)} | changes
  with pytest.raises(error, match=message):
    Text.make_config(**options)


@pytest.mark.parametrize(
  ("options", "error", "message"),
  [
    ({}, ValueError, "either files or tfds_name.*none"),
    ({"files": "gone/*.txt"}, FileNotFoundError, "no text file at 'gone"),
    ({"files": "a.csv"}, ValueError, "text in files that end in .jsonl"),
    ({"files": "a.txt", "documents": "line"}, ValueError, "file, paragraph;"),
  ],
)
def test_files_that_do_not_fit(tmp_path, monkeypatch, options, error, message):
  monkeypatch.chdir(tmp_path)
  for name in ("a.csv", "a.txt"):
    (tmp_path / name).write_text("text")
  with pytest.raises(error, match=message):
    Text.make_config(**options)


def test_command_line_and_name(tmp_path):
  books(tmp_path / "tfds")
  options = {
    "tfds_name": "books",
    "tfds_field": "content",
    "tfds_data_dir": str(tmp_path / "tfds"),
  }
  flags = [f"--{name}={value}" for name, value in options.items()]
  out = tmp_path / "out"
  builder.main(Text, [*flags, f"--data_dir={out}"])
  source = data.load_source("text", "train", out, prepare=False, **options)
  assert len(source) == 13
  assert source.__getitems__([0])[0]["text"].strip()
