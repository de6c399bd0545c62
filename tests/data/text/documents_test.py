"""Texts from files as they come, the broken ones counted."""

import gzip
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.building import lines
from data.building.drops import Drop, DropReport
from data.text import documents


def read(path, **options):
  """Texts and report; everything read is accounted for."""
  report = DropReport(title="text")
  found = list(documents.read_texts(path, report, **options))
  assert report.records_read == len(found) + report.total("record")
  assert report.files_read == 1
  return found, report


def texts(path, **options):
  """The texts alone."""
  return [text for _, text in read(path, **options)[0]]


def write(path, *values):
  """A line for each: objects as JSON, bytes as they are."""
  rows = [v if isinstance(v, bytes) else json.dumps(v).encode() for v in values]
  path.write_bytes(b"".join(row + b"\n" for row in rows))
  return path


def only(report, reason, count=1):
  """Asserts that `reason` and no other was counted."""
  assert dict(report.counts) == {reason: count}


def test_json_lines(tmp_path):
  path = write(
    tmp_path / "a.jsonl", {"text": "One.\nTwo."}, b"", {"text": "Drei: ½ 犬"}
  )
  found, report = read(path)
  folder = tmp_path.name
  assert found == [
    (f"{folder}/a.jsonl:1", "One.\nTwo."),
    (f"{folder}/a.jsonl:3", "Drei: ½ 犬"),
  ]
  assert not report.counts


def test_another_field(tmp_path):
  path = write(tmp_path / "a.jsonl", {"text": "no", "content": "yes"})
  assert texts(path, field="content") == ["yes"]


@pytest.mark.parametrize(
  ("line", "reason"),
  [
    (b'{"text": "cut', Drop.BAD_JSON),
    (b'{"text": "\xff"}', Drop.BAD_JSON),
    (b'["text"]', Drop.BAD_JSON),
    (b"[" * 100_000, Drop.BAD_JSON),
    ({"body": "x"}, Drop.MISSING_TEXT),
    ({"text": None}, Drop.MISSING_TEXT),
    ({"text": 5}, Drop.BAD_TEXT),
    ({"text": ["a"]}, Drop.BAD_TEXT),
    ({"text": "half a pair \ud83d here"}, Drop.BAD_TEXT),
    ({"text": ""}, Drop.EMPTY_TEXT),
    ({"text": " \n\u3000"}, Drop.EMPTY_TEXT),
  ],
)
def test_bad_line(tmp_path, line, reason):
  path = write(tmp_path / "a.jsonl", line, {"text": "good"})
  found, report = read(path)
  assert [text for _, text in found] == ["good"]
  only(report, reason)
  assert report.examples[reason] == ["a.jsonl:1"]


def test_line_beyond_any_document(tmp_path, monkeypatch):
  monkeypatch.setattr(lines, "MAX_LINE_BYTES", 20)
  path = write(
    tmp_path / "a.jsonl", {"text": "x" * 100}, {"text": "good"}, b"y" * 21
  )
  found, report = read(path)
  assert [text for _, text in found] == ["good"]
  only(report, Drop.TEXT_TOO_LARGE, 2)
  assert report.examples[Drop.TEXT_TOO_LARGE] == ["a.jsonl:1", "a.jsonl:3"]


def test_packed_lines(tmp_path):
  rows = b'{"text": "one"}\n{"text": "two"}\n'
  (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows))
  assert texts(tmp_path / "a.jsonl.gz") == ["one", "two"]
  with zipfile.ZipFile(tmp_path / "a.jsonl.zip", "w") as packed:
    packed.writestr("part/", "")
    packed.writestr("part/b.jsonl", rows)
    packed.writestr("../c.jsonl", rows)
  found, report = read(tmp_path / "a.jsonl.zip")
  assert found[1] == (f"{tmp_path.name}/a.jsonl.zip:part/b.jsonl:2", "two")
  assert len(found) == 2
  only(report, Drop.UNSAFE_MEMBER)
  assert [p.name for p in tmp_path.parent.glob("c.jsonl")] == []


