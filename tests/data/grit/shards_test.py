"""Every reason to drop something, each from a shard that has it."""

import io
import itertools
import json
import pathlib
import random
import tarfile

import pytest

from data.building import samples
from data.building.drops import LEVELS, Drop, DropReport
from data.grit import shards


def read(*paths, **options):
  """Records and report of shards; everything read is accounted for."""
  report = DropReport(title="GrIT")
  found = list(shards.read_shards(paths, report, **options))
  assert report.records_kept == len(found)
  assert report.records_read == len(found) + report.total("record")
  assert report.items_read == report.items_kept + report.total("item")
  return found, report


def only(report, reason, count=1):
  """Asserts that `reason` and no other was counted."""
  assert dict(report.counts) == {reason: count}


def test_good_sample(maker):
  [record], report = read(maker.tar(maker.sample("012")))
  assert (record.id, record.caption) == ("12", "a dog on grass")
  assert (record.width, record.height) == (48, 40)
  assert record.image == maker.jpeg()
  assert [(i.start, i.end, i.score) for i in record.noun_chunks] == [
    (0, 5, 0.9),
    (9, 14, 0.8),
  ]
  assert record.noun_chunks[1].box_xyxy == (0.0, 0.5, 1.0, 1.0)
  assert [(i.start, i.end) for i in record.ref_exps] == [(0, 14)]
  assert not report.counts
  assert report.table() == (
    "GrIT: 1 file(s), 1 of 1 records and 3 of 3 items kept; nothing dropped"
  )


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "JPG"])
def test_picture_suffixes(maker, suffix):
  found, _ = read(maker.tar(maker.sample(suffix=suffix)))
  assert len(found) == 1


def test_members_need_not_be_neighbours(maker):
  samples = [maker.sample("001"), maker.sample("002")]
  members = [dict([m]) for sample in samples for m in sample.items()]
  found, report = read(maker.tar(*(members[i] for i in (5, 0, 3, 1, 4, 2))))
  assert sorted(record.id for record in found) == ["1", "2"]
  assert not report.counts


def test_folders_in_a_shard_keep_samples_apart(maker):
  one = {f"a/{name}": data for name, data in maker.sample("1").items()}
  two = {f"./b/{name}": data for name, data in maker.sample("1", id=2).items()}
  folder = tarfile.TarInfo("a")
  folder.type = tarfile.DIRTYPE
  found, report = read(maker.tar(one, two, members=[folder]))
  assert [record.id for record in found] == ["1", "2"]
  assert not report.counts


# ---- records


@pytest.mark.parametrize(
  ("suffix", "reason"),
  [("jpg", Drop.MISSING_PICTURE), ("json", Drop.MISSING_JSON)],
)
def test_missing_member(maker, suffix, reason):
  sample = maker.sample("001")
  del sample[f"001.{suffix}"]
  found, report = read(maker.tar(sample, maker.sample("002")))
  assert [record.id for record in found] == ["2"]
  only(report, reason)
  assert report.examples[reason] == ["00000.tar:001"]


@pytest.mark.parametrize(
  "data",
  [
    b"",
    b"{",
    b"[1]",
    b"\xff\xfe\x00{",
    b"[" * 100_000,
    b'{"id":' + b"1" * 9999,
  ],
)
def test_bad_json(maker, data):
  sample = maker.sample() | {"000.json": data}
  only(read(maker.tar(sample))[1], Drop.BAD_JSON)


@pytest.mark.parametrize(
  "status", ["failed_to_download", "failed_to_resize", 5]
)
def test_failed_download(maker, status):
  sample = maker.sample(status=status)
  del sample["000.jpg"]
  only(read(maker.tar(sample))[1], Drop.FAILED_DOWNLOAD)


def test_status_null_is_no_success(maker):
  sample = maker.sample()
  fields = maker.fields() | {"status": None}
  sample["000.json"] = json.dumps(fields).encode()
  only(read(maker.tar(sample))[1], Drop.FAILED_DOWNLOAD)


