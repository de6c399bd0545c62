"""Documents of both layouts, with pictures from folders and from shards."""

import gzip
import hashlib
import io
import json
import zipfile

import pytest
from PIL import Image

from data.building import archive
from data.building.drops import Drop, DropReport
from data.interleaved import documents
from data.interleaved.picture_store import FolderStore, ShardStore

URL = "https://a.b/dog.jpg?size=large"


def picture_info(name="dog.jpg", at=0, **changes):
  """One of MMC4's pictures."""
  return {
    "image_name": name,
    "raw_url": f"https://a.b/{name}",
    "matched_text_index": at,
    "matched_sim": 0.3,
    "face_detections": None,
  } | changes


def mmc4(*infos, texts=("A dog.", "It runs.")):
  """A document in MMC4's layout."""
  return {
    "url": "https://a.b",
    "text_list": list(texts),
    "image_info": list(infos),
    "similarity_matrix": [[0.3] * len(texts)] * len(infos),
    "could_have_url_duplicate": 0,
  }


def obelics(*parts):
  """A document in OBELICS' layout; URLs are pictures."""
  return {
    "images": [p if p.startswith("https:") else None for p in parts],
    "texts": [None if p.startswith("https:") else p for p in parts],
    "metadata": json.dumps([None] * len(parts)),
    "general_metadata": json.dumps({"url": "https://a.b"}),
  }


def write(path, *values):
  """A line for each: objects as JSON, bytes as they are."""
  rows = [v if isinstance(v, bytes) else json.dumps(v).encode() for v in values]
  path.write_bytes(b"".join(row + b"\n" for row in rows))
  return path


def read(path, store, **options):
  """Documents and report; everything read is accounted for."""
  report = DropReport(title="documents")
  options = {"min_side": 32} | options
  found = list(documents.read_documents(path, report, store, **options))
  assert report.records_read == len(found) + report.total("record")
  assert report.items_read == report.items_kept + report.total("item")
  assert report.files_read == 1
  return found, report


def only(report, reason, count=1):
  """Asserts that `reason` and no other was counted."""
  assert dict(report.counts) == {reason: count}


@pytest.fixture
def folder(tmp_path, maker):
  """A folder with the pictures dog.jpg (48 x 40) and cat.jpg (64 x 64)."""
  folder = tmp_path / "pictures"
  folder.mkdir()
  (folder / "dog.jpg").write_bytes(maker.jpeg())
  (folder / "cat.jpg").write_bytes(maker.jpeg(64, 64))
  return folder


def test_mmc4(tmp_path, maker, folder):
  """Pictures stand before the sentence they match."""
  path = write(
    tmp_path / "docs_shard_0.jsonl",
    mmc4(
      picture_info("cat.jpg", at=2),
      picture_info("dog.jpg", at=0),
      picture_info("dog.jpg", at=2),
      texts=["A dog.", " ", "And cats."],
    ),
  )
  [document], report = read(path, FolderStore([folder], "name"))
  assert document.id == f"{tmp_path.name}/docs_shard_0.jsonl:1"
  assert document.parts == [
    ("", 0),
    ("A dog.", -1),
    ("", 1),
    ("", 2),
    ("And cats.", -1),
  ]
  assert document.images == [maker.jpeg(), maker.jpeg(64, 64), maker.jpeg()]
  assert not report.counts


def test_packed_mmc4(tmp_path, folder):
  rows = (json.dumps(mmc4(picture_info())) + "\n").encode() * 2
  with zipfile.ZipFile(tmp_path / "docs.jsonl.zip", "w") as packed:
    packed.writestr("docs.jsonl", rows)
  (tmp_path / "docs.jsonl.gz").write_bytes(gzip.compress(rows))
  store = FolderStore([folder], "name")
  assert len(read(tmp_path / "docs.jsonl.zip", store)[0]) == 2
  assert len(read(tmp_path / "docs.jsonl.gz", store)[0]) == 2


