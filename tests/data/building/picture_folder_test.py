"""Pictures by name, in folders and archives."""

import io
import tarfile
import zipfile

import pytest

from data.building import picture_folder
from data.building.drops import Drop, Dropped, DropReport
from data.building.picture_folder import PictureFolder


def write_zip(path, members, **options):
  with zipfile.ZipFile(path, "w", **options) as file:
    for name, data in members.items():
      file.writestr(name, data)
  return path


def write_tar(path, members):
  with tarfile.open(path, "w") as file:
    for name, data in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(data)
      file.addfile(info, io.BytesIO(data))
  return path


def write_folder(path, members):
  for name, data in members.items():
    file = path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
  return path


@pytest.fixture(params=["folder", "tar", "zip"])
def write(request, tmp_path):
  """Writes pictures in one of three ways."""
  writer = {"folder": write_folder, "tar": write_tar, "zip": write_zip}
  name = {"folder": "places", "tar": "places.tar", "zip": "places.zip"}

  def write(members):
    return writer[request.param](tmp_path / name[request.param], members)

  return write


def reason_of(folder, name):
  with pytest.raises(Dropped) as dropped:
    folder.read(name)
  return dropped.value.reason


def test_by_path_and_by_name(write, tmp_path):
  path = write({"a/1.jpg": b"a1", "b/1.jpg": b"b1", "b/2.jpg": b"b2"})
  report = DropReport()
  with PictureFolder(path, report) as folder:
    assert folder.read("a/1.jpg") == b"a1"
    assert folder.read("b/1.jpg") == b"b1"
    assert folder.read("2.jpg") == b"b2"
    assert folder.read("elsewhere/2.jpg") == b"b2"
    assert folder.read("1.jpg") == b"a1"  # The first of two.
    assert reason_of(folder, "3.jpg") is Drop.PICTURE_NOT_FOUND
  assert not report.counts


@pytest.mark.parametrize(
  "name",
  [
    "../secret.jpg",
    "/etc/secret.jpg",
    "a/../../secret.jpg",
    "..\\s.jpg",
    "C:s.jpg",
  ],
)
def test_names_that_lead_out_are_refused(write, tmp_path, name):
  path = write({"1.jpg": b"1"})
  (tmp_path / "secret.jpg").write_bytes(b"secret")
  with PictureFolder(path, DropReport()) as folder:
    assert reason_of(folder, name) is Drop.UNSAFE_NAME


@pytest.mark.parametrize("name", ["notes.txt", "a", "places", "1.jpg/", "."])
def test_only_pictures_are_read(write, name):
  path = write({"1.jpg": b"1", "notes.txt": b"notes", "a/b.jpg": b"b"})
  with PictureFolder(path, DropReport()) as folder:
    assert reason_of(folder, name) is Drop.PICTURE_NOT_FOUND


def test_names_without_an_extension_only_where_they_are_wanted(write):
  path = write({"a/1_2": b"12", "1.jpg": b"1", "notes.txt": b"notes"})
  report = DropReport()
  with PictureFolder(path, report, bare_names=True) as folder:
    assert folder.read("1_2") == b"12"
    assert folder.read("a/1_2") == b"12"
    assert folder.read("1.jpg") == b"1"
    for name in ("notes.txt", "a", ".", "2_1"):
      assert reason_of(folder, name) is Drop.PICTURE_NOT_FOUND
  with PictureFolder(path, DropReport()) as folder:
    assert reason_of(folder, "1_2") is Drop.PICTURE_NOT_FOUND


@pytest.mark.parametrize("name", ["", "\0.jpg"])
def test_what_is_no_name(write, name):
  with PictureFolder(write({"1.jpg": b"1"}), DropReport()) as folder:
    assert reason_of(folder, name) is Drop.BAD_RECORD