def test_what_img2dataset_never_fetched_is_counted(maker, tmp_path):
  path = maker.tar(maker.sample())
  stats = {"count": 6, "failed_to_download": 3, "failed_to_resize": 2}
  (tmp_path / "00000_stats.json").write_text(json.dumps(stats))
  found, report = read(path)
  assert (len(found), report.records_read) == (1, 6)
  only(report, Drop.NEVER_FETCHED, 5)


@pytest.mark.parametrize("text", ["{", "[]", '{"failed_to_download": null}'])
def test_bad_stats(maker, tmp_path, text):
  path = maker.tar(maker.sample())
  (tmp_path / "00000_stats.json").write_text(text)
  found, report = read(path)
  assert len(found) == 1
  only(report, Drop.BAD_STATS)


@pytest.mark.parametrize("caption", ["", "  \n"])
def test_empty_caption(maker, caption):
  sample = maker.sample(caption=caption) | {"000.txt": b" \n"}
  only(read(maker.tar(sample))[1], Drop.EMPTY_CAPTION)


@pytest.mark.parametrize("caption", [5, ["a dog"], "half a pair \ud83d here"])
def test_bad_caption(maker, caption):
  only(read(maker.tar(maker.sample(caption=caption)))[1], Drop.BAD_CAPTION)


def test_caption_from_txt(maker):
  sample = maker.sample(caption=None) | {"000.txt": b"a dog on a sofa\n"}
  [record], report = read(maker.tar(sample))
  assert record.caption == "a dog on a sofa"
  only(report, Drop.CAPTION_FROM_TXT)


def test_caption_from_no_txt(maker):
  sample = maker.sample(caption=None)
  del sample["000.txt"]
  only(read(maker.tar(sample))[1], Drop.EMPTY_CAPTION)


def test_caption_from_txt_that_is_no_text(maker):
  sample = maker.sample(caption=None) | {"000.txt": b"\xff\xfe"}
  only(read(maker.tar(sample))[1], Drop.BAD_CAPTION)


@pytest.mark.parametrize("txt", [b"something else", b"\xff"])
def test_txt_differs(maker, txt):
  [record], report = read(maker.tar(maker.sample() | {"000.txt": txt}))
  assert record.caption == "a dog on grass"
  only(report, Drop.TXT_DIFFERS)


def test_spans_count_code_points(maker):
  caption = "\U0001f415 ün chien"
  items = [[0, 10, 0, 0, 1, 1, 1.0], [0, 11, 0, 0, 1, 1, 1.0]]
  sample = maker.sample(caption=caption, noun_chunks=items, ref_exps=[])
  sample["000.txt"] = caption.encode()
  [record], report = read(maker.tar(sample))
  assert [record.caption[i.start : i.end] for i in record.noun_chunks] == [
    caption
  ]
  only(report, Drop.SPAN_OUTSIDE)


@pytest.mark.parametrize("value", [True, [1], {}, 1.5, "half \ud83d pair"])
def test_bad_id(maker, value):
  only(read(maker.tar(maker.sample(id=value)))[1], Drop.BAD_ID)


@pytest.mark.parametrize("value", [1, "1", 1.0])
def test_the_same_id_in_other_words(maker, value):
  [record], _ = read(maker.tar(maker.sample(id=value)))
  assert record.id == "1"


def test_key_stands_in_for_a_missing_id(maker):
  fields = json.dumps({**maker.fields(), "id": None}).encode()
  one = maker.sample("001") | {"001.json": fields}
  [record], _ = read(maker.tar(one))
  assert record.id == "001"


@pytest.mark.parametrize("cut", [0, 10, 300, -2])
def test_corrupt_picture(maker, cut):
  sample = maker.sample(picture=maker.jpeg()[:cut])
  only(read(maker.tar(sample))[1], Drop.CORRUPT_PICTURE)


@pytest.mark.parametrize("size", [(31, 100), (100, 31)])
def test_picture_too_small(maker, size):
  sample = maker.sample(picture=maker.jpeg(*size))
  only(read(maker.tar(sample))[1], Drop.PICTURE_TOO_SMALL)
  assert len(read(maker.tar(sample), min_side=31)[0]) == 1