def obelics_files(tmp_path, *values):
  """The same documents as JSONL and as parquet."""
  pyarrow = pytest.importorskip("pyarrow", reason="writes parquet")
  from pyarrow import parquet

  path = tmp_path / "a.parquet"
  parquet.write_table(pyarrow.Table.from_pylist(list(values)), path)
  return write(tmp_path / "a.jsonl", *values), path


def test_obelics(tmp_path, maker):
  sample = maker.sample("000000007", url=URL)
  shard = maker.tar(sample, name="pictures.tar")
  store = ShardStore([shard], "url", DropReport())
  document = obelics("Look:\n\na dog.", URL, " ", "https://a.b/gone.jpg", "So.")
  for path in obelics_files(tmp_path, document, obelics(URL, "Dog.")):
    found, report = read(path, store)
    assert [d.id for d in found] == [
      f"{tmp_path.name}/{path.name}:{n}" for n in (1, 2)
    ]
    assert found[0].parts == [("Look:\n\na dog.", -1), ("", 0), ("So.", -1)]
    assert found[1].parts == [("", 0), ("Dog.", -1)]
    assert found[0].images == [maker.jpeg()]
    only(report, Drop.LOST_PICTURE)
    [place] = report.examples[Drop.LOST_PICTURE]
    assert place == f"{path.name}:1:https://a.b/gone.jpg"


@pytest.mark.parametrize("naming", ["sha256", "md5"])
def test_pictures_named_by_the_hash_of_their_url(tmp_path, maker, naming):
  digest = hashlib.new(naming, URL.encode()).hexdigest()
  (tmp_path / f"{digest}.png").write_bytes(maker.jpeg())
  shard = maker.tar(maker.sample(digest), name="pictures.tar")
  path = write(tmp_path / "a.jsonl", obelics(URL, "A dog."))
  for store in (
    FolderStore([tmp_path], naming),
    ShardStore([shard], naming, DropReport()),
  ):
    [document], report = read(path, store)
    assert document.images == [maker.jpeg()]
    assert not report.counts


def test_pictures_of_mmc4_in_shards(tmp_path, maker):
  shards = [
    maker.tar(maker.sample("b/dog"), name="0.tar"),
    maker.tar(maker.sample("cat", picture=maker.jpeg(64, 64)), name="1.tar"),
  ]
  store = ShardStore(shards, "name", DropReport())
  path = write(
    tmp_path / "a.jsonl",
    mmc4(picture_info("cat.jpg"), picture_info("dog.jpg", 1)),
  )
  [document], report = read(path, store)
  assert document.images == [maker.jpeg(64, 64), maker.jpeg()]
  assert not report.counts


@pytest.mark.parametrize(
  ("info", "reason"),
  [
    (picture_info("gone.jpg"), Drop.LOST_PICTURE),
    (picture_info("half.jpg"), Drop.BROKEN_PICTURE),
    (picture_info("dot.jpg"), Drop.SMALL_PICTURE),
    (picture_info("huge.jpg"), Drop.HUGE_PICTURE),
    (picture_info("../dog.jpg"), Drop.UNSAFE_PICTURE),
    (picture_info("/etc/dog.jpg"), Drop.UNSAFE_PICTURE),
    (picture_info("a/dog.jpg"), Drop.UNSAFE_PICTURE),
    (picture_info("C:\\dog.jpg"), Drop.UNSAFE_PICTURE),
    (picture_info("a\0.jpg"), Drop.UNSAFE_PICTURE),
    (picture_info(at=2), Drop.BAD_PLACE),
    (picture_info(at=-1), Drop.BAD_PLACE),
    (picture_info(at=None), Drop.BAD_PLACE),
    (picture_info(at=True), Drop.BAD_PLACE),
    (picture_info(5), Drop.BAD_PLACE),
    (picture_info("\ud83d.jpg"), Drop.BAD_PLACE),
    (picture_info("", raw_url=None), Drop.BAD_PLACE),
    ("dog.jpg", Drop.BAD_PLACE),
  ],
)
def test_picture_that_is_left_out(
  tmp_path, maker, folder, monkeypatch, info, reason
):
  (tmp_path / "dog.jpg").write_bytes(maker.jpeg())
  (folder / "half.jpg").write_bytes(maker.jpeg()[:300])
  (folder / "dot.jpg").write_bytes(maker.jpeg(1, 1))
  (folder / "huge.jpg").write_bytes(bytes(100_000))
  monkeypatch.setitem(archive.MAX_BYTES, "picture", 50_000)
  path = write(tmp_path / "a.jsonl", mmc4(info, picture_info()))
  [document], report = read(path, FolderStore([folder], "name"))
  assert document.images == [maker.jpeg()]
  only(report, reason)


