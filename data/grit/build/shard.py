"""Builds one shard of grounded pictures from one unit of pairs."""

import hashlib
import io
import pathlib
from collections.abc import Sequence
from typing import Any

from PIL import Image

from data.building.drops import Drop, DropReport
from data.grit.build import account, expressions, pairs, statistics, writing
from data.grit.build.asking import Asker, Grounder
from data.grit.build.chain import STEPS, Candidate, Chain, Parser
from data.grit.build.clock import Clock
from data.grit.build.grounding import ScoredBox
from data.grit.build.options import BuildOptions

TITLE = "GrIT"


def build_shard(
  unit: pairs.Unit,
  folder: pathlib.Path,
  options: BuildOptions,
  parser: Parser,
  grounder: Grounder,
) -> dict[str, Any]:
  """Writes the shard of a unit and then its account, unless both are there.

  The bytes of the shard depend on the unit, the options, the parser and the
  grounder alone.

  Args:
    unit: which pairs; its number names the shard.
    folder: is there already.
    options: what decides what is kept.
    parser: finds the phrases of captions.
    grounder: finds phrases in pictures.

  Returns:
    The account: what it was built of, the report, statistics and times.

  Raises:
    Refused: the shard was built in another way.
    GrounderBroken: the grounder fails all the time.
    OSError: the unit cannot be opened, or the shard not be written.
  """
  facts = {
    "unit": account.unit_facts(unit),
    "options": options.as_dict(),
  } | account.model_facts(parser, grounder)
  told = account.read(folder, unit.number)
  if told is not None:
    account.check_same(told, facts, account.stats_path(folder, unit.number))
    return told
  # Of a run that was killed before the account.
  account.shard_path(folder, unit.number).unlink(missing_ok=True)
  # Some count the phrases that they cannot take; those have no boxes.
  not_asked = getattr(grounder, "num_not_asked", 0)
  clock = Clock(STEPS)
  report = DropReport(title=TITLE)
  counted = statistics.Statistics()
  asker = Asker(grounder, report, clock)
  chain = Chain(options, report, clock, parser, asker)
  with writing.ShardWriter(account.shard_path(folder, unit.number)) as writer:
    for candidate, boxes in chain.run(unit):
      with clock.step("writing"):
        fields = _record(candidate, boxes, options.nested, report)
        key = f"{unit.number:05d}{report.records_kept:04d}"
        fields |= _fetched(candidate, key)
        is_png = candidate.picture.data.startswith(b"\x89PNG")
        writer.add(
          key,
          candidate.picture.data,
          "png" if is_png else "jpg",
          fields,
          candidate.caption,
        )
        report.records_kept += 1
        counted.add(fields)
  not_asked = getattr(grounder, "num_not_asked", 0) - not_asked
  told = facts | {
    # As img2dataset tells them; readers of shards ask for the last two. What
    # was dropped here was dropped on purpose.
    "count": report.records_kept,
    "successes": report.records_kept,
    "failed_to_download": 0,
    "failed_to_resize": 0,
    "report": report.as_dict(),
    "statistics": counted.as_dict(),
    "seconds": clock.stop(),
    "peak_mebibytes": clock.peak_mebibytes(),
    "grounder_errors": asker.errors,
    "phrases_not_asked": not_asked,
  }
  account.write(folder, unit.number, told)
  return told


def _record(
  candidate: Candidate,
  boxes: Sequence[Sequence[ScoredBox]],
  nested: str,
  report: DropReport,
) -> dict[str, Any]:
  """The fields of GrIT, and the notes on what was repaired."""
  pair, picture, where = (
    candidate.pair,
    candidate.picture,
    candidate.pair.where,
  )
  for note, is_so in (
    (Drop.CAPTION_CLEANED, candidate.caption != pair.caption),
    (Drop.PICTURE_REENCODED, picture.reencoded),
    (Drop.PICTURE_RESIZED, picture.resized),
  ):
    if is_so:
      report.add(note, where)
  grounded = [
    (phrase, found)
    for phrase, found in zip(candidate.phrases, boxes, strict=True)
    if found
  ]
  chunks = [(phrase.chunk, found) for phrase, found in grounded]
  whole = [(phrase.expression, found) for phrase, found in grounded]
  if nested == "drop":
    is_outer = expressions.outermost([span for span, _ in whole])
    inner = len(whole) - sum(is_outer)
    if inner:
      report.items_read += inner
      report.add(Drop.CONTAINED_EXPRESSION, where, inner)
    whole = [e for e, outer in zip(whole, is_outer, strict=True) if outer]
  return {
    "clip_similarity_vitb32": pair.extra.get("clip_similarity_vitb32"),
    "clip_similarity_vitl14": pair.extra.get("clip_similarity_vitl14"),
    "id": _as_number(pair.id),
    "url": pair.url,
    "caption": candidate.caption,
    "width": picture.width,
    "height": picture.height,
    "noun_chunks": writing.items(chunks),
    "ref_exps": writing.items(whole),
  }


def _fetched(candidate: Candidate, key: str) -> dict[str, Any]:
  """What img2dataset would tell of the picture."""
  picture = candidate.picture
  size = picture.width, picture.height
  if picture.resized:
    size = Image.open(io.BytesIO(candidate.pair.image)).size
    # Its size in the file is that before it was turned.
    if (size[0] < size[1]) != (picture.width < picture.height):
      size = size[::-1]
  return {
    "key": key,
    "status": "success",
    "error_message": None,
    "original_width": size[0],
    "original_height": size[1],
    "exif": "{}",
    "sha256": hashlib.sha256(candidate.pair.image).hexdigest(),
  }


def _as_number(pair_id: str) -> str | int:
  """Ids that are numbers are told as numbers, as in the released files."""
  if pair_id.isascii() and pair_id.isdigit() and len(pair_id) < 19:
    return int(pair_id) if str(int(pair_id)) == pair_id else pair_id
  return pair_id