def test_reencoded_picture_is_noted(maker):
  grey = io.BytesIO()
  maker.picture().convert("L").save(grey, "JPEG")
  found, report = read(maker.tar(maker.sample(picture=grey.getvalue())))
  assert len(found) == 1
  only(report, Drop.PICTURE_REENCODED)


@pytest.mark.parametrize(
  ("original", "changed"),
  [
    ((480, 400), False),
    ((1000, 843), False),  # 47.45 for 48: rounding
    ((1000, 793), False),  # 50.4 for 48: still
    ((48, 30), True),  # bars above and below, or squashed
    ((60, 40), True),  # sides cut off
    ((None, None), False),
    ((0, 10), False),
    (("48", 40), False),
    ((float("nan"), 5), False),
  ],
)
def test_aspect_changed(maker, original, changed):
  sides = dict(
    zip(("original_width", "original_height"), original, strict=True)
  )
  found, report = read(maker.tar(maker.sample(**sides)))
  assert len(found) == (not changed)
  assert report.counts[Drop.ASPECT_CHANGED] == changed


@pytest.mark.parametrize("value", [None, 3, "none", {}])
def test_missing_items(maker, value):
  sample = maker.sample(noun_chunks=value, ref_exps=value)
  only(read(maker.tar(sample))[1], Drop.MISSING_ITEMS)


def test_one_list_of_items_is_enough(maker):
  [record], report = read(maker.tar(maker.sample(noun_chunks=None)))
  assert (len(record.noun_chunks), len(record.ref_exps)) == (0, 1)
  assert not report.counts


def test_items_written_as_text(maker):
  sample = maker.sample(noun_chunks="[[0.0, 5.0, 0, 0, 1, 1, 0.5]]")
  [record], _ = read(maker.tar(sample))
  assert (record.noun_chunks[0].start, record.noun_chunks[0].end) == (0, 5)


# ---- items


GOOD = [0, 5, 0.1, 0.2, 0.6, 0.8, 0.9]


@pytest.mark.parametrize(
  ("item", "reason"),
  [
    (GOOD[:6], Drop.BAD_ITEM),
    ([*GOOD, 1], Drop.BAD_ITEM),
    ("abcdefg", Drop.BAD_ITEM),
    (None, Drop.BAD_ITEM),
    ([0, 5, 0.1, 0.2, 0.6, "0.8", 0.9], Drop.BAD_ITEM),
    ([False, 5, 0.1, 0.2, 0.6, 0.8, 0.9], Drop.BAD_ITEM),
    ([0, 5, 0.1, 0.2, float("nan"), 0.8, 0.9], Drop.NOT_FINITE),
    ([0, 5, 0.1, 0.2, 0.6, float("inf"), 0.9], Drop.NOT_FINITE),
    ([0, 5, 0.1, 0.2, 0.6, 0.8, float("nan")], Drop.NOT_FINITE),
    ([float("nan"), 5, 0.1, 0.2, 0.6, 0.8, 0.9], Drop.NOT_FINITE),
    ([0, 5, 0.1, 0.2, 0.6, 10**400, 0.9], Drop.NOT_FINITE),
    ([-1, 5, 0.1, 0.2, 0.6, 0.8, 0.9], Drop.SPAN_OUTSIDE),
    ([0, 15, 0.1, 0.2, 0.6, 0.8, 0.9], Drop.SPAN_OUTSIDE),
    ([5, 5, 0.1, 0.2, 0.6, 0.8, 0.9], Drop.SPAN_OUTSIDE),
    ([5, 2, 0.1, 0.2, 0.6, 0.8, 0.9], Drop.SPAN_OUTSIDE),
    ([5, 6, 0.1, 0.2, 0.6, 0.8, 0.9], Drop.SPAN_OUTSIDE),  # the space
    ([0.5, 5, 0.1, 0.2, 0.6, 0.8, 0.9], Drop.SPAN_OUTSIDE),
    ([0, 5, -0.02, 0.2, 0.6, 0.8, 0.9], Drop.BOX_OUTSIDE),
    ([0, 5, 0.1, 0.2, 0.6, 1.02, 0.9], Drop.BOX_OUTSIDE),
    ([0, 5, 12, 20, 340, 200, 0.9], Drop.BOX_OUTSIDE),  # pixels
    ([0, 5, 1e300, 0.2, 1e301, 0.8, 0.9], Drop.BOX_OUTSIDE),
    ([0, 5, 0.6, 0.2, 0.1, 0.8, 0.9], Drop.BOX_EMPTY),
    ([0, 5, 0.1, 0.8, 0.6, 0.2, 0.9], Drop.BOX_EMPTY),
    ([0, 5, 0.1, 0.2, 0.1, 0.8, 0.9], Drop.BOX_EMPTY),
    ([0, 5, 1.001, 0.2, 1.005, 0.8, 0.9], Drop.BOX_EMPTY),  # off the border
    ([0, 5, 0.5, 0.2, 0.5 + 1e-12, 0.8, 0.9], Drop.BOX_EMPTY),  # in float32
    ([0, 5, 0.1, 0.2, 0.6, 0.8, 1.1], Drop.BAD_SCORE),
    ([0, 5, 0.1, 0.2, 0.6, 0.8, -0.1], Drop.BAD_SCORE),
  ],
)
def test_bad_items(maker, item, reason):
  sample = maker.sample(noun_chunks=[item, GOOD], ref_exps=[])
  [record], report = read(maker.tar(sample))
  assert len(record.noun_chunks) == 1
  only(report, reason)