def test_several_places(tmp_path):
  one = write_zip(tmp_path / "images.zip", {"VG_100K_2/1.jpg": b"1"})
  two = write_folder(tmp_path / "more", {"2.jpg": b"2", "1.jpg": b"other"})
  for paths in ([one, two], f"{one},{two}"):
    with PictureFolder(paths, DropReport()) as folder:
      assert folder.read("VG_100K_2/1.jpg") == b"1"
      assert folder.read("2.jpg") == b"2"
  assert picture_folder.find(str(tmp_path / "*.zip")) == [one]


def test_places_that_are_not_there(tmp_path):
  with pytest.raises(FileNotFoundError, match="folder, a tar or a zip"):
    picture_folder.find(str(tmp_path / "gone"))
  with pytest.raises(ValueError, match="found no path"):
    picture_folder.find("")
  packed = tmp_path / "images.tar.gz"
  packed.touch()
  with pytest.raises(ValueError, match=r"found .*images.tar.gz; unpack"):
    picture_folder.find(packed)


def test_archives_that_are_damaged(tmp_path, maker):
  broken = tmp_path / "broken.zip"
  broken.write_bytes(b"PK not a zip")
  other = write_tar(tmp_path / "good.tar", {"1.jpg": b"1"})
  report = DropReport()
  with PictureFolder([broken, other], report) as folder:
    assert folder.read("1.jpg") == b"1"
  assert report.counts == {Drop.UNREADABLE_FILE: 1}


def test_a_member_that_is_damaged(tmp_path):
  path = write_zip(tmp_path / "images.zip", {"1.jpg": b"picture" * 10})
  data = path.read_bytes()
  path.write_bytes(data.replace(b"picturepicture", b"damaged!damage"))
  with PictureFolder(path, DropReport()) as folder:
    assert reason_of(folder, "1.jpg") is Drop.UNREADABLE_SAMPLE


def test_members_that_grow(write, monkeypatch):
  monkeypatch.setattr(picture_folder, "MAX_BYTES", 1000)
  monkeypatch.setitem(picture_folder.archive.MAX_BYTES, "picture", 1000)
  with PictureFolder(write({"1.jpg": bytes(1001)}), DropReport()) as folder:
    assert reason_of(folder, "1.jpg") in (
      Drop.PICTURE_TOO_LARGE,
      Drop.PICTURE_NOT_FOUND,  # A tar's headers tell the size.
    )


def test_unsafe_members_are_counted(tmp_path):
  members = {"../out.jpg": b"out", "in.jpg": b"in"}
  for path in (
    write_zip(tmp_path / "images.zip", members),
    write_tar(tmp_path / "images.tar", members),
  ):
    report = DropReport()
    with PictureFolder(path, report) as folder:
      assert folder.read("in.jpg") == b"in"
      assert reason_of(folder, "out.jpg") is Drop.PICTURE_NOT_FOUND
    assert report.counts == {Drop.UNSAFE_MEMBER: 1}


def test_pictures_are_checked_and_remembered(tmp_path, maker):
  path = write_folder(tmp_path / "p", {"1.jpg": maker.jpeg(48, 40)})
  write_folder(path, {"bad.jpg": b"no picture"})
  with PictureFolder(path, DropReport(), min_side=40) as folder:
    picture = folder.picture("1.jpg", size=(48, 40))
    assert (picture.width, picture.height) == (48, 40)
    # Annotated at another resolution, but of the same shape.
    assert folder.picture("1.jpg", size=(96, 80)) is picture
    for name, size, reason in (
      ("1.jpg", (40, 48), Drop.ASPECT_CHANGED),
      ("bad.jpg", (48, 40), Drop.CORRUPT_PICTURE),
      (None, (48, 40), Drop.BAD_RECORD),
      (["1.jpg"], (48, 40), Drop.BAD_RECORD),
    ):
      with pytest.raises(Dropped) as dropped:
        folder.picture(name, size=size)
      assert dropped.value.reason is reason
  with PictureFolder(path, DropReport(), min_side=41) as folder:
    with pytest.raises(Dropped) as dropped:
      folder.picture("1.jpg", size=(48, 40))
    assert dropped.value.reason is Drop.PICTURE_TOO_SMALL
