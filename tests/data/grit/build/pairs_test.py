"""Pairs of tars, parquet and JSONL; every reason to lose one."""

import json
import os

import pyarrow
import pytest
from pyarrow import parquet

from data.building.drops import Drop, DropReport
from data.grit.build import pair_fields, pair_tables, pairs
from data.grit.build.pairs import Unit

JPEG = b"\xff\xd8 not looked into"


def read(*units):
  """Pairs and report; whatever is read and not yielded has a reason."""
  report = DropReport()
  found = [pair for unit in units for pair in pairs.read_unit(unit, report)]
  assert report.records_kept == 0
  assert report.records_read == len(found) + report.total("record")
  return found, report


def read_all(source, **options):
  return read(*pairs.find_units(source, **options))


def only(report, reason, count=1):
  assert dict(report.counts) == {reason: count}


@pytest.fixture
def folder(tmp_path):
  """Where tables lie, with four pictures."""
  for name in ("0.jpg", "1.png", "2.webp", "sub/3.jpeg"):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(name.encode())
  return tmp_path


def rows(count=3, **changes):
  names = ["0.jpg", "1.png", "2.webp", "sub/3.jpeg"]
  found = [
    {"id": i, "caption": f"caption {i}", "image_path": names[i]}
    for i in range(count)
  ]
  return [row | changes for row in found]


def write_jsonl(folder, lines, name="pairs.jsonl"):
  path = folder / name
  lines = [x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines]
  path.write_bytes(b"".join(line + b"\n" for line in lines))
  return path


def write_parquet(folder, lines, name="pairs.parquet", **options):
  path = folder / name
  # The columns are those of the first row.
  every = dict.fromkeys(column for line in lines for column in line)
  lines = [every | line for line in lines]
  parquet.write_table(pyarrow.Table.from_pylist(lines), path, **options)
  return path


WRITERS = pytest.mark.parametrize("write", [write_jsonl, write_parquet])


# ---- tars


def test_a_tar_is_a_unit(maker):
  extra = {
    "url": "http://a/1",
    "clip_similarity_vitb32": 0.25,
    "clip_similarity_vitl14": float("nan"),
  }
  path = maker.tar(maker.sample("012", **extra), maker.sample("013", url=5))
  [unit] = pairs.find_units(path)
  assert unit == Unit(0, f"{path.parent.name}/00000.tar", str(path))
  [first, second], report = read(unit)
  assert first == pairs.Pair(
    id="12",
    image=maker.jpeg(),
    caption="a dog on grass",
    url="http://a/1",
    extra={"clip_similarity_vitb32": 0.25, "clip_similarity_vitl14": None},
    where="00000.tar:012",
  )
  assert (second.url, second.extra["clip_similarity_vitb32"]) == ("", None)
  assert not report.counts
  assert (report.files_read, report.records_read) == (1, 2)


def test_what_is_wrong_in_a_tar_is_counted(maker):
  lost = maker.sample("1", status="failed_to_download")
  bare, blank = maker.sample("2"), maker.sample("3", caption=" ")
  del bare["2.jpg"]
  broken = maker.sample("4") | {"4.json": b"{"}
  again = maker.sample("5", id=7), maker.sample("6", id="7")
  unsafe = {"../7.jpg": b"a"}
  path = maker.tar(lost, bare, blank, broken, *again, unsafe)
  found, report = read_all(path)
  assert [pair.id for pair in found] == ["7"]
  assert dict(report.counts) == {
    Drop.UNSAFE_MEMBER: 1,
    Drop.FAILED_DOWNLOAD: 1,
    Drop.MISSING_PICTURE: 1,
    Drop.EMPTY_CAPTION: 1,
    Drop.BAD_JSON: 1,
    Drop.DUPLICATE_ID: 1,
  }
  assert report.examples[Drop.DUPLICATE_ID] == ["00000.tar:6"]


def test_a_tar_that_breaks_off(maker):
  path = maker.tar(*(maker.sample(f"{i}") for i in range(20)))
  path.write_bytes(path.read_bytes()[:-20_000])
  found, report = read_all(path)
  assert 0 < len(found) < 20
  only(report, Drop.TRUNCATED_FILE)


def test_no_tar_at_all(tmp_path):
  (tmp_path / "0.tar").write_text("<html>")
  found, report = read_all(tmp_path)
  assert found == []
  assert report.total("file") == 1


