"""Reads Visual Genome's region descriptions, one picture at a time."""

import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Iterator
from typing import Any

from data.building import boxes, json_files
from data.building.drops import Drop, Dropped, DropReport
from data.building.picture_folder import PictureFolder
from data.building.pictures import Picture

SPLITS = ("train", "val")
# Steps that the part of "val" is told in.
STEPS = 1 << 32


@dataclasses.dataclass(frozen=True)
class Region:
  """A part of a picture and what somebody wrote about it."""

  text: str
  box_xyxy: boxes.BoxXyxy


@dataclasses.dataclass(frozen=True)
class Example:
  """A picture with its regions, in the order of the file.

  width, height  in pixels of the picture as it was annotated
  """

  id: str
  image_file: str
  width: int
  height: int
  picture: Picture
  regions: tuple[Region, ...]


@dataclasses.dataclass(frozen=True)
class _Image:
  """What `image_data.json` says of a picture."""

  file: str
  width: int
  height: int


def read(
  regions_path: pathlib.Path,
  images_path: pathlib.Path,
  split: str,
  pictures: PictureFolder,
  report: DropReport,
  *,
  val_fraction: float,
) -> Iterator[Example]:
  """Yields the pictures of a split with their regions, in the file's order.

  Memory is that of `image_data.json` and one picture: `region_descriptions`
  is read piece by piece. Of a file that ends early, what is before the end is
  used, and the end is counted with its place.

  Args:
    regions_path: `region_descriptions.json`.
    images_path: `image_data.json`.
    split: "train" or "val".
    pictures: where they are.
    report: is told of everything; complete when the iterator is exhausted.
    val_fraction: part of the pictures, 0 to 1, that are in "val"; which ones
      depends on their numbers alone.

  Raises:
    BrokenJson: `image_data.json` is no JSON.
    ValueError: it is no list.
  """
  images = _read_images(images_path)
  for where, fields in json_files.read_objects(regions_path, report):
    image_id = _id_of(fields)
    if split_of(image_id, val_fraction) != split:
      continue
    report.records_read += 1
    try:
      example = _join(fields, image_id, images, pictures, report, where)
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    report.records_kept += 1
    yield example


def split_of(image_id: int | None, val_fraction: float) -> str:
  """The split of a picture; what has no number is counted in "train"."""
  digest = hashlib.blake2b(str(image_id).encode(), digest_size=4).digest()
  drawn = int.from_bytes(digest, "little")
  in_val = image_id is not None and drawn < val_fraction * STEPS
  return "val" if in_val else "train"


def _read_images(path: pathlib.Path) -> dict[int, _Image]:
  content = json_files.load(path)
  if not isinstance(content, list):
    raise ValueError(
      f"{path}: expected a list of pictures, found a {type(content).__name__}"
    )
  images: dict[int, _Image] = {}
  for fields in content:
    image_id = _id_of(fields)
    if image_id is None:
      continue
    width, height = fields.get("width"), fields.get("height")
    if not (_is_side(width) and _is_side(height)):
      continue
    # The folder is told by the address alone: .../VG_100K_2/1.jpg
    parts = str(fields.get("url", "")).split("/")[-2:]
    if len(parts) != 2 or not all(parts):
      parts = [f"{image_id}.jpg"]
    images.setdefault(image_id, _Image("/".join(parts), width, height))
  return images


def _join(
  fields: Any,
  image_id: int | None,
  images: dict[int, _Image],
  pictures: PictureFolder,
  report: DropReport,
  where: str,
) -> Example:
  """One picture with its regions. Raises Dropped."""
  if image_id is None or not isinstance(fields.get("regions"), list):
    raise Dropped(Drop.BAD_RECORD)
  if image_id not in images:
    raise Dropped(Drop.UNKNOWN_IMAGE)
  image = images[image_id]
  size = image.width, image.height
  picture = pictures.picture(image.file, size=size)
  regions = []
  for region in fields["regions"]:
    good = report.read_item(lambda r=region: _region(r, size), where)
    if good is not None:
      regions.append(good)
  if not regions:
    raise Dropped(Drop.NO_BOX_LEFT)
  return Example(
    id=str(image_id),
    image_file=image.file,
    width=image.width,
    height=image.height,
    picture=picture,
    regions=tuple(regions),
  )


def _region(fields: Any, size: tuple[int, int]) -> tuple[Region, bool]:
  """A region and whether its box was clipped. Raises Dropped."""
  if not isinstance(fields, dict):
    raise Dropped(Drop.BAD_ITEM)
  text = fields.get("phrase")
  if not isinstance(text, str) or not text.strip():
    raise Dropped(Drop.EMPTY_PHRASE)
  try:
    text.encode()
  except UnicodeEncodeError:  # Half of a surrogate pair.
    raise Dropped(Drop.EMPTY_PHRASE) from None
  xywh = boxes.four_numbers(
    [fields.get(name) for name in ("x", "y", "width", "height")]
  )
  width, height = size
  # Many boxes stick out; what is inside of them is what was meant.
  box_xyxy, clipped = boxes.check_box(
    boxes.from_pixels(boxes.from_xywh(xywh), width=width, height=height),
    tolerance=math.inf,
  )
  return Region(text, box_xyxy), clipped


def _id_of(fields: Any) -> int | None:
  """`image_id`, or `id` as it is called in some of the files."""
  if not isinstance(fields, dict):
    return None
  image_id = fields.get("image_id", fields.get("id"))
  return image_id if type(image_id) is int else None


def _is_side(value: Any) -> bool:
  return type(value) is int and 0 < value < 1 << 20
