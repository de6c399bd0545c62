"""What is written is what is read back, byte for byte and box for box."""

import json
import os
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.building.drops import DropReport
from data.grit import shards
from data.grit.build import writing
from data.grit.build.grounding import ScoredBox
from data.grit.build.writing import ShardWriter

# Two code units in UTF-16, a letter with a mark apart, a direction mark.
CAPTION = "🐶 ein Hu\u0308ndchen auf «grüner Wiese» \u200fx\t\u2028日本"
PHRASE = "«grüner Wiese»"


def record(caption=CAPTION, phrase=PHRASE, **changes):
  start = caption.index(phrase)
  box = ScoredBox((0.1, 0.2, 0.6, 0.8), 0.9)
  items = writing.items([((start, start + len(phrase)), [box])])
  return {
    "clip_similarity_vitb32": None,
    "clip_similarity_vitl14": 0.25,
    "id": 7,
    "url": "http://a/ü",
    "caption": caption,
    "width": 48,
    "height": 40,
    "noun_chunks": items,
    "ref_exps": items,
  } | changes


def write(path, maker, *, count=1, **changes):
  with ShardWriter(path) as writer:
    for i in range(count):
      fields = record(**({"id": i} | changes))
      key, caption = f"{i:09d}", fields["caption"]
      writer.add(key, maker.jpeg(), "jpg", fields, caption)
  return path


# ---- items


def test_items_of_the_released_example():
  """GrIT's README: the caption's two phrases, the better box first."""
  caption = "a wire hanger with a paper cover that reads we heart our customers"
  hanger = ScoredBox((0.0194, 0.0276, 0.9593, 0.9695), 0.675)
  cover = ScoredBox((0.0196, 0.3105, 0.9622, 0.9603), 0.79)
  chunks = writing.items([((0, 13), [hanger]), ((19, 32), [cover])])
  assert chunks == [
    [19, 32, 0.0196, 0.3105, 0.9622, 0.9603, 0.79],
    [0, 13, 0.0194, 0.0276, 0.9593, 0.9695, 0.675],
  ]
  assert [caption[start:end] for start, end, *_ in chunks] == [
    "a paper cover",
    "a wire hanger",
  ]
  assert all(isinstance(n, int) for item in chunks for n in item[:2])


def test_an_item_for_each_box_and_ties_in_order():
  one, two = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)
  found = [
    ((9, 12), [ScoredBox(two, 0.9), ScoredBox(one, 0.9)]),
    ((0, 5), [ScoredBox(one, 0.9), ScoredBox(two, 0.95)]),
    ((6, 8), []),
  ]
  assert writing.items(found) == [
    [0, 5, *two, 0.95],
    [0, 5, *one, 0.9],
    [9, 12, *two, 0.9],
    [9, 12, *one, 0.9],
  ]


@given(st.floats(0, 1, width=32))
def test_few_digits_tell_the_same_number(corner):
  [[_, _, written, *_]] = writing.items(
    [((0, 1), [ScoredBox((corner, 0.0, 1.0, 1.0), 0.9)])]
  )
  read = json.loads(json.dumps(written))
  assert np.float32(read) == np.float32(corner)
  assert len(repr(written)) <= len(repr(corner))


# ---- shards


def test_spans_count_in_the_caption_that_is_read_back(maker, tmp_path):
  path = write(tmp_path / "00000.tar", maker)
  with tarfile.open(path) as tar:
    assert tar.getnames() == [f"000000000.{s}" for s in ("jpg", "json", "txt")]
    members = {m.name[-3:]: tar.extractfile(m).read() for m in tar}
  assert members["jpg"] == maker.jpeg()
  assert members["txt"] == CAPTION.encode()
  assert CAPTION[:5].encode() in members["son"]  # Not escaped.
  fields = json.loads(members["son"])
  assert fields == record(id=0)
  start, end = fields["ref_exps"][0][:2]
  assert fields["caption"][start:end].encode() == PHRASE.encode()


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_read_back_by_the_reader_of_grit(maker, tmp_path, extension):
  picture = maker.jpeg()
  if extension == "png":
    maker.picture().save(tmp_path / "a.png")
    picture = (tmp_path / "a.png").read_bytes()
  path = tmp_path / "00000.tar"
  with ShardWriter(path) as writer:
    writer.add("000000000", picture, extension, record(), CAPTION)
    assert writer.count == 1
  report = DropReport()
  [found] = shards.read_shards([path], report)
  assert not report.counts
  assert (found.id, found.image, found.caption) == ("7", picture, CAPTION)
  assert (found.width, found.height) == (48, 40)
  assert found.noun_chunks == found.ref_exps
  [item] = found.ref_exps
  assert CAPTION[item.start : item.end] == PHRASE
  assert item.box_xyxy == tuple(np.float32((0.1, 0.2, 0.6, 0.8)).tolist())
  assert item.score == 0.9


