"""Shards to records that can be read at random, once and for all."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data.building import identity, preparing, reading
from data.building.drops import Drop, DropReport
from data.grit import grit_builder, shards
from data.grit.grit_builder import Grit, prepare

PHOTOS = pathlib.Path(grit_builder.__file__).parent / "photos" / "00000.tar"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
  """Any attempt to connect is an error."""

  def connect(self, address):
    raise AssertionError(f"connects to {address}")

  monkeypatch.setattr(socket.socket, "connect", connect)


def stored(builder):
  """All examples as they are stored, the picture's bytes not decoded."""
  source = builder.as_data_source(
    split="train", decoders={"image": tfds.decode.SkipDecoding()}
  )
  return [source[i] for i in range(len(source))]


def check_round_trip(path, data_dir):
  """Every record of a shard is in the data, bit by bit; returns how many."""
  records = {
    record.id: record
    for record in shards.read_shards(shards.find_shards(path), DropReport())
  }
  examples = stored(prepare(path, data_dir))
  assert len(examples) == len(records)
  for example in examples:
    record = records.pop(example["id"].decode())
    assert example["image"] == record.image
    assert example["caption"].decode() == record.caption
    for name in ("noun_chunks", "ref_exps"):
      items, got = getattr(record, name), example[name]
      assert [int(v) for v in got["start"]] == [item.start for item in items]
      assert [int(v) for v in got["end"]] == [item.end for item in items]
      boxes = [tuple(box.tolist()) for box in got["box_xyxy"]]
      assert boxes == [item.box_xyxy for item in items]
      assert got["score"] == [np.float32(item.score) for item in items]
  assert not records
  return len(examples)


def test_photos(tmp_path):
  assert check_round_trip(PHOTOS, tmp_path) == 10


def test_sample_shard(reference_dir, tmp_path):
  path = reference_dir / "grit_sample" / "00000.tar"
  if not path.exists():
    pytest.skip(f"no sample shard at {path}")
  assert check_round_trip(path, tmp_path) == 13


def test_features(maker, tmp_path):
  builder = prepare(maker.tar(maker.sample()), tmp_path)
  assert builder.info.features.dtype == {
    "id": np.object_,
    "image": np.uint8,
    "caption": np.object_,
    "noun_chunks": {
      "start": np.int32,
      "end": np.int32,
      "box_xyxy": np.float32,
      "score": np.float32,
    },
    "ref_exps": {
      "start": np.int32,
      "end": np.int32,
      "box_xyxy": np.float32,
      "score": np.float32,
    },
  }
  assert list(builder.info.splits) == ["train"]
  assert builder.info.file_format.value == "array_record"
  assert list(builder.data_path.glob("*.array_record-*"))
  [example] = builder.as_data_source(split="train")
  assert example["image"].shape == (40, 48, 3)


def test_list_without_items(maker, tmp_path):
  sample = maker.sample(noun_chunks=[])
  [example] = stored(prepare(maker.tar(sample), tmp_path))
  assert {len(values) for values in example["noun_chunks"].values()} == {0}
  assert {len(values) for values in example["ref_exps"].values()} == {1}


def test_manifest_tells_what_was_dropped(maker, tmp_path, capsys):
  bad = maker.sample("002")
  del bad["002.jpg"]
  path = maker.tar(maker.sample("001"), bad)
  builder = prepare(path, tmp_path / "data")
  manifest = json.loads((builder.data_path / "manifest.json").read_text())
  assert manifest["records"] == {"read": 2, "kept": 1}
  assert manifest["items"] == {"read": 3, "kept": 3}
  assert manifest["files"] == [
    {"name": "00000.tar", "bytes": path.stat().st_size}
  ]
  assert manifest["dropped"]["record"]["missing_picture"] == {
    "count": 1,
    "meaning": "the sample has no jpg, jpeg, png or webp",
    "examples": ["00000.tar:002"],
  }
  assert "missing_picture" in capsys.readouterr().out


