"""The names of COCO's pictures, which are the same in two releases.

A picture is `COCO_train2014_000000123456.jpg` (or val2014, test2015) in the
release of 2014 and `000000123456.jpg` in that of 2017, which moved most of
val2014 to train2017. Annotations use either; whoever has one release has all.
"""

import posixpath
import re
from collections.abc import Callable

from data.building.drops import Drop, Dropped

_NAME = re.compile(
  r"(?:COCO_(?:train2014|val2014|test2014|test2015)_)?(\d{12})\.jpg"
)
# A number means one picture in all releases.
_PREFIXES = (
  "",
  "COCO_train2014_",
  "COCO_val2014_",
  "COCO_test2015_",
  "COCO_test2014_",
)


def picture_name(split: str, image_id: int) -> str:
  """The name of a picture in a release such as "train2014", "test2015"."""
  return f"COCO_{split}_{image_id:012d}.jpg"


def read_picture(read: Callable[[str], bytes], name: str) -> bytes:
  """The bytes of a picture by its name, else by those it also goes by.

  Args:
    read: by a path as written in an annotation; raises Dropped.
    name: such a path, with or without folders. Names that are not COCO's are
      looked for as they are.

  Raises Dropped: PICTURE_NOT_FOUND, and whatever else `read` raises.
  """
  match = _NAME.fullmatch(posixpath.basename(name))
  others = [f"{prefix}{match[1]}.jpg" for prefix in _PREFIXES] if match else []
  for this in (name, *others):
    try:
      return read(this)
    except Dropped as dropped:
      if dropped.reason is not Drop.PICTURE_NOT_FOUND:
        raise
  raise Dropped(Drop.PICTURE_NOT_FOUND)