@given(
  before=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
  after=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
)
def test_any_caption_is_read_back(tmp_path_factory, maker_class, before, after):
  folder = tmp_path_factory.mktemp("shard")
  caption = f"{before}{PHRASE}{after}"
  path = write(folder / "0.tar", maker_class(folder), caption=caption)
  report = DropReport()
  [found] = shards.read_shards([path], report)
  assert not report.counts
  assert found.caption == caption
  [item] = found.noun_chunks
  assert caption[item.start : item.end] == PHRASE


@pytest.mark.slow
def test_read_back_from_a_data_source(maker, tmp_path):
  from data.grit import grit_builder

  path = write(tmp_path / "00000.tar", maker, count=3)
  builder = grit_builder.prepare(path, tmp_path / "data")
  source = builder.as_data_source("train")
  found = sorted((source[i] for i in range(len(source))), key=lambda x: x["id"])
  assert [example["id"] for example in found] == [b"0", b"1", b"2"]
  for example in found:
    assert example["caption"].decode() == CAPTION
    [start] = example["noun_chunks"]["start"]
    [end] = example["noun_chunks"]["end"]
    assert CAPTION[start:end] == PHRASE
    np.testing.assert_array_equal(
      example["ref_exps"]["box_xyxy"], np.float32([[0.1, 0.2, 0.6, 0.8]])
    )


def test_the_same_bytes_each_time(maker, tmp_path):
  one = write(tmp_path / "1.tar", maker, count=3)
  two = write(tmp_path / "2.tar", maker, count=3)
  assert one.read_bytes() == two.read_bytes()
  with tarfile.open(one) as tar:
    for member in tar:
      assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
      assert (member.uname, member.gname, member.mode) == ("", "", 0o644)


def test_a_shard_without_records_is_a_shard(maker, tmp_path):
  path = write(tmp_path / "0.tar", maker, count=0)
  report = DropReport()
  assert list(shards.read_shards([path], report)) == []
  assert not report.counts


# ---- complete or not at all


def test_nothing_has_the_name_before_the_end(maker, tmp_path):
  path = tmp_path / "0.tar"
  with ShardWriter(path) as writer:
    writer.add("0", maker.jpeg(), "jpg", record(), CAPTION)
    [name] = os.listdir(tmp_path)
    assert name.startswith(".0.tar.") and name.endswith(".partial")
  assert os.listdir(tmp_path) == ["0.tar"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing(maker, tmp_path, error):
  path = tmp_path / "0.tar"
  with pytest.raises(error), ShardWriter(path) as writer:
    writer.add("0", maker.jpeg(), "jpg", record(), CAPTION)
    raise error
  assert os.listdir(tmp_path) == []


def test_an_error_leaves_the_shard_that_was_there(maker, tmp_path):
  path = write(tmp_path / "0.tar", maker)
  before = path.read_bytes()
  with pytest.raises(RuntimeError), ShardWriter(path):
    raise RuntimeError
  assert path.read_bytes() == before
  assert os.listdir(tmp_path) == ["0.tar"]


def test_an_error_at_the_end_leaves_nothing(maker, tmp_path, monkeypatch):
  def fail(file):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "fsync", fail)
  with pytest.raises(OSError, match="No space"):
    write(tmp_path / "0.tar", maker)
  assert os.listdir(tmp_path) == []


def test_two_at_once(maker, tmp_path):
  path = tmp_path / "0.tar"
  with ShardWriter(path) as one, ShardWriter(path) as two:
    for writer in (one, two):
      writer.add("0", maker.jpeg(), "jpg", record(), CAPTION)
  assert len(list(shards.read_shards([path], DropReport()))) == 1
  assert os.listdir(tmp_path) == ["0.tar"]


def test_no_folder(tmp_path):
  with pytest.raises(FileNotFoundError), ShardWriter(tmp_path / "no/0.tar"):
    pass


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"key": "0.a"}, "expected a new key of letters, digits, _ and -"),
    ({"key": "../0"}, "expected a new key"),
    ({"key": ""}, "expected a new key"),
    ({"key": "a" * 91}, "expected a new key"),
    ({"key": "old"}, "expected a new key"),
    ({"extension": "webp"}, "expected the extension jpg or png"),
    ({"caption": "another"}, "expected the caption of 0 in its fields"),
    ({"fields": record(width=float("nan"))}, "JSON in UTF-8 can hold"),
    ({"fields": record(url="half \ud83d")}, "JSON in UTF-8 can hold"),
    (
      {
        "fields": record() | {"caption": "half \ud83d"},
        "caption": "half \ud83d",
      },
      "JSON in UTF-8 can hold",
    ),
  ],
)
def test_what_cannot_be_written(maker, tmp_path, changes, message):
  sample = {
    "key": "0",
    "picture": maker.jpeg(),
    "extension": "jpg",
    "fields": record(),
    "caption": CAPTION,
  }
  path = tmp_path / "0.tar"
  with ShardWriter(path) as writer:
    writer.add(**sample | {"key": "old"})
    with pytest.raises(ValueError, match=message):
      writer.add(**sample | changes)
  # What went wrong left no half of a sample.
  assert len(list(shards.read_shards([path], DropReport()))) == 1
