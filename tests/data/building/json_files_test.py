"""Objects of JSON files, whole, cut and damaged."""

import json

import pytest

from data.building import json_files
from data.building.drops import Drop, DropReport

ROWS = [{"n": n, "text": "ä\u2028 \U0001f415" * n} for n in range(40)]


@pytest.fixture(params=[1, 7, 1 << 20])
def chunk(request, monkeypatch):
  monkeypatch.setattr(json_files, "CHUNK", request.param)


def read(path, key=None):
  """Objects and report of a file."""
  report = DropReport()
  if key is None:
    found = list(json_files.read_objects(path, report))
  else:
    found = list(json_files.read_list(path, key, report))
  assert report.files_read == 1
  return found, report


def write(path, data):
  path.write_bytes(data if isinstance(data, bytes) else data.encode())
  return path


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_list(tmp_path, chunk, indent, ascii_only):
  text = json.dumps(ROWS, indent=indent, ensure_ascii=ascii_only)
  found, report = read(write(tmp_path / "a.json", f"\n {text} \n"))
  assert [value for _, value in found] == ROWS
  assert found[2][0] == "a.json:item 3"
  assert not report.counts


def test_lines(tmp_path, chunk):
  text = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
  path = write(tmp_path / "a.jsonl", text.replace("\n", "\r\n\n", 1))
  found, report = read(path)
  assert [value for _, value in found] == ROWS
  assert [where for where, _ in found[:2]] == ["a.jsonl:1", "a.jsonl:3"]
  assert not report.counts


def test_a_line_that_is_no_json_costs_itself(tmp_path, chunk):
  deep = "[" * 100_000
  path = write(tmp_path / "a.jsonl", f'{{"a": 1}}\n{{"a": \n{deep}\n{{"b": 2}}')
  found, report = read(path)
  assert found == [
    ("a.jsonl:1", {"a": 1}),
    ("a.jsonl:2", None),
    ("a.jsonl:3", None),
    ("a.jsonl:4", {"b": 2}),
  ]
  assert not report.counts


def test_list_under_a_key(tmp_path, chunk):
  whole = {
    "info": {"rows": [1]},
    "others": [{"x": 1}, [2]],
    "none": [],
    "rows": ROWS,
    "year": 2014,
  }
  found, report = read(write(tmp_path / "a.json", json.dumps(whole)), "rows")
  assert [value for _, value in found] == ROWS
  assert not report.counts
  assert read(tmp_path / "a.json", "none")[0] == []


def test_numbers_at_the_end_of_a_window(tmp_path, chunk):
  found, _ = read(write(tmp_path / "a.json", "[1234567, 1.25e3, -12]"))
  assert [value for _, value in found] == [1234567, 1250.0, -12]


def test_cut_anywhere(tmp_path):
  """What came before the break is read, and the break is told, once."""
  rows = ROWS[:3]
  data = json.dumps({"year": 1, "rows": rows}).encode()
  begin = data.index(b"[")
  for end in range(len(data)):
    found, report = read(write(tmp_path / "a.json", data[:end]), "rows")
    values = [value for _, value in found]
    assert values == rows[: len(values)]
    reason = Drop.TRUNCATED_FILE if end > begin else Drop.UNREADABLE_FILE
    assert dict(report.counts) == {reason: 1}, data[:end]
  assert len(values) == 3


def test_damage_in_the_middle(tmp_path):
  path = write(tmp_path / "a.json", '[{"n": 1}, {"n": 2} {"n": 3}]')
  found, report = read(path)
  assert [value["n"] for _, value in found] == [1, 2]
  assert dict(report.counts) == {Drop.TRUNCATED_FILE: 1}
  assert report.examples[Drop.TRUNCATED_FILE] == ["a.json"]


@pytest.mark.parametrize("form", ["[{}, {}, {}]", "{}\n{}\n{}"])
def test_object_that_is_too_long(tmp_path, monkeypatch, form):
  monkeypatch.setattr(json_files, "MAX_CHARACTERS", 1000)
  monkeypatch.setattr(json_files, "CHUNK", 100)
  text = form.format('{"a": 1}', '{"a": "' + "x" * 9000 + '"}', '{"a": 3}')
  found, report = read(write(tmp_path / "a.json", text))
  assert [value for _, value in found] == [{"a": 1}]
  assert dict(report.counts) == {Drop.TRUNCATED_FILE: 1}


def test_bytes_that_are_no_utf8_spoil_their_own_text(tmp_path):
  path = write(tmp_path / "a.json", b'[{"a": "\xff"}, {"a": "b"}]')
  found, report = read(path)
  assert found[1][1] == {"a": "b"}
  with pytest.raises(UnicodeEncodeError):
    found[0][1]["a"].encode()
  assert not report.counts


def test_byte_order_mark(tmp_path):
  assert len(read(write(tmp_path / "a.json", b"\xef\xbb\xbf[1, 2]"))[0]) == 2


def test_data_after_the_end(tmp_path):
  found, report = read(write(tmp_path / "a.json", "[1, 2] [3]"))
  assert len(found) == 2
  assert dict(report.counts) == {Drop.DATA_AFTER_END: 1}


@pytest.mark.parametrize("data", ["", " \n", "<html></html>", "17"])
def test_not_what_it_should_be(tmp_path, data):
  path = write(tmp_path / "a.json", data)
  for key in (None, "rows"):
    found, report = read(path, key)
    assert not found
    assert dict(report.counts) == {Drop.UNREADABLE_FILE: 1}


@pytest.mark.parametrize("data", ["{}", '{"row": [1]}', '{"rows": {"a": 1}}'])
def test_no_such_list(tmp_path, data):
  found, report = read(write(tmp_path / "a.json", data), "rows")
  assert not found
  assert dict(report.counts) == {Drop.UNREADABLE_FILE: 1}


def test_file_that_is_gone(tmp_path):
  found, report = read(tmp_path / "gone.json")
  assert not found
  assert dict(report.counts) == {Drop.UNREADABLE_FILE: 1}
