"""Draws some records of built GrIT shards into one picture.

Boxes and the words they belong to have one colour. In the caption these are
the expressions; beneath are the noun chunks they grew from, with the score of
the best box of each. A box that no expression has is dashed.
"""

import collections
import io
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from data.building import archive, pictures, samples
from data.building.drops import Drop, Dropped, DropReport
from data.grit import records, shards
from data.grit.records import Item, Record
from kosmos2_jax import visualize
from kosmos2_jax.text.grounded import Box, GroundedText, Phrase

COLUMNS = 4
SIDE = 320  # Longer side of a picture, pixels.
SMALL_SIDE = 160  # Pictures with a shorter one are enlarged.


def draw(
  given: shards.Shards, path: str | os.PathLike, *, count: int, seed: int = 0
) -> int:
  """Draws a sample of the records, and returns of how many it is.

  Shards have the same share of the sample, as far as they go; the same
  shards, count and seed give the same picture. Records that cannot be read
  are passed over, and others take their place.

  Args:
    given: the shards; see `data.grit.shards.find_shards`.
    path: the picture to write; its folder is made.
    count: how many records, at most.
    seed: of the sample.

  Raises:
    FileNotFoundError: there are no such shards.
    ValueError: no record can be read, or the path's suffix is no picture's.
  """
  drawn = [draw_record(record) for record in choose(given, count, seed)]
  if not drawn:
    raise ValueError(
      f"expected records with boxes in the shards {given!s}, found none that"
      " can be read; were they built?"
    )
  output = Path(path)
  output.parent.mkdir(parents=True, exist_ok=True)
  visualize.grid(drawn, COLUMNS).save(output)
  return len(drawn)


def choose(given: shards.Shards, count: int, seed: int) -> list[Record]:
  """The records that `draw` draws."""
  paths = shards.find_shards(given)
  random.Random(seed).shuffle(paths)
  # No more shards are opened than records are wanted, unless some have none.
  waiting = collections.deque(_shuffled(path, seed) for path in paths)
  chosen: list[Record] = []
  while waiting and len(chosen) < count:
    shard = waiting.popleft()
    record = next(shard, None)
    if record is not None:
      chosen.append(record)
      waiting.append(shard)
  return chosen


def draw_record(record: Record) -> Image.Image:
  """One picture with its boxes and its caption."""
  caption = record.caption
  expressions = _phrases(record.ref_exps, caption)
  chunks = _phrases(record.noun_chunks, caption)
  # As `draw_grounding` colours phrases: by their words, in their order.
  colors: dict[str, visualize.Color] = {}
  for phrase in expressions:
    number = len(colors) % len(visualize.COLORS)
    colors.setdefault(phrase.text, visualize.COLORS[number])
  alone = []
  line: list[tuple[str, visualize.Color]] = [("chunks: ", visualize.GRAY)]
  for chunk in chunks:
    owner = _owner(chunk, expressions)
    if owner is None:
      owner = chunk
      alone.append(chunk)
      number = len(colors) % len(visualize.COLORS)
      colors.setdefault(chunk.text, visualize.COLORS[number])
    best = max(box.score for box in chunk.boxes)
    if chunk is not chunks[0]:
      line.append((", ", visualize.GRAY))
    line.append((f"{chunk.text} {best:.2f}", colors[owner.text]))
  return visualize.draw_grounding(
    Image.open(io.BytesIO(record.image)),
    GroundedText(caption, expressions),
    alone,
    [caption, line] if chunks else [caption],
    min_side=SMALL_SIDE,
    max_side=SIDE,
  )


def _owner(chunk: Phrase, expressions: Sequence[Phrase]) -> Phrase | None:
  """The shortest expression around a chunk that has a box of it."""
  boxes = {box.xyxy for box in chunk.boxes}
  own = [
    phrase
    for phrase in expressions
    if phrase.span[0] <= chunk.span[0]
    and chunk.span[1] <= phrase.span[1]
    and boxes & {box.xyxy for box in phrase.boxes}
  ]
  return min(own, key=lambda phrase: len(phrase.text), default=None)


def _phrases(items: Sequence[Item], caption: str) -> list[Phrase]:
  """Items of the same span are one phrase with several boxes."""
  boxes: dict[tuple[int, int], list[Box]] = {}
  for item in items:
    span = item.start, item.end
    boxes.setdefault(span, []).append(Box(item.box_xyxy, item.score))
  return [
    Phrase(caption[slice(*span)], span, own)
    for span, own in sorted(boxes.items())
  ]


def _shuffled(path: Path, seed: int) -> Iterator[Record]:
  """The readable records of a shard; nothing is read before the first."""
  report = DropReport()
  with open(path, "rb") as file:
    found = archive.index(file, path.name, report)
    keys = sorted(found)
    random.Random(f"{seed} {path.name}").shuffle(keys)
    for key in keys:
      sample = samples.Sample(key, f"{path.name}:{key}", found[key], file)
      try:
        yield _read(sample, report)
      except Dropped:
        continue


def _read(sample: samples.Sample, report: DropReport) -> Record:
  """A record of a sample. Raises Dropped."""
  json_bytes = sample.read("json")
  if json_bytes is None:
    raise Dropped(Drop.MISSING_JSON)
  if "picture" not in sample.extents:
    raise Dropped(Drop.MISSING_PICTURE)
  fields: Mapping[str, object] = samples.parse_fields(json_bytes)
  caption, _ = samples.caption_of(fields, sample.read("txt"))
  picture = pictures.check_picture(sample.read("picture"), min_side=1)
  chunks, expressions = records.items_of(fields, caption, report, sample.where)
  return Record(
    id=samples.id_of(fields, sample.key),
    image=picture.data,
    width=picture.width,
    height=picture.height,
    caption=caption,
    noun_chunks=chunks,
    ref_exps=expressions,
  )