def test_names_are_not_looked_up_outside_by_hash(tmp_path, folder):
  """A name of no use to the naming still must not lead anywhere."""
  path = write(tmp_path / "a.jsonl", mmc4(picture_info("../../x.jpg")))
  found, report = read(path, FolderStore([folder], "sha256"))
  assert not found
  assert report.counts == {Drop.UNSAFE_PICTURE: 1, Drop.NO_PICTURE_LEFT: 1}


@pytest.mark.parametrize(
  ("line", "reason"),
  [
    (b'{"text_list": ["cut', Drop.BAD_JSON),
    (b"[]", Drop.BAD_JSON),
    ({"text": "x"}, Drop.BAD_DOCUMENT),
    ({"text_list": "x", "image_info": []}, Drop.BAD_DOCUMENT),
    ({"text_list": ["x"]}, Drop.BAD_DOCUMENT),
    ({"texts": ["x"], "images": [None, URL]}, Drop.BAD_DOCUMENT),
    ({"texts": ["x"]}, Drop.BAD_DOCUMENT),
    (mmc4(texts=["x", 5]), Drop.BAD_TEXT),
    (obelics("half \ud83d"), Drop.BAD_TEXT),
    (mmc4(texts=["", " "]), Drop.EMPTY_TEXT),
    (obelics(URL), Drop.EMPTY_TEXT),
    (mmc4(), Drop.NO_PICTURE_LEFT),
    (obelics("A dog."), Drop.NO_PICTURE_LEFT),
  ],
)
def test_bad_document(tmp_path, folder, line, reason):
  path = write(tmp_path / "a.jsonl", line, mmc4(picture_info()))
  found, report = read(path, FolderStore([folder], "name"))
  assert [d.id for d in found] == [f"{tmp_path.name}/a.jsonl:2"]
  only(report, reason)
  assert report.examples[reason] == ["a.jsonl:1"]


def test_documents_without_pictures_as_text(tmp_path, folder):
  path = write(tmp_path / "a.jsonl", mmc4(picture_info("gone.jpg")))
  [document], report = read(path, FolderStore([folder], "name"), keep_text=True)
  assert document.images == []
  assert document.parts == [("A dog.", -1), ("It runs.", -1)]
  assert report.counts == {Drop.LOST_PICTURE: 1, Drop.TEXT_ALONE: 1}


def test_at_most_so_many_pictures(tmp_path, folder):
  """Pictures that are not good take no place."""
  infos = [picture_info(n) for n in ("gone.jpg", "dog.jpg", "cat.jpg")]
  path = write(tmp_path / "a.jsonl", mmc4(*infos, picture_info(at=1)))
  store = FolderStore([folder], "name")
  [document], report = read(path, store, max_images=2)
  assert len(document.images) == 2
  assert document.parts[2:] == [("A dog.", -1), ("It runs.", -1)]
  assert report.counts == {Drop.LOST_PICTURE: 1, Drop.SPARE_PICTURE: 1}


