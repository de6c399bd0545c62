"""Reads the two forms RefCOCO comes in into one list of expressions.

MDETR's JSON files have a picture, a caption and a box for each expression;
REFER's folders have a pickle of references, each with several sentences, and
COCO's `instances.json` with the boxes. MDETR's were made from REFER's, so both
give the same expressions in the same order.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from data.building import json_files
from data.building.drops import Drop, DropReport
from data.refcoco import pickles


@dataclasses.dataclass(frozen=True)
class Annotation:
  """One expression as it is annotated. Nothing of it is checked yet.

  index        its number in the split, from 0, in the order of the file
  text         the expression, as it is written
  image_file   file name of the picture
  size         width and height of the picture in pixels
  box_xywh     upper left corner, width and height in pixels
  category_id  of COCO
  category     its name, "" where the file does not tell
  where        the place, for the report
  """

  index: int
  text: Any
  image_file: Any
  size: tuple[Any, Any]
  box_xywh: Any
  category_id: Any
  category: Any
  where: str


def read_mdetr(path: pathlib.Path, report: DropReport) -> Iterator[Annotation]:
  """Yields the expressions of a `finetune_{dataset}_{split}.json`.

  Args:
    path: the file.
    report: is told of expressions without a box and boxes without expression.

  Raises:
    BrokenJson: it is no JSON.
    ValueError: it has no lists of images and annotations.
  """
  content = json_files.load(path)
  images = _list_of(content, "images", path)
  boxes: dict[Any, Mapping[str, Any]] = {}
  ids = {_key(image, "id") for image in images}
  for number, annotation in enumerate(_list_of(content, "annotations", path)):
    image_id = _key(annotation, "image_id")
    reason = None
    if image_id is None or image_id not in ids:
      reason = Drop.STRAY_ANNOTATION
    elif image_id in boxes:
      reason = Drop.SECOND_BOX
    if reason is None:
      boxes[image_id] = annotation
    else:
      report.items_read += 1
      report.add(reason, f"{path.name}:annotations[{number}]")
  names = _category_names(content)
  seen = set()
  for index, image in enumerate(images):
    where = f"{path.name}:images[{index}]"
    image_id = _key(image, "id")
    reason = None
    if image_id is None:
      reason = Drop.BAD_RECORD
    elif image_id in seen:
      reason = Drop.DUPLICATE_ID
    elif image_id not in boxes:
      reason = Drop.MISSING_ANNOTATION
    if reason is not None:
      _drop(report, reason, where)
      continue
    seen.add(image_id)
    annotation = boxes[image_id]
    yield _annotation(
      index, image.get("caption"), image, annotation, annotation, names, where
    )


def read_refer(
  path: pathlib.Path, split: str, report: DropReport
) -> Iterator[Annotation]:
  """Yields the expressions of one split of a `refs(...).p`.

  Args:
    path: the pickle; COCO's `instances.json` lies beside it.
    split: "train", "val", "testA", "testB" or "test".
    report: is told of references without picture or box.

  Raises:
    RefusedPickle: the pickle is damaged or more than plain data.
    BrokenJson: `instances.json` is no JSON.
    ValueError: one of them does not hold the lists it should.
  """
  references = pickles.load(path)
  if not isinstance(references, list):
    raise ValueError(
      f"{path}: expected a list of references, found a"
      f" {type(references).__name__}"
    )
  instances_path = path.with_name("instances.json")
  instances = json_files.load(instances_path)
  images = _by_id(_list_of(instances, "images", instances_path))
  boxes = _by_id(_list_of(instances, "annotations", instances_path))
  names = _category_names(instances)
  seen = set()
  index = -1
  for number, reference in enumerate(references):
    where = f"{path.name}:refs[{number}]"
    if not isinstance(reference, dict):
      _drop(report, Drop.BAD_RECORD, where)
      continue
    if reference.get("split") != split:
      continue
    sentences = reference.get("sentences")
    if not isinstance(sentences, list) or not sentences:
      _drop(report, Drop.BAD_RECORD, where)
      continue
    image = images.get(_key(reference, "image_id"))
    box = boxes.get(_key(reference, "ann_id"))
    for sentence in sentences:
      index += 1
      sentence_id = _key(sentence, "sent_id")
      if sentence_id is None:
        reason = Drop.BAD_RECORD
      elif sentence_id in seen:
        reason = Drop.DUPLICATE_ID
      elif image is None:
        reason = Drop.UNKNOWN_IMAGE
      elif box is None:
        reason = Drop.MISSING_ANNOTATION
      elif box.get("image_id") != reference.get("image_id"):
        reason = Drop.BAD_RECORD  # The box is on another picture.
      else:
        reason = None
      if reason is not None:
        _drop(report, reason, f"{where}:{sentence_id}")
        continue
      seen.add(sentence_id)
      # The reference's own file_name ends with the number of its box.
      yield _annotation(
        index,
        sentence.get("sent"),
        image,
        box,
        reference,
        names,
        f"{where}:{sentence_id}",
      )


def _annotation(index, text, image, box, of_category, names, where):
  """What both formats say, in one form; nothing is checked yet."""
  category_id = _key(of_category, "category_id")
  return Annotation(
    index=index,
    text=text,
    image_file=image.get("file_name"),
    size=(image.get("width"), image.get("height")),
    box_xywh=box.get("bbox"),
    category_id=category_id,
    category=names.get(category_id, ""),
    where=where,
  )


def _drop(report: DropReport, reason: Drop, where: str) -> None:
  report.records_read += 1
  report.add(reason, where)


def _list_of(content: Any, name: str, path: pathlib.Path) -> list[Any]:
  """One of the lists of a COCO-style file."""
  values = content.get(name) if isinstance(content, dict) else None
  if not isinstance(values, list):
    raise ValueError(
      f"{path}: expected a JSON object with lists 'images' and 'annotations',"
      f" found no list {name!r}"
    )
  return values


def _key(fields: Any, name: str) -> int | str | None:
  """An id of an object; None where there is none, or something else."""
  value = fields.get(name) if isinstance(fields, dict) else None
  return value if isinstance(value, int | str) else None


def _by_id(values: list[Any]) -> dict[int | str, dict[str, Any]]:
  found: dict[int | str, dict[str, Any]] = {}
  for value in values:
    number = _key(value, "id")
    if number is not None:
      found.setdefault(number, value)
  return found


def _category_names(content: dict[str, Any]) -> dict[int | str, str]:
  categories = content.get("categories")
  if not isinstance(categories, list):
    return {}
  return {
    number: str(category.get("name", ""))
    for number, category in _by_id(categories).items()
  }
