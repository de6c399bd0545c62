"""Which of the boxes that a grounder found are kept.

First each box by itself: it has to be a box in the picture, its score above
the threshold, its size within bounds. Then all boxes of a picture, best first:
one that overlaps a better one too much is suppressed (non-maximum suppression),
whether they are of the same phrase or not.
"""

import dataclasses
import math
from collections.abc import Sequence

from data.building import boxes
from data.building.boxes import BoxXyxy
from data.building.drops import Drop, Dropped, DropReport
from data.grit.build.grounding import ScoredBox


@dataclasses.dataclass(frozen=True)
class SelectionOptions:
  """Thresholds.

  Where two boxes of different phrases overlap, the paper says that those with
  a high overlap are removed, and no number. In the one record that is printed
  beside the release, "a wire hanger" and "a paper cover" are both kept with an
  intersection over union of 0.69, so the number is above: 0.9 here, which
  leaves one of two boxes that are hardly told apart. Within a phrase it is
  0.6, which is where GLIP, the paper's grounder, suppresses boxes of the same
  words by itself (`MODEL.ATSS.NMS_TH`); other grounders may not do so at all.

  Attributes:
    min_score: boxes with a higher score are kept (0.65 in the paper, which
      says "higher than").
    nms_iou: a box of another phrase is suppressed above this intersection
      over union with a better one; 1 never.
    nms_iou_phrase: the same for boxes of the same phrase.
    min_side: shorter sides are too small, as a part of the picture's side.
    max_area: larger boxes are too large, as a part of the picture's area.

  Raises:
    ValueError: one of them is not a number within 0 and 1.
  """

  min_score: float = 0.65
  nms_iou: float = 0.9
  nms_iou_phrase: float = 0.6
  min_side: float = 0.0
  max_area: float = 1.0

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if not 0 <= value <= 1:
        raise ValueError(
          f"expected {field.name} within 0 and 1, found {value}: it is a part"
          " of the whole, not pixels or percent"
        )


@dataclasses.dataclass(frozen=True)
class _Candidate:
  """A box that is good by itself: the phrase's number, and whether clipped."""

  phrase: int
  found: ScoredBox
  clipped: bool


def select(
  found: Sequence[Sequence[ScoredBox]],
  options: SelectionOptions,
  report: DropReport,
  where: str,
) -> list[list[ScoredBox]]:
  """The boxes of each phrase that are kept, best first.

  Of equal scores, the box of the earlier phrase comes first, then the one that
  was found first.

  Args:
    found: the boxes of each phrase of a pair, as a grounder gave them.
    options: the thresholds.
    report: counts each box as an item, kept or dropped for a reason: BAD_BOX,
      NOT_FINITE, BAD_SCORE, LOW_SCORE, BOX_OUTSIDE, BOX_EMPTY, SMALL_BOX,
      LARGE_BOX, REPEATED_BOX, SUPPRESSED_BOX.
    where: the pair, for the report.

  Returns:
    As many lists as there are phrases; corners are float32 values in 0..1.
  """
  good: list[_Candidate] = []
  for phrase, phrase_boxes in enumerate(found):
    for box in phrase_boxes:
      report.items_read += 1
      try:
        good.append(_Candidate(phrase, *_check(box, options)))
      except Dropped as dropped:
        report.add(dropped.reason, where)
  good.sort(key=lambda candidate: -candidate.found.score)  # Stable.
  good = _without_repeated(good, report, where)
  result: list[list[ScoredBox]] = [[] for _ in found]
  for candidate, is_kept in zip(good, _suppress(good, options), strict=True):
    if not is_kept:
      report.add(Drop.SUPPRESSED_BOX, where)
      continue
    if candidate.clipped:
      report.add(Drop.BOX_CLIPPED, where)
    report.items_kept += 1
    result[candidate.phrase].append(candidate.found)
  return result


def iou(first: Sequence[float], second: Sequence[float]) -> float:
  """Intersection over union of two boxes x1, y1, x2, y2; 0 without area.

  Plain numbers: a pair has a handful of boxes, for which arrays are slower.
  """
  width = min(first[2], second[2]) - max(first[0], second[0])
  height = min(first[3], second[3]) - max(first[1], second[1])
  if width <= 0 or height <= 0:
    return 0.0
  area = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (first, second))
  return width * height / (area - width * height)


def _check(box: ScoredBox, options: SelectionOptions) -> tuple[ScoredBox, bool]:
  """A box that is good by itself. Raises Dropped."""
  try:
    score = float(box.score)
    corners: Sequence[float] = [float(corner) for corner in box.box_xyxy]
  except (TypeError, ValueError, OverflowError):
    raise Dropped(Drop.BAD_BOX) from None
  corners = boxes.four_numbers(corners)
  if not math.isfinite(score):
    raise Dropped(Drop.NOT_FINITE)
  if not 0 <= score <= 1:
    raise Dropped(Drop.BAD_SCORE)
  if score <= options.min_score:
    raise Dropped(Drop.LOW_SCORE)
  checked, clipped = boxes.check_box(corners)
  width, height = _sides(checked)
  if min(width, height) < options.min_side:
    raise Dropped(Drop.SMALL_BOX)
  if width * height > options.max_area:
    raise Dropped(Drop.LARGE_BOX)
  return ScoredBox(checked, score), clipped


def _sides(box_xyxy: BoxXyxy) -> tuple[float, float]:
  x1, y1, x2, y2 = box_xyxy
  return x2 - x1, y2 - y1


def _without_repeated(
  candidates: list[_Candidate], report: DropReport, where: str
) -> list[_Candidate]:
  """The first of those with the same corners of the same phrase."""
  kept: dict[tuple[int, BoxXyxy], _Candidate] = {}
  for candidate in candidates:
    key = candidate.phrase, candidate.found.box_xyxy
    if key in kept:
      report.add(Drop.REPEATED_BOX, where)
    else:
      kept[key] = candidate
  return list(kept.values())


def _suppress(
  candidates: list[_Candidate], options: SelectionOptions
) -> list[bool]:
  """Which boxes, best first, overlap no better one that is kept too much."""
  kept: list[_Candidate] = []
  result: list[bool] = []
  for candidate in candidates:
    box = candidate.found.box_xyxy
    is_kept = True
    for better in kept:
      same = better.phrase == candidate.phrase
      limit = options.nms_iou_phrase if same else options.nms_iou
      if iou(box, better.found.box_xyxy) > limit:
        is_kept = False
        break
    if is_kept:
      kept.append(candidate)
    result.append(is_kept)
  return result
