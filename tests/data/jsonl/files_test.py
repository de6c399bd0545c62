"""Whole files: pictures, splits, faults told at once or counted."""

import io

import numpy as np
import pytest
from PIL import Image

from data.jsonl import check, files, paths
from data.jsonl.files import Options

CAPTION = {"image": "a.jpg", "caption": "a red box"}


def pixels(example, index=0):
  return Image.open(io.BytesIO(example.images[index]))


def counts(report):
  return {r.name: n for r, n in report.counts.items()}


@pytest.mark.parametrize(
  ("name", "mode"),
  [
    ("b.png", "RGB"),
    ("b.png", "P"),
    ("b.png", "RGBA"),
    ("b.png", "L"),
    ("b.jpg", "CMYK"),
    ("b.webp", "RGB"),
    ("b.bmp", "RGB"),
    ("b.gif", "P"),
    ("b.tif", "CMYK"),
    ("b.ppm", "RGB"),
  ],
)
def test_pictures_of_all_kinds_are_stored_as_rgb(folder, name, mode):
  folder.picture(name, mode=mode)
  [example], _ = folder.read(CAPTION | {"image": name})
  image = pixels(example)
  assert (image.format in ("JPEG", "PNG"), image.mode) == (True, "RGB")
  assert image.size == (100, 80)
  red, green, _ = np.asarray(image)[10, 10].astype(int)
  white = np.asarray(image)[70, 90]
  assert white.min() > 240
  if mode != "L":
    assert red > green + 100


def test_sixteen_bits(folder):
  grey = np.full((40, 40), 40_000, np.uint16)
  Image.fromarray(grey).save(folder.path / "b.png")
  Image.fromarray(grey).save(folder.path / "b.tif")
  for name in ("b.png", "b.tif"):
    [example], _ = folder.read(CAPTION | {"image": name})
    assert pixels(example).mode == "RGB"
    assert np.asarray(pixels(example)).max() == round(40_000 / 257)


@pytest.mark.parametrize("name", ["b.jpg", "b.tif"])
def test_exif_orientation(folder, name):
  """Stored lying, seen upright: the red quarter is at the upper right."""
  exif = Image.Exif()
  exif[0x0112] = 6  # To be turned by 90 degrees, clockwise.
  folder.picture(name, exif=exif)
  fields = {
    "image": name,
    "expression": "the red part",
    "box": [40, 0, 80, 50],
    "box_format": "pixels",
  }
  [example], _ = folder.read(fields)
  image = pixels(example)
  assert image.size == (80, 100)
  assert np.asarray(image)[10, 70, 1] < 60
  assert np.asarray(image)[10, 10, 1] > 240
  [box] = example.line.expressions[0].boxes.xyxy
  assert box == (0.5, 0.0, 1.0, 0.5)
  if name == "b.tif":
    return  # Always upright.
  # As it is stored.
  [example], _ = folder.read(fields, upright=False)
  assert pixels(example).size == (100, 80)
  [box] = example.line.expressions[0].boxes.xyxy
  assert box == pytest.approx((0.4, 0.0, 0.8, 0.625))


def test_large_pictures_are_made_smaller(folder):
  [example], _ = folder.read(CAPTION, shorter_side=40)
  assert pixels(example).size == (50, 40)


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("gone.jpg", "found no such file; paths start from the folder"),
    ("../a.jpg", "expected a path inside the folder of this file"),
    ("b/../../a.jpg", "expected a path inside the folder of this file"),
    ("/etc/hosts", "shorten it, or set allow_absolute"),
    ("C:/a.jpg", "shorten it, or set allow_absolute"),
    ("~/a.jpg", "~ is not read"),
    ("b\\a.jpg", "write / for \\"),
    ("x" * 5000, "found no such file"),
    ("boxes.jsonl", "expected a whole picture (JPEG, PNG"),
    (".", "found a folder"),
    ("", "image: expected words, found an empty text"),
    ("small.png", "expected sides of 32 pixels or more"),
  ],
)
def test_pictures_that_are_not_there(folder, name, said):
  folder.picture("small.png", size=(100, 8))
  [fault] = folder.faults(CAPTION | {"image": name})
  assert said in fault
  assert fault.startswith("1: image: expected")


def test_names_inside_the_folder(folder):
  folder.picture("sub/b.jpg")
  for name in ("./a.jpg", "sub/b.jpg", "sub/../a.jpg"):
    folder.line(CAPTION | {"image": name})


def test_absolute_names(folder):
  fields = CAPTION | {"image": str(folder.path / "a.jpg")}
  assert len(folder.faults(fields)) == 1
  assert folder.line(fields, allow_absolute=True).images == (fields["image"],)


def test_a_picture_cut_in_half(folder):
  path = folder.path / "a.jpg"
  path.write_bytes(path.read_bytes()[:-300])
  [fault] = folder.faults(CAPTION)
  assert "found a file that does not decode; save it again" in fault