def test_a_sample_with_a_txt_alone(maker):
  sample = maker.sample("x")
  del sample["x.json"]
  [pair], report = read_all(maker.tar(sample))
  assert (pair.id, pair.caption, pair.url) == ("x", "a dog on grass", "")
  only(report, Drop.CAPTION_FROM_TXT)


def test_given_fields_of_a_tar(maker):
  path = maker.tar(maker.sample(alt="a cat", number=4))
  [pair], report = read_all(path, columns={"caption": "alt", "id": "number"})
  assert (pair.id, pair.caption) == ("4", "a cat")
  only(report, Drop.TXT_DIFFERS)


# ---- tables


@WRITERS
def test_tables_are_cut_into_units(folder, write):
  path = write(folder, rows(4))
  units = pairs.find_units(path, unit_size=3)
  label = f"{folder.name}/{path.name}"
  assert [unit.name for unit in units] == [f"{label}:1-3", f"{label}:4-4"]
  assert [(unit.number, unit.start, unit.stop) for unit in units] == [
    (0, 0, 3),
    (1, 3, 4),
  ]
  found, report = read(*units)
  assert [(pair.id, pair.image) for pair in found] == [
    ("0", b"0.jpg"),
    ("1", b"1.png"),
    ("2", b"2.webp"),
    ("3", b"sub/3.jpeg"),
  ]
  assert [pair.where for pair in found] == [
    f"{path.name}:{i}" for i in (1, 2, 3, 4)
  ]
  assert not report.counts
  assert report.files_read == 1
  # Any unit by itself is the same.
  assert read(units[1])[0] == found[3:]


@WRITERS
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_units_of_any_size_have_every_row_once(folder, write, size):
  lines = [{"id": i, "text": "a", "path": "0.jpg"} for i in range(7)]
  options = {"row_group_size": 3} if write is write_parquet else {}
  units = pairs.find_units(write(folder, lines, **options), unit_size=size)
  assert len(units) == -(-7 // size)
  assert [pair.id for pair in read(*units)[0]] == list("0123456")


@WRITERS
def test_units_as_json(folder, write):
  path = write(folder, rows(4))
  units = pairs.find_units(path, unit_size=2, columns={"caption": "caption"})
  for unit in units:
    told = json.loads(json.dumps(unit.as_dict()))
    assert Unit.from_dict(told) == unit
    assert hash(unit)


@WRITERS
@pytest.mark.parametrize("caption", ["caption", "text", "TEXT"])
@pytest.mark.parametrize(
  "image", ["image_path", "path", "file_name", "key", "image"]
)
def test_names_of_columns(folder, write, caption, image):
  line = {caption: "a dog", image: "sub/3.jpeg", "URL": "http://a"}
  [pair], _ = read_all(write(folder, [line]))
  assert (pair.caption, pair.image) == ("a dog", b"sub/3.jpeg")
  assert pair.url == "http://a"


@WRITERS
def test_given_columns(folder, write):
  line = {"caption": "no", "alt": "a dog", "path": "9.jpg", "file": "0.jpg"}
  line |= {"id": 1, "number": 2.0, "url": "no", "from": "http://b"}
  columns = {"caption": "alt", "image": "file", "id": "number", "url": "from"}
  [pair], _ = read_all(write(folder, [line]), columns=columns)
  assert (pair.id, pair.caption, pair.image) == ("2", "a dog", b"0.jpg")
  assert pair.url == "http://b"


@WRITERS
def test_ids_of_rows_without(folder, write):
  lines = [row | {"id": None} for row in rows(3)]
  lines[1]["key"] = "000000001"
  found, _ = read_all(write(folder, lines))
  assert [pair.id for pair in found] == ["pairs-1", "000000001", "pairs-3"]


@WRITERS
def test_an_id_again(folder, write):
  lines = rows(3)
  lines[2]["id"] = 0
  path = write(folder, lines)
  found, report = read_all(path)
  assert [pair.id for pair in found] == ["0", "1"]
  only(report, Drop.DUPLICATE_ID)
  # Whoever joins units sees to the others.
  assert len(read_all(path, unit_size=2)[0]) == 3


def test_the_picture_of_a_row_that_is_lost_does_not_take_the_id(folder):
  lines = rows(2, id=7)
  lines[0]["image_path"] = "no.jpg"
  [pair], report = read_all(write_jsonl(folder, lines))
  assert pair.image == b"1.png"
  only(report, Drop.PICTURE_NOT_FOUND)


@WRITERS
@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    ({"caption": None}, Drop.EMPTY_CAPTION),
    ({"caption": " \n"}, Drop.EMPTY_CAPTION),
    ({"image_path": None}, Drop.MISSING_PICTURE),
    ({"image_path": ""}, Drop.MISSING_PICTURE),
    ({"image_path": "3.jpeg"}, Drop.PICTURE_NOT_FOUND),
    ({"image_path": "sub"}, Drop.PICTURE_NOT_FOUND),
    ({"image_path": "a\0b.jpg"}, Drop.PICTURE_NOT_FOUND),
    ({"image_path": "../0.jpg"}, Drop.UNSAFE_NAME),
    ({"image_path": "sub/../../x/0.jpg"}, Drop.UNSAFE_NAME),
    ({"image_path": "/etc/passwd"}, Drop.UNSAFE_NAME),
    ({"image_path": "..\\0.jpg"}, Drop.UNSAFE_NAME),
    ({"image_path": "C:0.jpg"}, Drop.UNSAFE_NAME),
    ({"status": "failed_to_resize"}, Drop.FAILED_DOWNLOAD),
  ],
)
def test_bad_rows(folder, write, changes, reason):
  lines = [rows(2)[0], rows(2)[1] | changes]
  [pair], report = read_all(write(folder, lines))
  assert pair.id == "0"
  only(report, reason)
  assert report.examples[reason][0].endswith(":2")


