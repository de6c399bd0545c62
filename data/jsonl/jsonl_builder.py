"""TFDS builder of the user's own JSONL files.

python -m data.jsonl.jsonl_builder --files my/boxes.jsonl --data_dir DIR
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data.building import builder, features
from data.building.builder import FilesBuilder, Record, Unit
from data.building.drops import DropReport
from data.jsonl import files as reading
from data.jsonl.files import Example, Options
from data.jsonl.grounding import BOX_FORMATS, BOX_ORDERS, Boxes
from data.jsonl.paths import Files, find_files


class Jsonl(FilesBuilder):
  """Examples of JSONL files, each line for the split that it names."""

  NAME = "jsonl"
  TITLE = "JSONL"
  DESCRIPTION = "The user's own pictures, captions, boxes and conversations."
  PATHS = ("files",)
  ARGUMENTS: ClassVar[Mapping[str, str]] = {
    "files": "a JSONL file, a pattern such as 'my/*.jsonl', or several",
    "box_format": "how boxes are written where a line does not say: normalized"
    " (0..1) or pixels (of the upright picture)",
    "box_order": "xyxy or xywh, where a line does not say",
    "allow_absolute": "take pictures by absolute paths, too",
    "skip_bad_lines": "count faulty lines and leave them out; otherwise any"
    " fault ends the preparation and all of them are shown",
    "upright": "turn pictures as their EXIF orientation says; boxes belong to"
    " the upright picture",
    "min_side": "shorter side in pixels below which a picture is a fault",
    "shorter_side": "larger pictures are made so small; 0: kept as they are",
  }
  DEFAULTS: ClassVar[Mapping[str, Any]] = {
    field.name: field.default for field in dataclasses.fields(Options)
  }

  @classmethod
  def find(cls, files: Files) -> list[Unit]:
    """Each file once for each split that its lines name."""
    units = []
    for path in find_files(files):
      splits = reading.splits_of(path)
      if not splits:
        raise ValueError(
          f"expected lines in {path}, found none; write one for each example,"
          " or leave the file out"
        )
      units += [Unit(split, path) for split in splits]
    return units

  @classmethod
  def files(
    cls, units: Sequence[Unit], arguments: Mapping[str, Any]
  ) -> list[pathlib.Path]:
    """The pictures: another picture is another example."""
    options = _options(arguments)
    paths = dict.fromkeys(unit.path for unit in units)
    return [
      picture
      for path in paths
      for picture in reading.picture_paths(path, options)
    ]

  @classmethod
  def make_features(cls) -> dict[str, Any]:
    """All forms in one; what a line does not have is empty."""
    box = tfds.features.Tensor(shape=(4,), dtype=np.float32)
    spans = {
      "message": np.int32,
      "start": np.int32,
      "end": np.int32,
      "image": np.int32,
      "box_xyxy": box,
    }
    family = (
      features.grounded()
      | features.expressions()
      | features.question()
      | features.conversation()
    )
    # A single picture is under both names when it is read, see `sources`.
    del family["image"]
    return family | {"message_phrases": tfds.features.Sequence(spans)}

  @classmethod
  def read(
    cls, unit: Unit, report: DropReport, arguments: dict[str, Any]
  ) -> Iterator[Record]:
    """Yields the examples of a split of a file; FaultyFile where it is."""
    options = _options(arguments)
    for example in reading.read_file(unit.path, unit.split, report, options):
      yield Record(example.line.id, _features(example))


def _options(arguments: Mapping[str, Any]) -> Options:
  """Raises ValueError: an option that is none of its choices."""
  options = Options(
    **{k: v for k, v in arguments.items() if k in Jsonl.DEFAULTS}
  )
  for name, choices in (
    ("box_format", BOX_FORMATS),
    ("box_order", BOX_ORDERS),
  ):
    if getattr(options, name) not in choices:
      raise ValueError(
        f"expected {name} to be {' or '.join(choices)}, found"
        f" {getattr(options, name)!r}"
      )
  return options


def _features(example: Example) -> dict[str, Any]:
  line = example.line
  return {
    "id": line.id,
    "images": list(example.images),
    "caption": line.caption,
    "noun_chunks": [
      {"start": p.start, "end": p.end, "box_xyxy": box, "score": 1.0}
      for p in line.phrases
      for box in _arrays(p.boxes)
    ],
    "ref_exps": [],
    "expressions": [
      {"text": expression.text, "box_xyxy": box}
      for expression in line.expressions
      for box in _arrays(expression.boxes)
    ],
    "question": line.question,
    "answers": list(line.answers),
    "messages": [{"role": m.role, "text": m.text} for m in line.messages],
    "message_phrases": [
      {
        "message": i,
        "start": p.start,
        "end": p.end,
        "image": p.image,
        "box_xyxy": box,
      }
      for i, message in enumerate(line.messages)
      for p in message.phrases
      for box in _arrays(p.boxes)
    ],
  }


def _arrays(boxes: Boxes) -> list[np.ndarray]:
  return [np.asarray(box, np.float32) for box in boxes.xyxy]


if __name__ == "__main__":
  builder.main(Jsonl)
