"""Pictures that annotations name, checked, resized and counted."""

import io
import zipfile

import pytest
from PIL import Image

from data.building import named_pictures
from data.building.drops import Drop, Dropped, DropReport


@pytest.fixture
def folder(maker, tmp_path):
  """A folder with pictures in COCO's train2017."""
  pictures = tmp_path / "pictures"
  (pictures / "train2017").mkdir(parents=True)
  place = pictures / "train2017" / "000000000001.jpg"
  place.write_bytes(maker.jpeg(200, 100))
  maker.picture(60, 50).convert("L").save(pictures / "grey.png")
  (pictures / "bad.jpg").write_bytes(maker.jpeg()[:300])
  return pictures


def opened(folder, report, min_side=32, shorter_side=0):
  return named_pictures.NamedPictures(
    folder, report, min_side=min_side, shorter_side=shorter_side
  )


def test_found_under_the_name_of_another_release(folder, maker):
  report = DropReport()
  with opened(folder, report) as pictures:
    data = pictures.load("COCO_train2014_000000000001.jpg", "here")
  assert data == maker.jpeg(200, 100)
  assert not report.counts


def test_resized(folder):
  report = DropReport()
  with opened(folder, report, shorter_side=40) as pictures:
    data = pictures.load("000000000001.jpg", "here")
  assert report.counts == {Drop.PICTURE_RESIZED: 1}
  assert Image.open(io.BytesIO(data)).size == (80, 40)


def test_reencoded_each_time_it_is_used(folder):
  report = DropReport()
  with opened(folder, report) as pictures:
    for where in ("a:1", "a:2"):
      pictures.load("grey.png", where)
  assert report.counts == {Drop.PICTURE_REENCODED: 2}
  assert report.examples[Drop.PICTURE_REENCODED] == ["a:1", "a:2"]


def test_a_picture_used_twice_in_a_row_is_checked_once(folder, monkeypatch):
  checked = []
  check = named_pictures.check_picture
  monkeypatch.setattr(
    named_pictures,
    "check_picture",
    lambda data, **sides: checked.append(1) or check(data, **sides),
  )
  with opened(folder, DropReport()) as pictures:
    one = pictures.load("000000000001.jpg", "here")
    assert pictures.load("000000000001.jpg", "there") == one
    assert pictures.load("grey.png", "there") != one
  assert len(checked) == 2


@pytest.mark.parametrize(
  ("name", "reason"),
  [
    ("gone.jpg", Drop.PICTURE_NOT_FOUND),
    ("bad.jpg", Drop.CORRUPT_PICTURE),
    ("grey.png", Drop.PICTURE_TOO_SMALL),
  ],
)
def test_bad_pictures(folder, name, reason):
  with opened(folder, DropReport(), min_side=51) as pictures:
    for _ in range(2):
      with pytest.raises(Dropped) as dropped:
        pictures.load(name, "here")
      assert dropped.value.reason is reason


def test_describe(folder, maker):
  path = folder.parent / "more.zip"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("a.jpg", maker.jpeg())
  before = named_pictures.describe([folder, path])
  # Two pictures, the folder, and the picture in it.
  assert before == [
    {"name": "pictures", "files": 4},
    {"name": "more.zip", "bytes": path.stat().st_size},
  ]
  (folder / "train2017" / "2.jpg").touch()
  assert named_pictures.describe([folder, path]) != before
