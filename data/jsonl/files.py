"""Reads a JSONL file: every line is a good record, or its faults are told."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator

from data import FaultyFile
from data.building.drops import Drop, DropReport
from data.building.pictures import Picture
from data.jsonl import lines, values
from data.jsonl.grounding import BoxStyle
from data.jsonl.lines import Faulty, Line
from data.jsonl.picture_files import PictureFiles
from data.jsonl.values import Fault

# Longer lines are no lines.
MAX_LINE_BYTES = 16 << 20
# Faults that an error shows.
SHOWN_FAULTS = 20


@dataclasses.dataclass(frozen=True)
class Options:
  """How files are read; see `ARGUMENTS` of the builder."""

  box_format: str = "normalized"
  box_order: str = "xyxy"
  allow_absolute: bool = False
  skip_bad_lines: bool = False
  upright: bool = True
  min_side: int = 32
  shorter_side: int = 0

  def style(self) -> BoxStyle:
    """Of boxes where a line does not say."""
    return BoxStyle(self.box_format, self.box_order)

  def pictures(self, path: pathlib.Path) -> PictureFiles:
    """The pictures of a file's lines."""
    return PictureFiles(
      path.parent,
      allow_absolute=self.allow_absolute,
      upright=self.upright,
      min_side=self.min_side,
      shorter_side=self.shorter_side,
    )


@dataclasses.dataclass(frozen=True)
class Example:
  """A good line and its pictures, encoded as they are stored."""

  number: int
  line: Line
  images: tuple[bytes, ...]


def numbered_lines(path: pathlib.Path) -> Iterator[tuple[int, bytes]]:
  """Number, from 1, and bytes of each line that is not blank."""
  with open(path, "rb") as file:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
      number += 1
      if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
      if line.strip():
        yield number, line.strip()
      while line and len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
        line = file.readline(MAX_LINE_BYTES + 1)


def splits_of(path: pathlib.Path) -> list[str]:
  """The splits that a file's lines are for, in order of first appearance.

  Lines that cannot be read count for the default split, where they are told.
  """
  return list(
    dict.fromkeys(_split_of(line) for _, line in numbered_lines(path))
  )


def _split_of(line: bytes) -> str:
  try:
    return lines.split_of(values.parse_object(line))
  except Fault:
    return lines.DEFAULT_SPLIT


def picture_paths(path: pathlib.Path, options: Options) -> list[pathlib.Path]:
  """The pictures there are of those that a file's lines name, each once."""
  pictures = options.pictures(path)
  found = {}
  for _, line in numbered_lines(path):
    try:
      fields = values.parse_object(line)
    except Fault:
      continue
    names = fields.get("images", [fields.get("image")])
    for name in names if isinstance(names, list) else []:
      try:
        found[pictures.path(values.text_at(name, ""), "")] = None
      except Fault:
        continue
  return sorted(found)


def read_file(
  path: pathlib.Path, split: str | None, report: DropReport, options: Options
) -> Iterator[Example]:
  """Yields the examples of one split of a file, in their order.

  Args:
    path: of the file.
    split: whose lines are read; None: all.
    report: is told of everything; items are boxes.
    options: see there.

  Raises:
    FaultyFile: when all has been read, with the faults of all splits, unless
      faulty lines are to be left out.
  """
  report.files_read += 1
  pictures = options.pictures(path)
  faults: list[str] = []
  ids: dict[str, int] = {}
  for number, text in numbered_lines(path):
    mine = split in (None, _split_of(text))
    report.records_read += mine
    try:
      line = _parse(path, number, text, pictures, options)
      # What another split has is decoded there.
      images = _images(line, pictures) if mine else ()
      first = ids.setdefault(f"{line.split}/{line.id}", number)
      if first != number and not options.skip_bad_lines:
        raise Faulty([_repeated(line, first)])
    except Faulty as faulty:
      faults += [f"{path}:{number}: {fault}" for fault in faulty.faults]
      if mine:
        # A line counts once, for what comes first.
        report.add(faulty.faults[0].reason, f"{path.name}:{number}")
      continue
    # Of a file with a fault nothing is prepared, but all is checked.
    if not mine or (faults and not options.skip_bad_lines):
      continue
    boxes = line.boxes()
    num_boxes = sum(len(b.xyxy) for b in boxes)
    if clipped := sum(b.num_clipped for b in boxes):
      report.add(Drop.BOX_CLIPPED, f"{path.name}:{number}", clipped)
    for picture in images:
      if picture.reencoded:
        report.add(Drop.PICTURE_REENCODED, f"{path.name}:{number}")
      if picture.resized:
        report.add(Drop.PICTURE_RESIZED, f"{path.name}:{number}")
    report.items_read += num_boxes
    report.items_kept += num_boxes
    report.records_kept += 1
    yield Example(number, line, tuple(picture.data for picture in images))
  if faults and not options.skip_bad_lines:
    raise FaultyFile(describe(path, faults))


def describe(path: pathlib.Path, faults: list[str]) -> str:
  """All that is wrong with a file, the first faults in words."""
  count = collections.Counter(fault.split(": ")[0] for fault in faults)
  more = len(faults) - SHOWN_FAULTS
  return "\n".join(
    [
      f"expected every line of {str(path)!r} to be good, found"
      f" {len(faults)} fault(s) in {len(count)} line(s); correct them, or leave"
      " the lines out with skip_bad_lines:",
      *(f"  {fault}" for fault in faults[:SHOWN_FAULTS]),
      *([f"  and {more} more"] if more > 0 else []),
    ]
  )


def _parse(
  path: pathlib.Path,
  number: int,
  text: bytes,
  pictures: PictureFiles,
  options: Options,
) -> Line:
  """The line. Raises Faulty."""
  try:
    if len(text) > MAX_LINE_BYTES:
      raise Fault(
        Drop.BAD_JSON,
        "",
        f"expected at most {MAX_LINE_BYTES} bytes in a line, found more; write"
        " pictures as files of their own",
      )
    fields = values.parse_object(text)
  except Fault as fault:
    raise Faulty([fault]) from None
  return lines.parse(
    fields,
    default_id=f"{path.name}:{number}",
    style=options.style(),
    measure=pictures.measure,
  )


def _images(line: Line, pictures: PictureFiles) -> tuple[Picture, ...]:
  """The line's pictures. Raises Faulty."""
  found, faults = [], []
  for i, name in enumerate(line.images):
    field = "image" if len(line.images) == 1 else f"images[{i}]"
    try:
      found.append(pictures.read(name, field))
    except Fault as fault:
      faults.append(fault)
  if faults:
    raise Faulty(faults)
  return tuple(found)


def _repeated(line: Line, first: int) -> Fault:
  return Fault(
    Drop.DUPLICATE_ID,
    "id",
    f"expected an id of its own, found {values.show(line.id)}, which line"
    f" {first} has; change one, or leave ids out",
  )