def test_picture_that_only_pillow_decodes_is_dropped(
  maker, tmp_path, monkeypatch
):
  path = maker.tar(maker.sample("001"), maker.sample("002"))
  answers = iter([False, True])
  monkeypatch.setattr(
    reading, "_tensorflow_decodes", lambda data: next(answers)
  )
  builder = prepare(path, tmp_path)
  assert [example["id"] for example in stored(builder)] == [b"2"]
  # Its items are not in the data, so they are not counted.
  assert (builder.report.items_read, builder.report.items_kept) == (3, 3)


def test_duplicate_ids(maker, tmp_path):
  dropped = maker.sample("001", id=1, noun_chunks=[], ref_exps=[])
  good = maker.sample("002", id=1, caption="a dog on grass!")
  paths = [
    maker.tar(dropped, good, name="0.tar"),
    maker.tar(maker.sample("003", id="1"), name="1.tar"),
  ]
  builder = prepare(paths, tmp_path / "data")
  [example] = stored(builder)
  assert example["caption"] == b"a dog on grass!"
  counts = {r.name: n for r, n in builder.report.counts.items()}
  assert counts == {"NO_BOX_LEFT": 1, "DUPLICATE_ID": 1, "TXT_DIFFERS": 1}
  assert builder.report.examples[Drop.DUPLICATE_ID] == ["1.tar:1"]
  assert (builder.report.records_read, builder.report.records_kept) == (3, 1)
  assert (builder.report.items_read, builder.report.items_kept) == (3, 3)


def test_shorter_side(maker, tmp_path):
  path = maker.tar(maker.sample(picture=maker.jpeg(120, 80)))
  builder = prepare(path, tmp_path, shorter_side=40)
  [example] = builder.as_data_source(split="train")
  assert example["image"].shape == (40, 60, 3)
  assert builder.report.counts == {Drop.PICTURE_RESIZED: 1}
  assert builder.data_path != prepare(path, tmp_path).data_path


def test_order_depends_on_ids_alone(maker, tmp_path):
  samples = [maker.sample(f"{i:03d}") for i in range(20)]
  one = prepare(maker.tar(*samples, name="0.tar"), tmp_path / "one")
  paths = [
    maker.tar(*samples[:3:-1], name="1.tar"),
    maker.tar(*samples[3::-1], name="2.tar"),
  ]
  two = prepare(paths, tmp_path / "two")
  ids = [example["id"] for example in stored(one)]
  assert ids == [example["id"] for example in stored(two)]
  assert ids != sorted(ids)


def test_second_call_reads_nothing(maker, tmp_path, monkeypatch, capsys):
  path = maker.tar(maker.sample())
  first = prepare(path, tmp_path)
  capsys.readouterr()
  monkeypatch.setattr(
    shards, "read_shards", lambda *a, **k: pytest.fail("reads again")
  )
  # Nor needs a place to write to.
  monkeypatch.setattr(preparing, "_locked", lambda path: pytest.fail(path))
  os.utime(path, (0, 0))  # A checkout changes times.
  second = prepare([f"{path.parent}/*.tar"], tmp_path)
  assert second.data_path == first.data_path
  assert len(stored(second)) == 1
  assert not capsys.readouterr().out


def test_changed_shards_are_read_again(maker, tmp_path, monkeypatch):
  def prepared():
    builder = prepare(tmp_path / "*.tar", tmp_path / "data")
    return [str(builder.data_path), *(e["caption"] for e in stored(builder))]

  maker.tar(maker.sample())
  seen = [prepared()]
  maker.tar(maker.sample(caption="a cat on grass"))  # As long as before.
  seen.append(prepared())
  maker.tar(maker.sample("001"), name="00001.tar")
  seen.append(prepared())
  (tmp_path / "00001.tar").rename(tmp_path / "00002.tar")
  seen.append(prepared())
  # Large shards: by time.
  monkeypatch.setattr(identity, "HASHED_BYTES", 0)
  seen.append(prepared())
  os.utime(tmp_path / "00000.tar", (0, 0))
  seen.append(prepared())
  assert len({path for path, *_ in seen}) == len(seen)
  assert seen[0][1:] == [b"a dog on grass"]
  assert seen[1][1:] == [b"a cat on grass"]
  assert len(seen[2]) == 3


