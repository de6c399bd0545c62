"""Checks expressions and joins them with their pictures."""

import dataclasses
from collections.abc import Iterable, Iterator

from data.building import boxes
from data.building.drops import Drop, Dropped, DropReport
from data.building.picture_folder import PictureFolder
from data.building.pictures import Picture
from data.refcoco.annotations import Annotation


@dataclasses.dataclass(frozen=True)
class Expression:
  """A text that means one thing in a picture, verbatim, with the thing's box.

  index        its number in the split, in the order of the annotations
  box_xyxy     normalised
  category_id  of COCO; -1 where it is not told
  """

  index: int
  text: str
  box_xyxy: boxes.BoxXyxy
  category_id: int
  category: str


@dataclasses.dataclass(frozen=True)
class Example:
  """A picture with one expression or with all of them.

  width, height  in pixels of the picture as it was annotated
  same_box       of an example with one expression: all expressions of the
                 split that have its picture and box, in their order; else none
  """

  id: str
  image_file: str
  width: int
  height: int
  picture: Picture
  expressions: tuple[Expression, ...]
  same_box: tuple[str, ...] = ()


def join(
  annotations: Iterable[Annotation],
  pictures: PictureFolder,
  report: DropReport,
  *,
  group_by_image: bool,
) -> Iterator[Example]:
  """Yields examples in the order of the annotations.

  Args:
    annotations: of one split.
    pictures: where their pictures are.
    report: is told of everything; complete when the iterator is exhausted.
    group_by_image: one example for each picture, at the place of its first
      expression; else one for each expression.
  """
  groups: dict[str, list[Annotation]] = {}
  same_box: dict[tuple[str, str], list[str]] = {}
  for annotation in annotations:
    if _is_text(annotation.text):
      same_box.setdefault(_thing(annotation), []).append(annotation.text)
    name = annotation.image_file
    if group_by_image and isinstance(name, str) and name:
      key = name
    else:
      key = f"{annotation.index:06d}"
    groups.setdefault(key, []).append(annotation)
  for key, group in groups.items():
    report.records_read += 1
    try:
      example = _join_one(key, group, pictures, report)
    except Dropped as dropped:
      report.add(dropped.reason, group[0].where)
      continue
    report.records_kept += 1
    if not group_by_image:
      texts = tuple(same_box[_thing(group[0])])
      example = dataclasses.replace(example, same_box=texts)
    yield example


def _join_one(
  key: str,
  group: list[Annotation],
  pictures: PictureFolder,
  report: DropReport,
) -> Example:
  """One example. Raises Dropped."""
  first = group[0]
  width, height = first.size
  if not (_is_side(width) and _is_side(height)):
    raise Dropped(Drop.BAD_RECORD)
  picture = pictures.picture(first.image_file, size=(width, height))
  expressions = []
  for annotation in group:
    report.items_read += 1
    try:
      expression, clipped = _expression(annotation, (width, height))
    except Dropped as dropped:
      report.add(dropped.reason, annotation.where)
      continue
    if clipped:
      report.add(Drop.BOX_CLIPPED, annotation.where)
    report.items_kept += 1
    expressions.append(expression)
  if not expressions:
    raise Dropped(Drop.NO_BOX_LEFT)
  return Example(
    id=key,
    image_file=first.image_file,
    width=width,
    height=height,
    picture=picture,
    expressions=tuple(expressions),
  )


def _expression(
  annotation: Annotation, size: tuple[int, int]
) -> tuple[Expression, bool]:
  """The expression and whether its box was clipped. Raises Dropped."""
  text = annotation.text
  if not _is_text(text):
    raise Dropped(Drop.EMPTY_PHRASE)
  if annotation.size != size:
    raise Dropped(Drop.BAD_BOX)  # Pixels of which of the two pictures?
  xywh = boxes.four_numbers(annotation.box_xywh)
  width, height = size
  box_xyxy, clipped = boxes.check_box(
    boxes.from_pixels(boxes.from_xywh(xywh), width=width, height=height)
  )
  category_id = annotation.category_id
  return Expression(
    index=annotation.index,
    text=text,
    box_xyxy=box_xyxy,
    category_id=category_id if _is_number(category_id) else -1,
    category=annotation.category,
  ), clipped


def _thing(annotation: Annotation) -> tuple[str, str]:
  """Equal for the same picture and box, whatever a file has in their place."""
  return repr(annotation.image_file), repr(annotation.box_xywh)


def _is_text(value: object) -> bool:
  """Whether it is a text that holds a word and can be stored."""
  if not isinstance(value, str) or not value.strip():
    return False
  try:
    value.encode()
  except UnicodeEncodeError:  # Half of a surrogate pair.
    return False
  return True


def _is_side(value: object) -> bool:
  return _is_number(value) and value > 0


def _is_number(value: object) -> bool:
  """Whether it is a whole number that int32 can hold, and not negative."""
  is_whole = isinstance(value, int) and not isinstance(value, bool)
  return is_whole and 0 <= value < 1 << 31