def test_a_bomb(folder, monkeypatch):
  monkeypatch.setattr("data.building.pictures.MAX_PIXELS", 7999)
  [fault] = folder.faults(CAPTION)
  assert "expected at most 7,999 pixels" in fault


def test_all_faults_are_told_at_once(folder):
  good, bad = CAPTION, CAPTION | {"split": "test", "caption": ""}
  faults = folder.faults(good, *[bad] * 25, {"image": "a.jpg"})
  assert [fault.split(":")[0] for fault in faults[:20]] == [
    str(n) for n in range(2, 22)
  ]
  assert faults[20:] == ["and 6 more"]
  # Whichever split is read.
  assert folder.faults(good, bad, split="train") == faults[:1]


def test_nothing_is_given_once_there_is_a_fault(folder):
  bad = CAPTION | {"caption": ""}
  path = folder.write(CAPTION, bad, CAPTION)
  found = files.read_file(path, None, files.DropReport(), Options())
  assert next(found).number == 1
  with pytest.raises(files.FaultyFile):
    next(found)


def test_faulty_lines_can_be_left_out(folder):
  lines = [CAPTION, CAPTION | {"caption": ""}, "{", {"image": "b.jpg"}]
  lines.append(CAPTION | {"image": "b.jpg", "box": [0, 0, 1, 1]})
  examples, report = folder.read(*lines, skip_bad_lines=True)
  assert [example.number for example in examples] == [1]
  # A line counts once, for its first fault.
  assert counts(report) == {
    "BAD_VALUE": 1,
    "BAD_JSON": 1,
    "MISSING_FIELD": 1,
    "CONFLICTING_FIELDS": 1,
  }
  assert (report.records_read, report.records_kept) == (5, 1)
  assert report.examples[files.Drop.BAD_JSON] == ["boxes.jsonl:3"]


def test_an_id_given_twice(folder):
  lines = [CAPTION | {"id": "x"}, CAPTION | {"id": "x"}]
  [fault] = folder.faults(*lines)
  assert fault.startswith('2: id: expected an id of its own, found "x", which')
  # Splits have their own.
  lines[1] |= {"split": "test"}
  assert len(folder.read(*lines)[0]) == 2


def test_splits(folder):
  lines = [CAPTION | {"split": "test"}, CAPTION, CAPTION | {"split": "test"}]
  path = folder.write(*lines)
  assert files.splits_of(path) == ["test", "train"]
  examples, report = folder.read(*lines, split="test")
  assert [example.number for example in examples] == [1, 3]
  assert report.records_read == 2


def test_a_line_that_is_no_line(folder, monkeypatch):
  monkeypatch.setattr(files, "MAX_LINE_BYTES", 100)
  [fault] = folder.faults(CAPTION, CAPTION | {"caption": "x" * 350})
  assert fault.startswith("2: expected at most 100 bytes in a line")
  path = folder.write(CAPTION, CAPTION | {"caption": "x" * 350}, CAPTION)
  assert [n for n, _ in files.numbered_lines(path)] == [1, 2, 3]


def test_files_are_found(folder):
  one, two = folder.write(CAPTION), folder.write(CAPTION, name="b.jsonl")
  pattern = str(folder.path / "*.jsonl")
  assert paths.find_files(pattern) == [two, one]
  assert paths.find_files([one, str(one), pattern]) == [one, two]
  with pytest.raises(FileNotFoundError, match=r"'x\.jsonl', found no such"):
    paths.find_files("x.jsonl")
  with pytest.raises(FileNotFoundError, match="found a folder"):
    paths.find_files(folder.path)
  with pytest.raises(ValueError, match="found none"):
    paths.find_files([])
  (folder.path / "sub").mkdir()
  other = folder.write(CAPTION, name="sub/boxes.jsonl")
  with pytest.raises(ValueError, match="files of different names"):
    paths.find_files([one, other])


def test_the_check_says_what_there_is(folder, capsys):
  box = {"image": "a.jpg", "expression": "x", "box": [0, 0, 50, 40]}
  path = folder.write(CAPTION, CAPTION | {"split": "test"}, box)
  assert check.main([str(path)]) == 1
  assert f"{path}:3: box: expected numbers from 0 to 1" in (
    capsys.readouterr().out
  )
  assert check.main([str(path), "--box_format=pixels"]) == 0
  text = capsys.readouterr().out
  assert "3 of 3 lines are good" in text
  rows = [line.split() for line in text.splitlines()]
  assert ["train", "expression", "1", "1", "1"] in rows
  assert ["test", "caption", "1", "1", "0"] in rows
  assert check.main([str(path), "--skip_bad_lines"]) == 0
  assert "misplaced_box" in capsys.readouterr().out
  assert check.main(["x.jsonl"]) == 2
  assert "check: expected a JSONL file" in capsys.readouterr().err
