"""Pictures of COCO under the names of two releases."""

import pytest

from data.building import coco
from data.building.drops import Drop, Dropped

NUMBER = "000000391895"


def test_picture_name():
  name = coco.picture_name("val2014", 391895)
  assert name == f"COCO_val2014_{NUMBER}.jpg"


def reader(files, asked=None):
  """Reads from a dict, and lists what was asked for."""

  def read(name):
    if asked is not None:
      asked.append(name)
    if name not in files:
      raise Dropped(Drop.PICTURE_NOT_FOUND)
    return files[name]

  return read


@pytest.mark.parametrize("there", ["", "COCO_train2014_", "COCO_val2014_"])
@pytest.mark.parametrize(
  "asked", ["", "COCO_val2014_", "val2014/COCO_val2014_", "coco/train2017/"]
)
def test_found_by_any_name(there, asked):
  read = reader({f"{there}{NUMBER}.jpg": b"it"})
  assert coco.read_picture(read, f"{asked}{NUMBER}.jpg") == b"it"


@pytest.mark.parametrize("name", ["391895.jpg", f"{NUMBER}.png", "a.jpg"])
def test_other_names_are_taken_as_they_are(name):
  asked = []
  with pytest.raises(Dropped) as dropped:
    coco.read_picture(reader({}, asked), name)
  assert dropped.value.reason is Drop.PICTURE_NOT_FOUND
  assert asked == [name]


def test_the_name_itself_comes_first():
  name = f"train2017/{NUMBER}.jpg"
  read = reader({name: b"1", f"{NUMBER}.jpg": b"2"})
  assert coco.read_picture(read, name) == b"1"


def test_other_troubles_are_not_hidden():
  def read(name):
    if name.startswith("../"):
      raise Dropped(Drop.UNREADABLE_SAMPLE)
    return b"another"

  with pytest.raises(Dropped) as dropped:
    coco.read_picture(read, f"../{NUMBER}.jpg")
  assert dropped.value.reason is Drop.UNREADABLE_SAMPLE