@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    ({"caption": 5}, Drop.BAD_CAPTION),
    ({"caption": "half \ud83d"}, Drop.BAD_CAPTION),
    ({"id": [1]}, Drop.BAD_ID),
    ({"id": True}, Drop.BAD_ID),
    ({"image_path": 3}, Drop.BAD_VALUE),
    ({"image_path": "half \ud83d.jpg"}, Drop.PICTURE_NOT_FOUND),
  ],
)
def test_values_of_other_types(folder, changes, reason):
  found, report = read_all(write_jsonl(folder, rows(1, **changes)))
  assert found == []
  only(report, reason)


@pytest.mark.parametrize(
  ("line", "reason"),
  [
    (b"{", Drop.BAD_JSON),
    (b"[1]", Drop.BAD_JSON),
    (b"\xff\xfe{", Drop.BAD_JSON),
    (b'{"caption": "' + b"a" * (4 << 20) + b'"}', Drop.TEXT_TOO_LARGE),
  ],
)
def test_lines_that_are_none(folder, line, reason):
  first, last = rows(2)
  path = write_jsonl(folder, [first, line, b"  ", last])
  found, report = read_all(path)
  assert [pair.where for pair in found] == ["pairs.jsonl:1", "pairs.jsonl:4"]
  only(report, reason)
  assert report.examples[reason] == ["pairs.jsonl:2"]


def test_jsonl_without_a_last_line_end_and_with_a_mark(folder):
  path = write_jsonl(folder, rows(3))
  path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().rstrip(b"\n"))
  units = pairs.find_units(path, unit_size=2)
  assert [(unit.start, unit.stop) for unit in units] == [(0, 2), (2, 3)]
  assert len(read(*units)[0]) == 3


def test_lines_are_counted_across_reads(folder, monkeypatch):
  path = write_jsonl(folder, rows(4))
  expected = pairs.find_units(path, unit_size=3)
  monkeypatch.setattr(pair_tables, "CHUNK", 7)
  assert pairs.find_units(path, unit_size=3) == expected


def test_jsonl_that_became_shorter(folder):
  path = write_jsonl(folder, rows(3))
  units = pairs.find_units(path)
  write_jsonl(folder, rows(2))
  found, report = read(*units)
  assert len(found) == 2
  only(report, Drop.TRUNCATED_FILE)


@WRITERS
def test_a_table_that_is_empty_is_read_all_the_same(folder, write):
  if write is write_parquet:
    table = pyarrow.table({"text": [], "path": []})
    parquet.write_table(table, folder / "pairs.parquet")
    path = folder / "pairs.parquet"
  else:
    path = write(folder, [])
  [unit] = pairs.find_units(path)
  found, report = read(unit)
  assert (found, report.files_read) == ([], 1)
  assert not report.counts


@WRITERS
def test_a_file_that_went_away(folder, write):
  path = write(folder, rows(1))
  units = pairs.find_units(path)
  path.unlink()
  only(read(*units)[1], Drop.UNREADABLE_FILE)