def test_pictures_unlike_their_sentence(tmp_path, folder):
  infos = [
    picture_info("dog.jpg", matched_sim=0.2),
    picture_info("dog.jpg", matched_sim=None),
    picture_info("cat.jpg", matched_sim=0.24),
  ]
  path = write(tmp_path / "a.jsonl", mmc4(*infos))
  store = FolderStore([folder], "name")
  [document], report = read(path, store, min_similarity=0.24)
  assert len(document.images) == 1
  only(report, Drop.UNLIKE_PICTURE, 2)


def test_pictures_of_other_modes_and_sizes(tmp_path, maker, folder):
  exif = Image.Exif()
  exif[0x0112] = 6  # A quarter turn.
  maker.picture(120, 80).save(folder / "turned.jpg", exif=exif)
  maker.picture().convert("CMYK").save(folder / "cmyk.jpg")
  infos = [picture_info("turned.jpg"), picture_info("cmyk.jpg")]
  path = write(tmp_path / "a.jsonl", mmc4(*infos))
  store = FolderStore([folder], "name")
  [document], report = read(path, store, shorter_side=60)
  stored = [Image.open(io.BytesIO(data)) for data in document.images]
  assert [image.size for image in stored] == [(60, 90), (48, 40)]
  assert {image.mode for image in stored} == {"RGB"}
  assert report.counts[Drop.PICTURE_REENCODED] >= 1


@pytest.mark.parametrize("data", [b"", b"PAR1 and no more", b"<html>"])
def test_parquet_that_cannot_be_read(tmp_path, folder, data):
  (tmp_path / "a.parquet").write_bytes(data)
  found, report = read(tmp_path / "a.parquet", FolderStore([folder], "name"))
  assert not found
  only(report, Drop.UNREADABLE_FILE)


def test_parquet_cut_in_half(tmp_path, folder):
  _, path = obelics_files(tmp_path, *[obelics(URL, "A dog.")] * 50)
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  only(read(path, FolderStore([folder], "url"))[1], Drop.UNREADABLE_FILE)


def test_parquet_damaged_within(tmp_path, folder):
  """Rows before the damage are read: of several groups, those before it."""
  pyarrow = pytest.importorskip("pyarrow", reason="writes parquet")
  from pyarrow import parquet

  rows = [obelics(f"https://a.b/{n}.jpg", f"Dog {n}.") for n in range(300)]
  path = tmp_path / "a.parquet"
  table = pyarrow.Table.from_pylist(rows)
  parquet.write_table(table, path, row_group_size=100)
  data = bytearray(path.read_bytes())
  at = parquet.ParquetFile(path).metadata.row_group(2).column(0)
  start = at.dictionary_page_offset or at.data_page_offset
  data[start : start + 40] = b"\xff" * 40
  path.write_bytes(data)
  store = FolderStore([folder], "name")
  found, report = read(path, store, keep_text=True)
  assert 0 < len(found) <= 200
  assert report.counts[Drop.TRUNCATED_FILE] == 1


def test_damaged_shard_of_pictures(tmp_path, maker):
  """What lies before the damage is found; the rest is lost and counted."""
  names = [f"{n:02}" for n in range(20)]
  shard = maker.tar(*(maker.sample(name) for name in names), name="p.tar")
  data = shard.read_bytes()
  shard.write_bytes(data[: len(data) // 2])
  damage = DropReport()
  store = ShardStore([shard, tmp_path / "gone.tar"], "name", damage)
  assert damage.counts == {Drop.TRUNCATED_FILE: 1, Drop.UNREADABLE_FILE: 1}
  infos = [picture_info(f"{name}.jpg") for name in names]
  path = write(tmp_path / "a.jsonl", mmc4(*infos))
  [document], report = read(path, store)
  assert 5 < len(document.images) < 15
  only(report, Drop.LOST_PICTURE, 20 - len(document.images))
