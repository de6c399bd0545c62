"""Annotation files, found by path, folder and pattern."""

import pytest

from data.building import annotation_files


def test_find(tmp_path):
  paths = [tmp_path / name for name in ("a.json", "b.jsonl", "c.json")]
  for path in (*paths, tmp_path / "notes.txt"):
    path.touch()
  (tmp_path / "link.json").symlink_to(paths[0])
  a, b, c = paths
  assert annotation_files.find(a, "captions") == [a]
  assert annotation_files.find(f"{c},{b}", "captions") == [b, c]
  assert annotation_files.find([c, str(b)], "captions") == [b, c]
  assert annotation_files.find(f"{tmp_path}/?.json", "captions") == [a, c]
  assert annotation_files.find(tmp_path, "captions") == [a, b, c]


def test_a_comma_in_a_name(tmp_path):
  path = tmp_path / "a,b.json"
  path.touch()
  assert annotation_files.find(str(path), "captions") == [path]


@pytest.mark.parametrize("name", ["gone.json", "*.json", "empty"])
def test_not_there(tmp_path, name):
  (tmp_path / "empty").mkdir()
  with pytest.raises(FileNotFoundError, match=r"^no captions at '.*JSON"):
    annotation_files.find(tmp_path / name, "captions")


@pytest.mark.parametrize("paths", ["", [], ","])
def test_none_given(paths):
  with pytest.raises(ValueError, match="^no captions given: expected"):
    annotation_files.find(paths, "captions")
