"""Reads Karpathy's splits of Flickr30k and COCO: pictures with captions.

  {"dataset": "coco", "images": [
    {"filepath": "val2014", "filename": "COCO_val2014_000000391895.jpg",
     "imgid": 0, "cocoid": 391895, "split": "test", "sentids": [770337, …],
     "sentences": [{"raw": "A man with a red helmet …", "tokens": […],
                    "imgid": 0, "sentid": 770337}, …]}, …]}

`filepath` and `cocoid` are COCO's alone.
"""

import pathlib
import posixpath
from collections.abc import Callable, Iterator, Set
from typing import Any

from data.building import json_files, messages
from data.building.drops import Drop, Dropped, DropReport

SPLITS = ("train", "restval", "val", "test")

# The bytes of a picture by its name and the place it is named at, ready to
# store; raises Dropped.
Load = Callable[[str, str], bytes]
Example = tuple[str, dict[str, Any]]


def read_captions(
  path: pathlib.Path,
  report: DropReport,
  load: Load,
  *,
  splits: Set[str],
  one_per_caption: bool = False,
  first: bool = True,
) -> Iterator[Example]:
  """Yields id and features of the good pictures of some splits.

  Args:
    path: the JSON file, which has all splits.
    report: is told of everything; complete when the iterator is exhausted.
      Its items are captions.
    load: gives the pictures.
    splits: those of SPLITS that are read.
    one_per_caption: yields each picture as often as it has captions; else
      once, and `caption` is the first. `captions` are all in either case.
    first: whether this reading of the file counts what is wrong with the file,
      and the records whose split is none of SPLITS; set once per file.
  """
  of_file = report if first else DropReport()
  for where, fields in json_files.read_list(path, "images", of_file):
    split = fields.get("split") if isinstance(fields, dict) else None
    known = isinstance(split, str) and split in SPLITS
    if split not in splits if known else not first:
      continue
    report.records_read += 1
    try:
      if not isinstance(fields, dict):
        raise Dropped(Drop.BAD_JSON)
      if not known:
        raise Dropped(Drop.BAD_SPLIT)
      examples = _examples(fields, where, report, load, one_per_caption)
    except Dropped as dropped:
      report.add(dropped.reason, where)
      continue
    # A picture was read as one record and may be kept as several.
    report.records_read += len(examples) - 1
    yield from examples


def _examples(
  fields: dict[str, Any],
  where: str,
  report: DropReport,
  load: Load,
  one_per_caption: bool,
) -> list[Example]:
  """Raises Dropped: BAD_TEXT, EMPTY_TEXT, NO_CAPTION_LEFT, those of `load`."""
  filename = messages.check_words(fields.get("filename"))
  folder = messages.check_text(fields.get("filepath", ""))
  number = fields.get("cocoid")
  if isinstance(number, int) and not isinstance(number, bool):
    picture_id = str(number)
  else:
    picture_id = posixpath.splitext(filename)[0]
  captions = _captions(fields.get("sentences"), where, report)
  image = load(posixpath.join(folder, filename), where)
  texts = [text for _, text in captions]
  features = {"image": image, "captions": texts}
  if not one_per_caption:
    return [(picture_id, {"id": picture_id, "caption": texts[0]} | features)]
  ids = [f"{picture_id}-{number}" for number, _ in captions]
  return [
    (caption_id, {"id": caption_id, "caption": text} | features)
    for caption_id, text in zip(ids, texts, strict=True)
  ]


def _captions(
  value: Any, where: str, report: DropReport
) -> list[tuple[int, str]]:
  """The good captions and their places, from 1. Raises NO_CAPTION_LEFT."""
  sentences = value if isinstance(value, list) else []
  kept = []
  for number, sentence in enumerate(sentences, 1):
    report.items_read += 1
    raw = sentence.get("raw") if isinstance(sentence, dict) else None
    try:
      kept.append((number, messages.check_words(raw)))
    except Dropped:
      report.add(Drop.BAD_SENTENCE, f"{where}, caption {number}")
  report.items_kept += len(kept)
  if not kept:
    raise Dropped(Drop.NO_CAPTION_LEFT)
  return kept
