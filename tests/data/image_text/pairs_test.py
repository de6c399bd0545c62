"""Captioned pictures from shards, the broken ones counted."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from data.building.drops import Drop, DropReport
from data.image_text import pairs


def encode(image, encoding="JPEG", **options):
  """Bytes of a PIL image."""
  buffer = io.BytesIO()
  image.save(buffer, encoding, **options)
  return buffer.getvalue()


def read(path, **options):
  """Pairs and report; everything read is accounted for."""
  report = DropReport(title="pairs")
  options = {"min_side": 32} | options
  found = list(pairs.read_pairs(path, report, **options))
  assert report.records_read == len(found) + report.total("record")
  return found, report


def only(report, reason, count=1):
  """Asserts that `reason` and no other was counted."""
  assert dict(report.counts) == {reason: count}


def web(maker, key="000", **changes):
  """A sample as img2dataset writes it, without boxes."""
  changes = {"id": None, "noun_chunks": None, "ref_exps": None} | changes
  return maker.sample(key, **changes)


def test_good_pair(maker):
  [pair], report = read(maker.tar(web(maker, "000000012")))
  assert pair == pairs.Pair("000000012", maker.jpeg(), "a dog on grass")
  assert not report.counts


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "JPG"])
def test_picture_suffixes(maker, suffix):
  found, _ = read(maker.tar(web(maker, suffix=suffix)))
  assert len(found) == 1


def test_caption_from_txt(maker):
  sample = web(maker, caption=None)
  [pair], report = read(maker.tar(sample))
  assert pair.caption == "a dog on grass"
  only(report, Drop.CAPTION_FROM_TXT)


def test_shard_without_json(maker):
  sample = web(maker)
  del sample["000.json"]
  [pair], report = read(maker.tar(sample))
  assert (pair.id, pair.caption) == ("000", "a dog on grass")
  only(report, Drop.CAPTION_FROM_TXT)


def test_ids(maker):
  path = maker.tar(web(maker, "1", id=5, url="https://a.b/1"), web(maker, "2"))
  assert [pair.id for pair in read(path)[0]] == ["5", "2"]
  found, _ = read(path, id_field="url")
  assert [pair.id for pair in found] == ["https://a.b/1", "2"]


@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    ({"caption": " ", "txt": b"\n"}, Drop.EMPTY_CAPTION),
    ({"caption": 5}, Drop.BAD_CAPTION),
    ({"status": "failed_to_download"}, Drop.FAILED_DOWNLOAD),
    ({"id": [1]}, Drop.BAD_ID),
    ({"json": b"{"}, Drop.BAD_JSON),
    ({"picture": b""}, Drop.CORRUPT_PICTURE),
    ({"picture": None}, Drop.MISSING_PICTURE),
  ],
)
def test_bad_pair(maker, changes, reason):
  changes = dict(changes)
  kinds = {"txt", "json", "picture"} & changes.keys()
  members = {kind: changes.pop(kind) for kind in kinds}
  sample = web(maker, **changes)
  for kind, data in members.items():
    name = "000." + {"picture": "jpg"}.get(kind, kind)
    if data is None:
      del sample[name]
    else:
      sample[name] = data
  found, report = read(maker.tar(sample, web(maker, "001")))
  assert [pair.id for pair in found] == ["001"]
  only(report, reason)
  assert report.examples[reason] == ["00000.tar:000"]


def test_picture_that_breaks_off(maker):
  half = maker.jpeg()[: len(maker.jpeg()) // 2]
  only(read(maker.tar(web(maker, picture=half)))[1], Drop.CORRUPT_PICTURE)


@pytest.mark.parametrize(("side", "kept"), [(1, 0), (199, 0), (200, 1)])
def test_small_pictures(maker, side, kept):
  sample = web(maker, picture=maker.jpeg(300 if side > 1 else 1, side))
  found, report = read(maker.tar(sample), min_side=200)
  assert len(found) == kept
  assert report.counts[Drop.PICTURE_TOO_SMALL] == 1 - kept


def test_pictures_of_every_mode(maker):
  image = maker.picture()
  grey16 = Image.fromarray(np.full((40, 48), 40_000, np.uint16))
  encoded = {
    "cmyk": encode(image.convert("CMYK")),
    "palette": encode(image.convert("P"), "PNG"),
    "16 bits": encode(grey16, "PNG"),
    "webp": encode(image, "WEBP"),
  }
  samples = [
    web(maker, str(at), picture=data)
    for at, data in enumerate(encoded.values())
  ]
  found, report = read(maker.tar(*samples))
  only(report, Drop.PICTURE_REENCODED, 4)
  for pair in found:
    stored = Image.open(io.BytesIO(pair.image))
    assert (stored.mode, stored.size) == ("RGB", (48, 40))
  grey = np.asarray(Image.open(io.BytesIO(found[2].image)))
  assert (grey == 156).all()


def test_pictures_are_stored_upright(maker):
  exif = Image.Exif()
  exif[0x0112] = 6  # A quarter turn.
  sample = web(maker, picture=encode(maker.picture(), exif=exif))
  [pair], _ = read(maker.tar(sample))
  stored = Image.open(io.BytesIO(pair.image))
  assert stored.size == (40, 48)
  assert 0x0112 not in stored.getexif()


def test_large_pictures_are_resized(maker):
  path = maker.tar(
    web(maker, "1", picture=maker.jpeg(120, 80)), web(maker, "2")
  )
  found, _ = read(path, shorter_side=60)
  sizes = [Image.open(io.BytesIO(pair.image)).size for pair in found]
  assert sizes == [(90, 60), (48, 40)]
  assert found[1].image == maker.jpeg()


def test_similarity(maker):
  path = maker.tar(
    web(maker, "1", similarity=0.29),
    web(maker, "2", similarity=0.31),
    web(maker, "3", clip_similarity_vitb32=0.5),
    web(maker, "4"),
    web(maker, "5", similarity="0.5"),
    web(maker, "6", mine=0.9),
  )
  assert len(read(path)[0]) == 6
  found, report = read(path, min_similarity=0.3)
  assert [pair.id for pair in found] == ["2", "3"]
  assert report.counts == {Drop.LOW_SIMILARITY: 1, Drop.NO_SIMILARITY: 3}
  found, _ = read(path, min_similarity=0.3, similarity_field="mine")
  assert [pair.id for pair in found] == ["6"]


def test_shard_cut_in_half(maker, tmp_path):
  path = maker.tar(*(web(maker, f"{n:03}") for n in range(9)))
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  found, report = read(path)
  assert 2 < len(found) < 8
  only(report, Drop.TRUNCATED_FILE)


def test_names_that_lead_out_of_the_shard(maker, tmp_path):
  evil = {f"../{name}": data for name, data in web(maker).items()}
  link = tarfile.TarInfo("link.jpg")
  link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
  found, report = read(maker.tar(evil, web(maker, "001"), members=[link]))
  assert [pair.id for pair in found] == ["001"]
  only(report, Drop.UNSAFE_MEMBER, 4)
  assert [p.name for p in tmp_path.iterdir()] == ["00000.tar"]


def test_what_was_never_fetched(maker, tmp_path):
  stats = {"count": 5, "failed_to_download": 4, "failed_to_resize": 0}
  (tmp_path / "00000_stats.json").write_text(json.dumps(stats))
  only(read(maker.tar(web(maker)))[1], Drop.NEVER_FETCHED, 4)