# ---- pictures of tables


@pytest.mark.parametrize("column", ["image", "jpg", "png", "webp", "jpeg"])
@pytest.mark.parametrize("binary", [pyarrow.binary(), pyarrow.large_binary()])
def test_pictures_in_the_table(folder, column, binary):
  table = pyarrow.table(
    {
      "text": ["a dog", "a cat"],
      "key": ["6", "7"],
      column: pyarrow.array([JPEG, None], binary),
    }
  )
  parquet.write_table(table, folder / "pairs.parquet")
  (folder / "pairs").mkdir()
  (folder / "pairs/7.jpg").write_bytes(b"beside")
  found, report = read_all(folder / "pairs.parquet")
  # The second has no picture in the table, but one of the name of its key.
  assert [pair.image for pair in found] == [JPEG, b"beside"]
  assert not report.counts


def test_pictures_as_hugging_face_holds_them(folder):
  images = [
    {"bytes": JPEG, "path": "no.jpg"},
    {"bytes": None, "path": "1.png"},
    {"bytes": None, "path": None},
    {"bytes": b"", "path": "../0.jpg"},
  ]
  lines = [{"text": "a", "file_name": None, "image": image} for image in images]
  found, report = read_all(write_parquet(folder, lines))
  assert [pair.image for pair in found] == [JPEG, b"1.png"]
  assert dict(report.counts) == {Drop.MISSING_PICTURE: 1, Drop.UNSAFE_NAME: 1}


def test_names_without_an_ending(folder):
  lines = [{"text": "a", "key": key} for key in ("0", "1", "2", "sub/3", "4")]
  found, report = read_all(write_jsonl(folder, lines))
  assert [pair.image[-4:] for pair in found] == [
    b".jpg",
    b".png",
    b"webp",
    b"jpeg",
  ]
  only(report, Drop.PICTURE_NOT_FOUND)


@WRITERS
def test_a_folder_of_pictures_elsewhere(tmp_path, folder, write):
  elsewhere = tmp_path / "elsewhere"
  elsewhere.mkdir()
  path = write(elsewhere, rows(2))
  only(read_all(path)[1], Drop.PICTURE_NOT_FOUND, 2)
  assert len(read_all(path, images=folder)[0]) == 2


@WRITERS
def test_a_picture_that_is_too_large(folder, write, monkeypatch):
  monkeypatch.setattr(pair_fields, "_MAX_PICTURE_BYTES", 5)
  only(read_all(write(folder, rows(3)))[1], Drop.PICTURE_TOO_LARGE, 1)