def test_packed_file_cut_in_half(tmp_path):
  rows = [json.dumps({"text": f"{n} {n**9}"}) for n in range(5000)]
  data = gzip.compress("\n".join(rows).encode())
  path = tmp_path / "a.jsonl.gz"
  path.write_bytes(data[: len(data) // 2])
  found, report = read(path)
  assert 1000 < len(found) < 4000
  assert [text.split()[0] for _, text in found] == [
    str(n) for n in range(len(found))
  ]
  only(report, Drop.TRUNCATED_FILE)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zip", "a.txt.gz"])
def test_not_packed_at_all(tmp_path, name):
  (tmp_path / name).write_bytes(b"<html>not found</html>")
  found, report = read(tmp_path / name)
  assert not found
  only(report, Drop.UNREADABLE_FILE)


@pytest.mark.parametrize("name", ["gone.jsonl", "gone.txt", "gone.jsonl.zip"])
def test_file_that_is_not_there(tmp_path, name):
  only(read(tmp_path / name)[1], Drop.UNREADABLE_FILE)


def test_plain_file_is_a_document(tmp_path):
  path = tmp_path / "a.txt"
  path.write_bytes(b"\xef\xbb\xbfOne.\r\n\r\nTwo.\r\n")
  found, report = read(path)
  assert found == [(f"{tmp_path.name}/a.txt", "One.\n\nTwo.")]
  assert not report.counts


def test_plain_file_of_paragraphs(tmp_path):
  path = tmp_path / "a.txt"
  path.write_bytes(b"\n\nOne.\nMore.\n \t\n\nTwo.")
  found, _ = read(path, documents="paragraph")
  assert found == [
    (f"{tmp_path.name}/a.txt:3", "One.\nMore."),
    (f"{tmp_path.name}/a.txt:7", "Two."),
  ]


def test_plain_files_that_are_no_utf8(tmp_path):
  path = tmp_path / "a.txt"
  path.write_bytes(b"good\n\nb\xe4d")
  only(read(path)[1], Drop.BAD_TEXT)
  found, report = read(path, documents="paragraph")
  assert [text for _, text in found] == ["good"]
  assert report.examples == {Drop.BAD_TEXT: ["a.txt:3"]}


@pytest.mark.parametrize("data", [b"", b" \n\n"])
def test_empty_plain_file(tmp_path, data):
  (tmp_path / "a.txt").write_bytes(data)
  only(read(tmp_path / "a.txt")[1], Drop.EMPTY_TEXT)


def test_plain_file_beyond_any_document(tmp_path, monkeypatch):
  monkeypatch.setattr(documents, "MAX_BYTES", 20)
  (tmp_path / "a.txt").write_bytes(b"ten bytes\n" * 3 + b"\nrest")
  only(read(tmp_path / "a.txt")[1], Drop.TEXT_TOO_LARGE)
  found, report = read(tmp_path / "a.txt", documents="paragraph")
  assert [text for _, text in found] == ["rest"]
  only(report, Drop.TEXT_TOO_LARGE)


def test_long_document_is_split(tmp_path):
  path = write(tmp_path / "a.jsonl", {"text": "one two\nthree\nfour\nfive"})
  found, report = read(path, max_chars=10)
  name = f"{tmp_path.name}/a.jsonl:1"
  assert found == [
    (f"{name}:1", "one two\n"),
    (f"{name}:2", "three\n"),
    (f"{name}:3", "four\nfive"),
  ]
  only(report, Drop.TEXT_SPLIT, 2)


@pytest.mark.parametrize(
  ("text", "parts"),
  [
    ("a b", ["a b"]),
    ("aaaa bbbb", ["aaaa ", "bbbb"]),
    ("aaaaaaaa", ["aaaaa", "aaa"]),
    ("\n\n\naaaa", ["\n\n\naa", "aa"]),
    ("ab\n      cd", ["ab\n", " cd"]),
  ],
)
def test_where_long_lines_are_cut(text, parts):
  assert documents.split_text(text, 5) == parts


@given(
  st.text(alphabet="ab \n", max_size=60), st.integers(min_value=1, max_value=9)
)
def test_splitting_loses_no_word(text, max_chars):
  parts = documents.split_text(text, max_chars)
  assert all(len(part) <= max_chars and part.strip() for part in parts)
  assert "".join("".join(parts).split()) == "".join(text.split())
