"""Joins captions, phrases, boxes and pictures, from either form of the data."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from data.building import boxes, json_files
from data.building.drops import Drop, Dropped, DropReport
from data.building.picture_folder import PictureFolder
from data.building.pictures import Picture
from data.flickr30k_entities import entities, sentences

# A file of sentences has a kilobyte.
MAX_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Phrase:
  """A phrase of a caption, and the boxes of what it means.

  start, end   characters of the caption, end exclusive
  boxes_xyxy   normalised; none, one or several
  boxes_pixels the same as they are written, and those that are no good
  without_box  why there is none: "scene" (it is all of the picture), "nobox"
               (not to be seen), "unmarked" (nothing is said of it); "" where
               there are boxes
  entity_id    the same for all phrases about the picture that mean the same;
               "" where the annotations do not tell
  types        people, clothing, ...; none where the annotations do not tell
  """

  start: int
  end: int
  boxes_xyxy: tuple[boxes.BoxXyxy, ...]
  boxes_pixels: tuple[boxes.BoxXyxy, ...] = ()
  without_box: str = ""
  entity_id: str = ""
  types: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Example:
  """A picture with one of its captions.

  index          number in the split, in the order of the annotations
  sentence       number of the caption among those of the picture
  width, height  in pixels of the picture as it was annotated
  """

  id: str
  index: int
  image_file: str
  sentence: int
  width: int
  height: int
  caption: str
  phrases: tuple[Phrase, ...]
  picture: Picture


def read_official(
  list_path: pathlib.Path,
  folder: pathlib.Path,
  pictures: PictureFolder,
  report: DropReport,
) -> Iterator[Example]:
  """Yields the examples of a split of the data as it was published.

  Args:
    list_path: the split's file, the number of a picture in each line.
    folder: of the folders `Annotations` and `Sentences`.
    pictures: where they are.
    report: is told of everything; complete when the iterator is exhausted.
  """
  index = 0
  for number, name in enumerate(list_path.read_text().split(), start=1):
    where = f"{list_path.name}:{number}"
    try:
      # Numbers are parts of paths, so they are numbers.
      if not (name.isascii() and name.isdecimal()):
        raise Dropped(Drop.BAD_RECORD)
      text = _read(folder / "Sentences" / f"{name}.txt")
    except Dropped as dropped:
      report.records_read += 1
      report.add(dropped.reason, where)
      continue
    lines = [line for line in text.split(b"\n") if line.strip()]
    first, index = index, index + len(lines)
    report.records_read += len(lines)
    where = f"{name}.xml"
    try:
      annotated = entities.parse(
        _read(folder / "Annotations" / where), report, where
      )
      size = annotated.width, annotated.height
      picture = pictures.picture(annotated.image_file, size=size)
    except Dropped as dropped:
      report.add(dropped.reason, where, len(lines))
      continue
    for sentence, line in enumerate(lines):
      where = f"{name}.txt:{sentence + 1}"
      try:
        caption, phrases = _parse(line, annotated)
      except Dropped as dropped:
        report.add(dropped.reason, where)
        continue
      count = sum(len(phrase.boxes_xyxy) for phrase in phrases)
      report.items_read += count
      report.items_kept += count
      report.records_kept += 1
      yield Example(
        id=f"{name}#{sentence}",
        index=first + sentence,
        image_file=annotated.image_file,
        sentence=sentence,
        width=annotated.width,
        height=annotated.height,
        caption=caption,
        phrases=phrases,
        picture=picture,
      )


def read_mdetr(
  path: pathlib.Path,
  pictures: PictureFolder,
  report: DropReport,
) -> Iterator[Example]:
  """Yields the examples of a `final_flickr_separateGT_{split}.json`.

  It tells neither entities nor types, and only phrases with boxes. Boxes that
  are nearly the same are one in it.

  Args:
    path: the file.
    pictures: where they are.
    report: is told of everything; complete when the iterator is exhausted.

  Raises:
    BrokenJson: it is no JSON.
    ValueError: it has no lists of images and annotations.
  """
  images, annotations = _lists(json_files.load(path), path)
  by_image: dict[int, list[tuple[str, dict[str, Any]]]] = {
    image["id"]: []
    for image in images
    if isinstance(image, dict) and isinstance(image.get("id"), int)
  }
  for number, annotation in enumerate(annotations):
    where = f"{path.name}:annotations[{number}]"
    known = isinstance(annotation, dict)
    image_id = annotation.get("image_id") if known else None
    if isinstance(image_id, int) and image_id in by_image:
      by_image[image_id].append((where, annotation))
    else:
      report.items_read += 1
      report.add(Drop.STRAY_ANNOTATION, where)
  seen = set()
  for index, image in enumerate(images):
    report.records_read += 1
    where = f"{path.name}:images[{index}]"
    try:
      if not isinstance(image, dict) or not isinstance(image.get("id"), int):
        raise Dropped(Drop.BAD_RECORD)
      if image["id"] in seen:
        raise Dropped(Drop.DUPLICATE_ID)
      seen.add(image["id"])
      example = _mdetr_example(
        index, image, by_image[image["id"]], pictures, report
      )
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    report.records_kept += 1
    yield example


def _parse(
  line: bytes, annotated: entities.Entities
) -> tuple[str, tuple[Phrase, ...]]:
  """Caption and phrases of a line of `Sentences`. Raises Dropped."""
  try:
    caption, mentions = sentences.parse(line.decode())
  except UnicodeDecodeError:
    raise Dropped(Drop.BAD_CAPTION) from None
  phrases = []
  for mention in mentions:
    found = annotated.boxes.get(mention.entity_id, ())
    if found:
      without_box = ""
    elif mention.entity_id in annotated.scene:
      without_box = "scene"
    elif mention.entity_id in annotated.nobox:
      without_box = "nobox"
    else:
      without_box = "unmarked"
    phrases.append(
      Phrase(
        start=mention.start,
        end=mention.end,
        boxes_xyxy=found,
        boxes_pixels=annotated.pixels.get(mention.entity_id, ()),
        without_box=without_box,
        entity_id=mention.entity_id,
        types=mention.types,
      )
    )
  return caption, tuple(phrases)


def _mdetr_example(
  index: int,
  image: dict[str, Any],
  annotations: list[tuple[str, dict[str, Any]]],
  pictures: PictureFolder,
  report: DropReport,
) -> Example:
  """One example of MDETR's. Raises Dropped."""
  caption, name = image.get("caption"), image.get("file_name")
  # Sizes are written as text.
  width, height = (_side(image.get(side)) for side in ("width", "height"))
  if not isinstance(caption, str) or not isinstance(name, str):
    raise Dropped(Drop.BAD_RECORD)
  if not caption.strip():
    raise Dropped(Drop.EMPTY_CAPTION)
  evaluated = image.get("tokens_positive_eval")
  if not isinstance(evaluated, list):
    raise Dropped(Drop.BAD_RECORD)
  picture = pictures.picture(name, size=(width, height))
  # Of a phrase in several parts the first counts, as in the evaluation.
  spans = [value[0] if _is_list(value) else value for value in evaluated]
  good = [tuple(span) for span in spans if _is_span(span, caption)]
  where = f"{name}#{index}"
  bad = len(spans) - len(good)
  if bad:
    report.items_read += bad
    report.add(Drop.SPAN_OUTSIDE, where, bad)
  found: list[list[boxes.BoxXyxy]] = [[] for _ in good]
  pixels: list[list[boxes.BoxXyxy]] = [[] for _ in good]
  for place, annotation in annotations:
    for number in _phrases_of(annotation, good, report, place):
      box = report.read_item(
        lambda a=annotation, p=pixels[number]: _box_of(a, width, height, p),
        place,
      )
      if box is not None:
        found[number].append(box)
  sentence = image.get("sentence_id")
  if not isinstance(sentence, int):
    sentence = index
  return Example(
    id=f"{pathlib.PurePosixPath(name).stem}#{sentence}",
    index=index,
    image_file=name,
    sentence=sentence,
    width=width,
    height=height,
    caption=caption,
    phrases=tuple(
      Phrase(start, end, tuple(box), tuple(raw), "" if box else "unmarked")
      for (start, end), box, raw in zip(good, found, pixels, strict=True)
    ),
    picture=picture,
  )