def test_a_picture_in_a_table_that_is_too_large(folder, monkeypatch):
  monkeypatch.setattr(pair_fields, "_MAX_PICTURE_BYTES", 5)
  path = write_parquet(folder, [{"text": "a", "jpg": JPEG}])
  only(read_all(path)[1], Drop.PICTURE_TOO_LARGE, 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_picture_that_may_not_be_read(folder):
  (folder / "0.jpg").chmod(0)
  only(read_all(write_jsonl(folder, rows(1)))[1], Drop.UNREADABLE_SAMPLE)


# ---- damaged parquet


@pytest.mark.parametrize("data", [b"", b"PAR1", b"<html>" * 99])
def test_no_parquet_at_all(folder, data):
  (folder / "0.parquet").write_bytes(data)
  write_parquet(folder, rows(1), "1.parquet")
  found, report = read_all(folder)
  assert len(found) == 1
  only(report, Drop.UNREADABLE_FILE)
  assert report.files_read == 2


def test_a_damaged_row_group_is_lost_and_the_next_is_read(folder):
  lines = [{"id": i, "text": f"{i}", "path": "0.jpg"} for i in range(90)]
  path = write_parquet(folder, lines, row_group_size=30)
  with parquet.ParquetFile(path) as file:
    column = file.metadata.row_group(1).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    size = column.total_compressed_size
  data = bytearray(path.read_bytes())
  data[start : start + size] = b"\xff" * size
  path.write_bytes(data)
  units = pairs.find_units(path, unit_size=40)
  found, report = read(*units)
  assert [pair.id for pair in found] == [
    f"{i}" for i in range(90) if not 30 <= i < 60
  ]
  only(report, Drop.UNREADABLE_SAMPLE, 30)
  assert report.examples[Drop.UNREADABLE_SAMPLE] == [
    "pairs.parquet:31",
    "pairs.parquet:41",
  ]


def test_text_that_is_no_utf8_spoils_its_row(folder):
  texts = pyarrow.array([b"a dog", b"\xff\xfe", b"a cat"]).view("string")
  table = pyarrow.table({"text": texts, "path": ["0.jpg"] * 3, "id": [1, 2, 3]})
  parquet.write_table(table, folder / "pairs.parquet")
  found, report = read_all(folder / "pairs.parquet")
  assert [pair.id for pair in found] == ["1", "3"]
  only(report, Drop.BAD_CAPTION)


def test_texts_that_repeat_are_read(folder):
  texts = pyarrow.array(["a dog", "a dog"]).dictionary_encode()
  table = pyarrow.table({"text": texts, "path": ["0.jpg"] * 2})
  parquet.write_table(table, folder / "pairs.parquet")
  found, _ = read_all(folder)
  assert [pair.caption for pair in found] == ["a dog", "a dog"]


# ---- sources


def test_files_in_order_and_once(maker, folder):
  maker.tar(maker.sample(), name="b.tar")
  maker.tar(maker.sample(), name="a.tar")
  write_parquet(folder, rows(1), "b.parquet")  # img2dataset's list.
  write_parquet(folder, rows(1), "c.parquet")
  write_jsonl(folder, rows(2), "d.jsonl")
  (folder / "a_stats.json").write_text("{}")
  units = pairs.find_units([folder, folder / "a.tar"])
  assert [unit.name.split("/")[1] for unit in units] == [
    "a.tar",
    "b.tar",
    "c.parquet:1-1",
    "d.jsonl:1-2",
  ]
  assert [unit.number for unit in units] == [0, 1, 2, 3]
  # Asked for by name alone, it is read.
  assert len(pairs.find_units(str(folder / "*.parquet"))) == 2


@pytest.mark.parametrize("name", ["no.tar", "*.parquet"])
def test_no_source(tmp_path, name):
  with pytest.raises(FileNotFoundError, match="expected a file, a folder of"):
    pairs.find_units(tmp_path / name)


def test_a_source_of_another_kind(tmp_path):
  (tmp_path / "a.tar.gz").write_bytes(b"")
  with pytest.raises(
    ValueError, match=r"\.tar, \.parquet, \.jsonl; found .*gz"
  ):
    pairs.find_units(tmp_path / "a.tar.gz")


@WRITERS
@pytest.mark.parametrize("size", [0, -1])
def test_a_bad_size(folder, write, size):
  with pytest.raises(ValueError, match="unit_size of 1 row or more, found"):
    pairs.find_units(write(folder, rows(1)), unit_size=size)


def test_no_folder_of_pictures(folder):
  with pytest.raises(FileNotFoundError, match="folder of pictures at .*/no'"):
    pairs.find_units(write_jsonl(folder, rows(1)), images=folder / "no")


def test_pictures_for_tars(maker, folder):
  path = maker.tar(maker.sample())
  with pytest.raises(ValueError, match="tar files alone"):
    pairs.find_units(path, images=folder)


def test_a_column_for_nothing(folder):
  path = write_jsonl(folder, rows(1))
  with pytest.raises(ValueError, match="found one for captions: correct"):
    pairs.find_units(path, columns={"captions": "alt"})


@pytest.mark.parametrize(
  ("lines", "columns", "message"),
  [
    ({"alt": "a", "path": "b"}, {}, "the caption in a column caption or text"),
    ({"text": "a", "file": "b"}, {}, "the image in a column image_path or"),
    ({"text": "a", "path": "b"}, {"url": "u"}, "url in a column u; found text"),
  ],
)
def test_parquet_without_a_column(folder, lines, columns, message):
  path = write_parquet(folder, [lines])
  with pytest.raises(ValueError, match=message):
    pairs.find_units(path, columns=columns)


@WRITERS
def test_only_some_rows_are_in_memory(folder, write, monkeypatch):
  """A unit is read as it is asked for."""
  monkeypatch.setattr(pair_tables, "BATCH_ROWS", 2)
  asked = []
  original = pair_fields.picture_of
  monkeypatch.setattr(
    pair_fields,
    "picture_of",
    lambda *a: asked.append(1) or original(*a),
  )
  [unit] = pairs.find_units(write(folder, rows(4)))
  found = pairs.read_unit(unit, DropReport())
  assert next(found).id == "0"
  assert len(asked) == 1