def test_no_box_left(maker):
  bad = [0, 5, 0.6, 0.2, 0.1, 0.8, 0.9]
  _, report = read(maker.tar(maker.sample(noun_chunks=[bad], ref_exps=[])))
  assert dict(report.counts) == {Drop.NO_BOX_LEFT: 1, Drop.BOX_EMPTY: 1}


def test_box_clipped(maker):
  item = [0, 5, -0.009, 0.2, 1.009, 0.8, 0.9]
  [record], report = read(maker.tar(maker.sample(noun_chunks=[item])))
  assert record.noun_chunks[0].box_xyxy[::2] == (0.0, 1.0)
  only(report, Drop.BOX_CLIPPED)


# ---- members


@pytest.mark.parametrize(
  "name",
  ["/etc/passwd.jpg", "../x.jpg", "a/../../x.jpg", "a\\..\\x.jpg", "C:/x.jpg"],
)
def test_unsafe_names(maker, name):
  found, report = read(maker.tar(maker.sample(), {name: maker.jpeg()}))
  assert len(found) == 1
  only(report, Drop.UNSAFE_MEMBER)


@pytest.mark.parametrize(
  "kind",
  [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE],
)
def test_links_and_devices(maker, kind):
  link = tarfile.TarInfo("001.jpg")
  link.type, link.linkname = kind, "/etc/passwd"
  sample = maker.sample("001")
  del sample["001.jpg"]
  found, report = read(maker.tar(maker.sample(), sample, members=[link]))
  assert len(found) == 1
  assert dict(report.counts) == {
    Drop.UNSAFE_MEMBER: 1,
    Drop.MISSING_PICTURE: 1,
  }


@pytest.mark.parametrize("name", ["000.gif", "notes", "._000.jpg", ".jpg"])
def test_unknown_member(maker, name):
  found, report = read(maker.tar(maker.sample() | {name: b"x"}))
  assert len(found) == 1
  only(report, Drop.UNKNOWN_MEMBER)


def test_repeated_member(maker):
  sample = maker.sample(picture=maker.jpeg(50, 50)) | {"000.png": b"x"}
  [record], report = read(maker.tar(sample))
  assert record.width == 50
  only(report, Drop.REPEATED_MEMBER)


