"""The committed photographs: complete, licensed, and as they are described."""

import io
import json
import pathlib
import tarfile

import numpy as np
import pytest
from PIL import Image

from data.building.drops import DropReport
from data.grit import make_photos, shards

SHARD = make_photos.PHOTOS / "00000.tar"
ANNOTATIONS = json.loads((make_photos.PHOTOS / "annotations.json").read_text())


@pytest.fixture(scope="module")
def records():
  report = DropReport()
  found = list(shards.read_shards([SHARD], report))
  assert not report.counts, report.table()
  return found


def test_is_small_and_says_nothing_of_its_maker():
  assert SHARD.stat().st_size < 600_000
  with tarfile.open(SHARD) as tar:
    for member in tar:
      assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
      assert (member.uname, member.gname) == ("", "")


def test_is_what_the_annotations_say(records):
  assert len(records) == len(ANNOTATIONS)
  for index, (record, note) in enumerate(
    zip(records, ANNOTATIONS, strict=True)
  ):
    assert record.id == str(index)
    assert record.caption == note["caption"]
    assert max(record.width, record.height) == make_photos.LONGER_SIDE
    for name in ("noun_chunks", "ref_exps"):
      told = [(p, box) for p, boxes in note[name].items() for box in boxes]
      items = getattr(record, name)
      assert len(items) == len(told)
      for item, (phrase, box) in zip(items, told, strict=True):
        assert record.caption[item.start : item.end] == phrase
        assert item.box_xyxy == tuple(map(float, np.float32(box)))
        assert item.score == 1


def test_has_phrases_with_several_boxes(records):
  several = 0
  for record in records:
    spans = [(item.start, item.end) for item in record.noun_chunks]
    several += len(spans) > len(set(spans))
  assert several >= 2


def test_keys_are_those_of_a_grit_record():
  with tarfile.open(SHARD) as tar:
    fields = json.load(tar.extractfile("000000000.json"))
  assert {
    "clip_similarity_vitb32",
    "clip_similarity_vitl14",
    "id",
    "url",
    "caption",
    "width",
    "height",
    "noun_chunks",
    "ref_exps",
    "key",
    "status",
    "error_message",
    "original_width",
    "original_height",
    "exif",
    "sha256",
  } == fields.keys()


def test_every_photo_has_its_licence():
  table = (make_photos.PHOTOS / "LICENSES.md").read_text()
  rows = [line for line in table.splitlines() if line.startswith("| 0")]
  assert len(rows) == len(ANNOTATIONS)
  for index, (row, note) in enumerate(zip(rows, ANNOTATIONS, strict=True)):
    assert row.startswith(f"| {index:09d} ")
    assert note["file"] in row
    assert "CC0" in row or "public domain" in row


def test_can_be_made_again():
  pytest.importorskip("skimage", reason="needs the extra `photos`")
  made = make_photos.make_shard(ANNOTATIONS)
  with (
    tarfile.open(SHARD) as old,
    tarfile.open(fileobj=io.BytesIO(made)) as new,
  ):
    assert old.getnames() == new.getnames()
    for name in old.getnames():
      before = old.extractfile(name).read()
      after = new.extractfile(name).read()
      if pathlib.Path(name).suffix != ".jpg":
        assert before == after, name
        continue
      # Another Pillow may resize or encode a little differently.
      pixels = [
        np.asarray(Image.open(io.BytesIO(data))).astype(int)
        for data in (before, after)
      ]
      assert np.abs(pixels[0] - pixels[1]).mean() < 3, name


def test_phrase_must_be_once_in_the_caption():
  note = {
    "caption": "a cat and a cat",
    "noun_chunks": {"a cat": [[0, 0, 1, 1]]},
  }
  with pytest.raises(ValueError, match=r"'a cat' once .* found it 2 times"):
    make_photos._to_items(note, "noun_chunks")