def _box_of(
  annotation: Mapping[str, Any],
  width: int,
  height: int,
  pixels: list[boxes.BoxXyxy],
) -> tuple[boxes.BoxXyxy, bool]:
  """The box and whether it was clipped; adds what is written to `pixels`.

  Raises Dropped: why it is none.
  """
  box = boxes.from_xywh(boxes.four_numbers(annotation.get("bbox")))
  pixels.append(box)
  return entities.from_one(box, width, height)


def _phrases_of(
  annotation: dict[str, Any],
  spans: list[tuple[int, int]],
  report: DropReport,
  where: str,
) -> list[int]:
  """Numbers of the phrases that a box belongs to."""
  tokens = annotation.get("tokens_positive")
  own = [tuple(s) for s in tokens if _is_list(s)] if _is_list(tokens) else []
  numbers = [number for number, span in enumerate(spans) if span in own]
  if not numbers:
    report.items_read += 1
    report.add(Drop.STRAY_ANNOTATION, where)
  return numbers


def _lists(content: Any, path: pathlib.Path) -> tuple[list[Any], list[Any]]:
  """The lists of a COCO-style file."""
  found = content if isinstance(content, dict) else {}
  images, annotations = found.get("images"), found.get("annotations")
  if not isinstance(images, list) or not isinstance(annotations, list):
    raise ValueError(
      f"{path}: expected a JSON object with lists 'images' and 'annotations',"
      f" found {sorted(map(str, found)) or type(content).__name__}"
    )
  return images, annotations


def _read(path: pathlib.Path) -> bytes:
  """A small file. Raises Dropped."""
  try:
    with open(path, "rb") as file:
      data = file.read(MAX_BYTES + 1)
  except FileNotFoundError:
    raise Dropped(Drop.MISSING_ANNOTATION) from None
  except OSError:
    raise Dropped(Drop.UNREADABLE_SAMPLE) from None
  if len(data) > MAX_BYTES:
    raise Dropped(Drop.BAD_RECORD)
  return data


def _is_list(value: Any) -> bool:
  return isinstance(value, list) and len(value) > 0


def _is_span(value: Any, caption: str) -> bool:
  if not _is_list(value) or len(value) != 2:
    return False
  start, end = value
  if type(start) is not int or type(end) is not int:
    return False
  return 0 <= start < end <= len(caption) and bool(caption[start:end].strip())


def _side(value: Any) -> int:
  """A side of a picture. Raises Dropped: BAD_RECORD."""
  text = str(value)
  if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) < 1 << 20):
    raise Dropped(Drop.BAD_RECORD)
  return int(text)