def test_min_side_is_part_of_the_identity(maker, tmp_path):
  small = maker.sample("001", picture=maker.jpeg(40, 40))
  path = maker.tar(maker.sample("000", picture=maker.jpeg(50, 50)), small)
  assert len(stored(prepare(path, tmp_path))) == 2
  assert len(stored(prepare(path, tmp_path, min_side=41))) == 1


def test_nothing_good_is_an_error_that_tells_why(maker, tmp_path):
  path = maker.tar(maker.sample(caption=""))
  path.write_bytes(b"")
  with pytest.raises(
    ValueError, match="at least one good GrIT record"
  ) as error:
    prepare(path, tmp_path / "data")
  assert "unreadable_file" in str(error.value)
  assert not list((tmp_path / "data").glob("grit/*/1.0.0"))


def test_no_shards(tmp_path):
  with pytest.raises(FileNotFoundError, match="no GrIT shard at"):
    prepare(tmp_path / "gone" / "*.tar", tmp_path)
  with pytest.raises(ValueError, match="Grit needs shards"):
    Grit(data_dir=tmp_path)


def test_command_line(maker, tmp_path, capsys):
  path = maker.tar(maker.sample())
  flags = ["--shards", str(path), "--data_dir", str(tmp_path / "data")]
  for _ in range(2):
    grit_builder.main(flags)
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith("GrIT: 1 file(s), 1 of 1 records")
  assert lines[1] == lines[2]
  assert pathlib.Path(lines[1], "manifest.json").exists()
  assert [p.name for p in (tmp_path / "data").iterdir()] == ["grit"]
  with pytest.raises(SystemExit, match="2"):
    grit_builder.main(["--shards", "gone.tar", *flags[2:]])
  assert capsys.readouterr().err.startswith("error: no GrIT shard at")


def test_home_folder(maker, tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  maker.tar(maker.sample())
  builder = prepare("~/*.tar", "~/data")
  assert builder.data_path.is_relative_to(tmp_path / "data")


def test_read_back_without_the_shards(maker, tmp_path):
  path = maker.tar(maker.sample())
  folder = prepare(path, tmp_path / "data").data_path
  path.unlink()
  builder = tfds.builder_from_directory(folder)
  assert len(builder.as_data_source(split="train")) == 1


# Every record takes as many seconds as the last argument says.
SLOW = """
import sys, time
from data.grit import grit_builder, shards
read_shards = shards.read_shards
def slow(*args, **kwargs):
  for record in read_shards(*args, **kwargs):
    time.sleep(float(sys.argv[3]))
    yield record
shards.read_shards = slow
grit_builder.prepare(*sys.argv[1:3])
"""


@contextlib.contextmanager
def another_process(path, data_dir, seconds):
  """Another process that has begun to prepare `path`."""
  arguments = [sys.executable, "-c", SLOW, path, data_dir, str(seconds)]
  root = pathlib.Path(__file__).parents[3]
  with subprocess.Popen(arguments, cwd=root) as process:
    try:
      deadline = time.time() + 120
      while not list(data_dir.glob("grit/*/incomplete.*")):
        assert time.time() < deadline
        assert process.poll() is None
        time.sleep(0.05)
      yield process
    finally:
      process.kill()


@pytest.mark.slow
def test_killed_and_started_again(maker, tmp_path):
  path = maker.tar(*(maker.sample(f"{i:03d}") for i in range(3)))
  with another_process(path, tmp_path / "data", 600) as process:
    process.kill()
  assert list(tmp_path.glob("data/grit/*/incomplete.*"))
  builder = prepare(path, tmp_path / "data")
  assert len(stored(builder)) == 3
  assert not list(tmp_path.glob("data/grit/*/incomplete.*"))


@pytest.mark.slow
def test_two_processes_at_once(maker, tmp_path, capsys):
  path = maker.tar(*(maker.sample(f"{i:03d}") for i in range(3)))
  with another_process(path, tmp_path / "data", 1) as process:
    builder = prepare(path, tmp_path / "data")
    assert len(stored(builder)) == 3
    assert process.wait(60) == 0
  # This process waited and found everything done.
  assert not capsys.readouterr().out