def test_member_too_large(maker):
  txt = tarfile.TarInfo("000.txt")
  txt.size = (1 << 20) + 1
  sample = maker.sample()
  del sample["000.txt"]
  found, report = read(maker.tar(sample, members=[txt]))
  assert len(found) == 1
  only(report, Drop.MEMBER_TOO_LARGE)


def test_names_that_are_no_utf8(maker):
  sample = {
    name.replace("000", "\udcff"): data for name, data in maker.sample().items()
  }
  path = maker.tar({"\udcff.gif": b"x"}, sample)
  found, report = read(path)
  assert len(found) == 1
  report.table().encode()
  json.dumps(report.as_dict()).encode()


# ---- shards


def test_truncated_anywhere(maker, tmp_path):
  """Whatever byte a shard ends at, what came before is read, once."""
  path = maker.tar(*(maker.sample(f"{i:03d}") for i in range(3)))
  data = path.read_bytes()
  # Of each sample: jpg, json, txt, each a header and its blocks.
  with tarfile.open(path) as tar:
    ends = [m.offset_data + m.size for m in tar if m.name.endswith("json")]
    end = tar.offset
  lengths = sorted(
    {e + d for e, d in itertools.product(ends, (-1, 0, 1, 400, 700))}
    | set(range(512, end, 1009))
    | {end}
  )
  cut = tmp_path / "cut.tar"
  for length in lengths:
    cut.write_bytes(data[:length])
    found, report = read(cut)
    assert len(found) == sum(e <= length for e in ends), length
    only(report, Drop.TRUNCATED_FILE)
  cut.write_bytes(data[: end + 512])
  assert not read(cut)[1].counts


def test_damaged_in_the_middle(maker):
  path = maker.tar(*(maker.sample(f"{i:03d}") for i in range(3)))
  data = bytearray(path.read_bytes())
  with tarfile.open(path) as tar:
    header = tar.getmember("001.jpg").offset
  data[header : header + 512] = b"\xaa" * 512
  path.write_bytes(data)
  found, report = read(path)
  assert [record.id for record in found] == ["0"]
  only(report, Drop.TRUNCATED_FILE)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.FIFOTYPE, b"Z"])
def test_negative_size(maker, kind):
  """Some versions of Python would read the same header for ever."""
  path = maker.tar(*(maker.sample(f"{i:03d}") for i in range(3)))
  data = bytearray(path.read_bytes())
  with tarfile.open(path) as tar:
    start = tar.getmember("001.jpg").offset
  header = data[start : start + 512]
  header[156:157] = kind
  header[124:136] = (-1024).to_bytes(12, "big", signed=True)
  header[148:156] = b" " * 8
  header[148:156] = b"%06o\0 " % sum(header)
  data[start : start + 512] = header
  path.write_bytes(data)
  found, report = read(path)
  assert [record.id for record in found] == ["0"]
  only(report, Drop.TRUNCATED_FILE)


def test_an_incomplete_sample_before_the_break_is_told(maker):
  incomplete = maker.sample("001")
  del incomplete["001.jpg"]
  path = maker.tar(maker.sample("000"), incomplete, maker.sample("002"))
  with tarfile.open(path) as tar:
    length = tar.getmember("002.jpg").offset_data + 100
  path.write_bytes(path.read_bytes()[:length])
  found, report = read(path)
  assert len(found) == 1
  assert dict(report.counts) == {
    Drop.TRUNCATED_FILE: 1,
    Drop.MISSING_PICTURE: 1,
  }


def test_data_after_the_end(maker, tmp_path):
  one = maker.tar(maker.sample("001"), name="1.tar")
  two = maker.tar(maker.sample("002"), name="2.tar")
  joined = tmp_path / "joined.tar"
  joined.write_bytes(one.read_bytes() + two.read_bytes())
  found, report = read(joined)
  assert len(found) == 1
  only(report, Drop.DATA_AFTER_END)


