"""Objects of JSON files, whole, cut and damaged."""

import io
import json
import pathlib

import pytest

from data.building import json_files
from data.building.drops import Drop, DropReport
from data.building.json_files import BrokenJson

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
  [place] = report.examples[Drop.TRUNCATED_FILE]
  assert place == "a.json:line 1:after item 2"


@pytest.mark.parametrize("key", [None, "rows"])
def test_a_break_has_a_place(tmp_path, chunk, key):
  values = ROWS[:10] if key is None else {"year": 1, key: ROWS[:10]}
  text = json.dumps(values, indent=1)
  cut = text[: text.index('"n": 7') + 4]
  found, report = read(write(tmp_path / "a.json", cut), key)
  assert [value for _, value in found] == ROWS[:7]
  # It is told where the value that is not whole begins.
  line = cut.count("\n", 0, cut.rindex("{")) + 1
  [place] = report.examples[Drop.TRUNCATED_FILE]
  assert place == f"a.json:line {line}:after item 7"


@pytest.mark.parametrize("key", [None, "rows"])
def test_memory_is_that_of_an_object(tmp_path, monkeypatch, key):
  monkeypatch.setattr(json_files, "CHUNK", 64)
  longest = 0
  refill = json_files._Text._read

  def watched(self, characters):
    nonlocal longest
    refill(self, characters)
    longest = max(longest, len(self._window))

  monkeypatch.setattr(json_files._Text, "_read", watched)
  rows = [{"n": n} for n in range(2000)]
  values = rows if key is None else {"others": rows, key: rows}
  path = write(tmp_path / "a.json", json.dumps(values))
  assert len(read(path, key)[0]) == 2000
  assert 0 < longest < 256


def test_a_file_that_is_no_json_is_not_read_whole(monkeypatch):
  monkeypatch.setattr(json_files, "CHUNK", 10)
  monkeypatch.setattr(json_files, "MAX_CHARACTERS", 100)
  file = io.StringIO("[{" + " " * 100_000)
  monkeypatch.setattr(json_files, "open", lambda *_, **__: file, raising=False)
  file.close, taken = lambda: None, file.tell
  _, report = read(pathlib.Path("a.json"))
  assert dict(report.counts) == {Drop.TRUNCATED_FILE: 1}
  assert taken() < 1000


def test_load(tmp_path):
  path = tmp_path / "a.json"
  assert json_files.load(write(path, '{"a": [1]}')) == {"a": [1]}
  assert json_files.load(write(path, b"\xef\xbb\xbf[1]")) == [1]


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b'{"a":\n [1', r"a.json, line 2, column 4: expected .*cut off"),
    (b'["\xff"]', r"a.json: expected a JSON file in UTF-8"),
    (b"[" * 100_000, r"a.json: expected .*recursion"),
    (b"[1] 2", r"a.json, line 1, column 5"),
  ],
)
def test_load_says_where(tmp_path, data, message):
  with pytest.raises(BrokenJson, match=message):
    json_files.load(write(tmp_path / "a.json", data))


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


@pytest.mark.parametrize(
  "text", ['{"n": 1}\n{"n": 2}\n', '[{"n": 1}, {"n": 2}]']
)
@pytest.mark.parametrize("good", [0, 10, 12])
def test_disk_that_fails(tmp_path, monkeypatch, text, good):
  """As many characters as are good are read; the rest is told as lost."""

  class Failing(io.StringIO):
    def read(self, size):
      left = good - self.tell()
      if not left:
        raise OSError("bad disk")
      return super().read(min(size, left))

  def fail(*_, **__):
    return Failing(text)

  monkeypatch.setattr(json_files, "open", fail, raising=False)
  found, report = read(tmp_path / "a.json")
  assert [value["n"] for _, value in found] == [1] * (good > 8)
  reason = Drop.TRUNCATED_FILE if good else Drop.UNREADABLE_FILE
  assert dict(report.counts) == {reason: 1}
