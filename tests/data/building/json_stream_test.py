"""Long JSON lists, element by element."""

import json

import pytest

from data.building import json_stream
from data.building.json_stream import BrokenJson

VALUES = [
  {"id": 1, "regions": [{"phrase": 'a ] and a , and a " in it'}]},
  12345,
  -1.5e-7,
  "ä 猫 \U0001f431",
  [],
  {},
  None,
  True,
]


def write(tmp_path, text):
  path = tmp_path / "list.json"
  path.write_text(text, encoding="utf-8")
  return path


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_every_element_wherever_the_window_ends(
  tmp_path, monkeypatch, chunk, indent
):
  monkeypatch.setattr(json_stream, "CHUNK", chunk)
  text = json.dumps(VALUES, ensure_ascii=False, indent=indent)
  assert list(json_stream.items(write(tmp_path, text))) == VALUES


def test_empty_list(tmp_path):
  assert list(json_stream.items(write(tmp_path, " [ ]\n"))) == []


def test_memory_is_that_of_an_element(tmp_path, monkeypatch):
  monkeypatch.setattr(json_stream, "CHUNK", 64)
  longest = 0
  read = json_stream._Reader._read

  def watched(self, size):
    nonlocal longest
    read(self, size)
    longest = max(longest, len(self._text))

  monkeypatch.setattr(json_stream._Reader, "_read", watched)
  path = write(tmp_path, json.dumps([{"id": i} for i in range(2000)]))
  assert sum(1 for _ in json_stream.items(path)) == 2000
  assert longest < 256


def test_a_file_cut_in_half_gives_what_is_before_and_says_where(tmp_path):
  text = json.dumps([{"id": i} for i in range(10)], indent=1)
  path = write(tmp_path, text[: len(text) // 2])
  found = []
  with pytest.raises(BrokenJson, match=r"list.json, line \d+, after 5 element"):
    for value in json_stream.items(path):
      found.append(value)
  assert found == [{"id": i} for i in range(5)]


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", r"expected '\['.*the end of the file"),
    ('{"images": []}', r"expected '\[', the beginning of a list"),
    ("[1 2]", "expected ',' or '\\]' after an element, found '2]'"),
    ("[1, ]", "expected an element"),
    ("[1", "expected ',' or"),
    ("[1] 2", "nothing after the list, found '2'"),
    ("[\n\n nonsense]", "line 3, after 0 element"),
    ("[" * 100_000, "recursion"),
  ],
)
def test_what_is_no_list(tmp_path, text, message):
  with pytest.raises(BrokenJson, match=message):
    list(json_stream.items(write(tmp_path, text)))


def test_a_file_that_is_no_json_is_not_read_whole(tmp_path, monkeypatch):
  monkeypatch.setattr(json_stream, "CHUNK", 10)
  monkeypatch.setattr(json_stream, "MAX_OBJECT", 100)
  path = write(tmp_path, "[{" + " " * 100_000)
  with open(path, encoding="utf-8") as file:
    with pytest.raises(BrokenJson):
      list(json_stream._Reader(file, path).items())
    assert len(file.read()) > 90_000


def test_not_utf_8(tmp_path):
  path = tmp_path / "list.json"
  path.write_bytes(b'["\xff"]')
  with pytest.raises(BrokenJson, match=r"list.json.*expected UTF-8"):
    list(json_stream.items(path))
  with pytest.raises(BrokenJson, match=r"list.json.*UTF-8"):
    json_stream.load(path)


def test_load_says_where(tmp_path):
  assert json_stream.load(write(tmp_path, '{"a": [1]}')) == {"a": [1]}
  with pytest.raises(BrokenJson, match=r"list.json, line 2, column 4.*cut off"):
    json_stream.load(write(tmp_path, '{"a":\n [1'))
