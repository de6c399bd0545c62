"""Reads the XML of Flickr30k Entities: what the numbers in sentences mean.

A file has the picture's name and size and objects: the numbers (`name`) of the
entities it shows, and a box or the remark that there is none, because the
entity is the whole scene or is not to be seen.
"""

import dataclasses
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from data.building import boxes
from data.building.drops import Drop, Dropped, DropReport

# A file of annotations has some kilobytes.
MAX_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Entities:
  """The annotations of one picture.

  image_file     file name of the picture
  width, height  in pixels
  boxes          entity -> its boxes, normalised, in the order of the file
  pixels         entity -> its boxes as they are written, also those that are
                 no good: the original's evaluation takes them as they are
  scene          entities that are the whole scene and have no box
  nobox          entities that cannot be seen and have no box
  """

  image_file: str
  width: int
  height: int
  boxes: dict[str, tuple[boxes.BoxXyxy, ...]]
  pixels: dict[str, tuple[boxes.BoxXyxy, ...]]
  scene: frozenset[str]
  nobox: frozenset[str]


def parse(data: bytes, report: DropReport, where: str) -> Entities:
  """Reads an XML file; boxes that are no good are counted and left out.

  Raises Dropped: BAD_RECORD, for what is no XML, has a document type (which is
    how small files grow to gigabytes and read other files), or lacks the
    picture's name or size.
  """
  root = _parse_xml(data)
  image_file = (root.findtext("filename") or "").strip()
  width, height = (_whole(root.findtext(f"size/{s}")) for s in _SIDES)
  if not image_file or not width or not height:
    raise Dropped(Drop.BAD_RECORD)
  found: dict[str, list[boxes.BoxXyxy]] = {}
  pixels: dict[str, list[boxes.BoxXyxy]] = {}
  scene, nobox = set(), set()
  for element in root.iterfind("object"):
    names = [(name.text or "").strip() for name in element.iterfind("name")]
    corners = element.find("bndbox")
    if corners is None:
      if _whole(element.findtext("scene")):
        scene.update(names)
      if _whole(element.findtext("nobndbox")):
        nobox.update(names)
      continue
    try:
      written = _corners(corners)
      for name in names:
        pixels.setdefault(name, []).append(written)
      box, clipped = from_one(written, width, height)
    except Dropped as dropped:
      report.items_read += len(names)
      report.add(dropped.reason, where, len(names))
      continue
    if clipped:
      report.add(Drop.BOX_CLIPPED, where)
    for name in names:
      found.setdefault(name, []).append(box)
  return Entities(
    image_file=image_file,
    width=width,
    height=height,
    boxes={name: tuple(values) for name, values in found.items()},
    pixels={name: tuple(values) for name, values in pixels.items()},
    scene=frozenset(scene),
    nobox=frozenset(nobox),
  )


def from_one(
  corners: tuple[float, float, float, float], width: int, height: int
) -> tuple[boxes.BoxXyxy, bool]:
  """A box whose pixels are counted from 1, as in Pascal VOC, normalised.

  The corners are moved by one pixel, as the data set's own reader does.

  Returns:
    The box and whether it was clipped.

  Raises Dropped: NOT_FINITE, BOX_OUTSIDE, BOX_EMPTY.
  """
  x1, y1, x2, y2 = (value - 1 for value in corners)
  return boxes.check_box(
    boxes.from_pixels((x1, y1, x2, y2), width=width, height=height)
  )


_SIDES = ("width", "height")
_CORNER_NAMES = ("xmin", "ymin", "xmax", "ymax")


def _parse_xml(data: bytes) -> ElementTree.Element:
  """The root element of XML without a document type."""
  if len(data) > MAX_BYTES:
    raise Dropped(Drop.BAD_RECORD)
  builder = ElementTree.TreeBuilder()
  parser = expat.ParserCreate()

  def refuse(*_: Any) -> None:
    raise Dropped(Drop.BAD_RECORD)

  # Entities are declared in a document type and nowhere else.
  parser.StartDoctypeDeclHandler = refuse
  parser.StartElementHandler = builder.start
  parser.EndElementHandler = builder.end
  parser.CharacterDataHandler = builder.data
  try:
    parser.Parse(data, True)
    return builder.close()
  except (expat.ExpatError, ValueError, LookupError, AssertionError):
    raise Dropped(Drop.BAD_RECORD) from None


def _corners(corners: ElementTree.Element) -> boxes.BoxXyxy:
  """The numbers of a box. Raises Dropped: BAD_BOX, NOT_FINITE."""
  values = []
  for name in _CORNER_NAMES:
    try:
      values.append(float(corners.findtext(name, "")))
    except ValueError:
      raise Dropped(Drop.BAD_BOX) from None
  return boxes.four_numbers(values)


def _whole(text: str | None) -> int:
  """A number that is not negative; 0 where there is none."""
  text = (text or "").strip()
  return int(text) if text.isdecimal() and len(text) < 8 else 0