@pytest.mark.parametrize(
  "data", [b"", b"<html>not found</html>" * 99, b"\x1f\x8b"]
)
def test_unreadable_file(maker, tmp_path, data):
  (tmp_path / "bad.tar").write_bytes(data)
  found, report = read(tmp_path / "bad.tar", maker.tar(maker.sample()))
  assert (len(found), report.files_read) == (1, 2)
  only(report, Drop.UNREADABLE_FILE)


def test_shard_that_cannot_be_opened(maker, tmp_path):
  found, report = read(tmp_path / "gone.tar", maker.tar(maker.sample()))
  assert len(found) == 1
  only(report, Drop.UNREADABLE_FILE)


def test_sample_that_cannot_be_read(maker, monkeypatch):
  class BadDisk(io.BytesIO):
    def read(self, size=-1):
      raise OSError("bad disk")

  def on_bad_disk(key, where, extents, file):
    return sample(key, where, extents, BadDisk())

  sample = samples.Sample
  monkeypatch.setattr(samples, "Sample", on_bad_disk)
  only(read(maker.tar(maker.sample()))[1], Drop.UNREADABLE_SAMPLE)


def test_empty_shard(maker):
  found, report = read(maker.tar())
  assert (found, report.files_read) == ([], 1)
  assert not report.counts


def test_random_damage_is_never_fatal(maker, tmp_path):
  rng = random.Random(0)
  data = maker.tar(*(maker.sample(f"{i:03d}") for i in range(2))).read_bytes()
  path = tmp_path / "damaged.tar"
  for _ in range(300):
    damaged = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
      at = rng.randrange(len(damaged) // 4) if rng.random() < 0.5 else 0
      damaged[at + rng.randrange(600)] = rng.randrange(256)
    path.write_bytes(damaged)
    _, report = read(path)
    report.table().encode()


# ---- finding shards, report


def test_find_shards(maker, tmp_path):
  paths = [maker.tar(name=name) for name in ("b.tar", "a.tar", "[c].tar")]
  expected = sorted(paths)
  assert shards.find_shards(tmp_path) == expected
  assert shards.find_shards(f"{tmp_path}/*.tar") == expected
  assert shards.find_shards([paths[1], f"{tmp_path}/*a.tar"]) == [paths[1]]
  assert shards.find_shards(str(paths[2])) == [paths[2]]
  (tmp_path / "link.tar").symlink_to(paths[0])
  assert len(shards.find_shards(tmp_path)) == 3


def test_find_shards_in_a_folder_with_brackets(tmp_path):
  folder = tmp_path / "[1]"
  folder.mkdir()
  path = folder / "a.tar"
  path.touch()
  assert shards.find_shards(folder) == [path]


@pytest.mark.parametrize("name", ["gone.tar", "gone/*.tar", ""])
def test_find_shards_that_are_not_there(tmp_path, name):
  with pytest.raises(FileNotFoundError, match=r"no GrIT shard at .*README"):
    shards.find_shards(tmp_path / name)


def test_find_no_shards():
  with pytest.raises(ValueError, match="no GrIT shards given"):
    shards.find_shards([])


def test_report_names_every_reason():
  report = DropReport(title="GrIT")
  for reason in Drop:
    for count in range(1, 6):
      report.add(reason, f"{count}.tar", count)
  table, told = report.table(), report.as_dict()
  for reason in Drop:
    name = reason.name.lower()
    assert reason.level in LEVELS
    assert f" {name} " in table
    assert reason.meaning in table
    kind = told["notes" if reason.level == "note" else "dropped"]
    entry = kind[name] if reason.level == "note" else kind[reason.level][name]
    assert entry["count"] == 15
    assert entry["examples"] == ["1.tar", "2.tar", "3.tar"]
  assert report.total("record") == 15 * sum(r.level == "record" for r in Drop)


def test_docs_list_every_reason():
  docs = pathlib.Path(__file__).parents[3] / "docs" / "data.md"
  rows = [x for x in docs.read_text().splitlines() if x.startswith("| ")]
  for reason in Drop:
    name = reason.name.lower()
    assert f"| {reason.level} | `{name}` | {reason.meaning} |" in rows
