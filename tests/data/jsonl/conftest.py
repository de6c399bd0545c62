"""JSONL files and pictures made by hand."""

import json

import pytest
from PIL import Image

from data.building.drops import DropReport
from data.jsonl import files
from data.jsonl.files import Options

PIXEL = (200, 30, 30)


class Folder:
  """A user's folder: pictures of 100 x 80 pixels, and one file of lines."""

  def __init__(self, path):
    self.path = path

  def picture(self, name="a.jpg", size=(100, 80), mode="RGB", **options):
    """Writes a picture whose upper left quarter is red; returns its name."""
    image = Image.new("RGB", size, "white")
    image.paste(PIXEL, (0, 0, size[0] // 2, size[1] // 2))
    file = self.path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    image.convert(mode).save(file, **options)
    return name

  def write(self, *lines, name="boxes.jsonl"):
    """Writes lines, objects or texts; returns the file."""
    file = self.path / name
    texts = [
      line if isinstance(line, str) else json.dumps(line) for line in lines
    ]
    file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return file

  def read(self, *lines, split=None, **options):
    """The examples of lines, and the report."""
    report = DropReport()
    path = self.write(*lines)
    found = files.read_file(path, split, report, Options(**options))
    return list(found), report

  def line(self, fields, **options):
    """What one line says."""
    [example], _ = self.read(fields, **options)
    return example.line

  def faults(self, *lines, **options):
    """What is said of faulty lines, without the file's name."""
    with pytest.raises(files.FaultyFile) as error:
      self.read(*lines, **options)
    path = self.path / "boxes.jsonl"
    first, *rest = str(error.value).splitlines()
    assert first.startswith(f"expected every line of {str(path)!r} to be good")
    return [line.strip().removeprefix(f"{path}:") for line in rest]


@pytest.fixture
def folder(tmp_path):
  """With one picture, a.jpg."""
  folder = Folder(tmp_path)
  folder.picture()
  return folder
