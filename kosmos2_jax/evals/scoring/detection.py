"""Average precision of scored boxes, by COCO's own scorer (pycocotools).

Every question ("where is the red cup?") is a picture to COCO: boxes found for
it are compared with its true boxes and no others. Questions belong to
categories, and precision is averaged over these.

COCO's scorer is asked for one category after the other. Their numbers do not
touch each other, and asked for all at once it would look for every category in
every picture, which for thousands of phrases is millions of times in vain.
"""

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

# COCO's: boxes of a question that count, the best scored ones.
MAX_BOXES = 100
# COCO's names of areas in square pixels: below 32^2, below 96^2, above.
AREAS = ("all", "small", "medium", "large")
IOU_THRESHOLDS = 10  # 0.50, 0.55, ... 0.95
_RECALLS = 101  # 0.00, 0.01, ... 1.00


class Detection(NamedTuple):
  """One question with its answer.

  Attributes:
    category: what it is averaged under.
    true: boxes in pixels, x1, y1, x2, y2, float64 [n, 4].
    found: boxes in pixels, float64 [k, 4].
    scores: of these, higher is surer, float64 [k].
  """

  category: str
  true: Float[np.ndarray, "n 4"]
  found: Float[np.ndarray, "k 4"]
  scores: Float[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Matches:
  """What was found, for one range of areas, sorted by category and score.

  Attributes:
    question: of each found box, int [boxes].
    category: of each found box, int [boxes].
    hit: whether it has a true box of its own, bool [thresholds, boxes].
    counts: whether it is neither of another area nor matched with a true box
      that is, bool [thresholds, boxes].
    true: how many true boxes of the area each question has, int [questions].
  """

  question: Int[np.ndarray, " boxes"]
  category: Int[np.ndarray, " boxes"]
  hit: Bool[np.ndarray, "thresholds boxes"]
  counts: Bool[np.ndarray, "thresholds boxes"]
  true: Int[np.ndarray, " questions"]


class AveragePrecision:
  """Average precision and recall of questions, all or some of them.

  Args:
    detections: one for each question, in order.

  Attributes:
    categories: names, sorted.
    precision: COCO's, float64 [thresholds, categories, areas], averaged over
      the 101 recalls; -1 where a category has no true box of the area.
    recall: COCO's, at most `MAX_BOXES` boxes, same form.

  Raises:
    ModuleNotFoundError: without pycocotools.
  """

  def __init__(self, detections: Sequence[Detection]):
    self.categories = sorted({d.category for d in detections})
    number = {name: i for i, name in enumerate(self.categories)}
    self._category = np.array([number[d.category] for d in detections])
    shape = (IOU_THRESHOLDS, len(self.categories), len(AREAS))
    self.precision = np.full(shape, -1.0)
    self.recall = np.full(shape, -1.0)
    members: list[list[int]] = [[] for _ in self.categories]
    for i, category in enumerate(self._category):
      members[category].append(i)
    images: list[tuple[int, int, Mapping[str, Any]]] = []
    for category, questions in enumerate(members):
      result = _coco([detections[i] for i in questions])
      # [thresholds, recalls, category, areas, numbers of boxes]
      self.precision[:, category] = result.eval["precision"][
        :, :, 0, :, -1
      ].mean(1)
      self.recall[:, category] = result.eval["recall"][:, 0, :, -1]
      for place, image in enumerate(result.evalImgs):
        area, which = divmod(place, len(questions))
        if image is not None:
          images.append((area, questions[which], image))
    self._matches = [
      _join(
        [(question, image) for a, question, image in images if a == area],
        self._category,
      )
      for area in range(len(AREAS))
    ]

  def mean(
    self,
    numbers: Float[np.ndarray, "thresholds categories areas"],
    area: str = "all",
    thresholds: slice = slice(None),
  ) -> float | None:
    """COCO's mean over categories and thresholds.

    Args:
      numbers: `precision` or `recall`.
      area: one of `AREAS`.
      thresholds: which of 0.50, 0.55 and so on.

    Returns:
      The mean, or None where no category has a true box of the area.
    """
    chosen = numbers[thresholds, :, AREAS.index(area)]
    chosen = chosen[chosen > -1]
    return float(np.mean(chosen)) if chosen.size else None

  def resample(
    self,
    questions: Int[np.ndarray, " k"],
    *,
    recall: bool = False,
    area: str = "all",
    thresholds: slice = slice(None),
  ) -> float:
    """The mean precision or recall of questions drawn with repetition.

    Same arithmetic as COCO's, on the pairs that COCO's scorer made; a box of a
    question that was drawn twice counts twice. Up to the order of boxes with
    equal scores that is what COCO's scorer would give. NaN if no true box was
    drawn.
    """
    matches = self._matches[AREAS.index(area)]
    drawn = np.bincount(questions, minlength=len(self._category))
    drawn = drawn.astype(np.float64)
    size = len(self.categories)
    true = np.bincount(self._category, drawn * matches.true, minlength=size)
    weights = drawn[matches.question] * matches.counts[thresholds]
    hits = weights * matches.hit[thresholds]
    some = true > 0
    if not some.any():
      return float("nan")
    if recall:
      sums = _sums(hits, matches.category, size)
      return float(np.mean(sums[:, some] / true[some]))
    found = _running(hits, matches.category, size)
    said = _running(weights, matches.category, size)
    precision = found / np.maximum(said, 1)
    # The best precision at this recall or a higher one, in each category.
    lift = 2.0 * (size - matches.category)
    envelope = np.maximum.accumulate((precision + lift)[:, ::-1], axis=1)
    envelope = envelope[:, ::-1] - lift
    # How many of the 101 recalls are reached at this box and not before; a
    # recall of 0 is reached at the first one.
    steps = np.linspace(0.0, 1.0, _RECALLS)
    at = found / np.maximum(true[matches.category], 1)
    reached = np.searchsorted(steps, at, side="right").astype(np.float64)
    gained = np.diff(reached, axis=1, prepend=0.0)
    first = np.diff(matches.category, prepend=-1) > 0
    gained = np.where(first, reached, gained) * envelope
    areas = _sums(gained, matches.category, size) / _RECALLS
    return float(np.mean(areas[:, some]))


def _sums(
  values: Float[np.ndarray, "thresholds boxes"],
  category: Int[np.ndarray, " boxes"],
  size: int,
) -> Float[np.ndarray, "thresholds categories"]:
  """Sums of each category."""
  rows = [np.bincount(category, row, minlength=size) for row in values]
  return np.stack(rows).astype(np.float64)


def _running(
  values: Float[np.ndarray, "thresholds boxes"],
  category: Int[np.ndarray, " boxes"],
  size: int,
) -> Float[np.ndarray, "thresholds boxes"]:
  """Running sums that begin again with each category."""
  sums = _sums(values, category, size)
  before = np.cumsum(sums, axis=1) - sums
  return np.cumsum(values, axis=1) - before[:, category]


def _join(
  images: Sequence[tuple[int, Mapping[str, Any]]],
  category: Int[np.ndarray, " questions"],
) -> _Matches:
  """COCO's pairs of all questions, for one range of areas."""
  true = np.zeros(len(category), np.int64)
  question, scores = [np.zeros(0, np.int64)], [np.zeros(0)]
  hit = [np.zeros((IOU_THRESHOLDS, 0), bool)]
  counts = [np.zeros((IOU_THRESHOLDS, 0), bool)]
  for number, image in images:
    true[number] = np.sum(np.asarray(image["gtIgnore"]) == 0)
    found = len(image["dtScores"])
    question.append(np.full(found, number))
    scores.append(np.asarray(image["dtScores"], np.float64))
    hit.append(np.reshape(image["dtMatches"], (IOU_THRESHOLDS, found)) > 0)
    counts.append(np.reshape(image["dtIgnore"], (IOU_THRESHOLDS, found)) == 0)
  questions = np.concatenate(question)
  order = np.lexsort((-np.concatenate(scores), category[questions]))
  return _Matches(
    questions[order],
    category[questions][order],
    np.concatenate(hit, axis=1)[:, order],
    np.concatenate(counts, axis=1)[:, order],
    true,
  )


def _coco(detections: Sequence[Detection]) -> Any:
  """COCO's evaluation of questions of one category."""
  try:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "average precision needs pycocotools, which is not installed; install"
      " kosmos2_jax[eval]."
    ) from error
  true, found = [], []
  for image, detection in enumerate(detections, start=1):
    true += [_entry(image, box) for box in detection.true]
    found += [
      _entry(image, box) | {"score": float(score)}
      for box, score in zip(detection.found, detection.scores, strict=True)
    ]
  with contextlib.redirect_stdout(io.StringIO()):  # It tells its progress.
    sides = []
    for entries in (true, found):
      side = COCO()
      side.dataset = {
        "images": [{"id": i + 1} for i in range(len(detections))],
        "categories": [{"id": 1, "name": "it"}],
        # An id of 0 would read as no match.
        "annotations": [
          entry | {"id": i} for i, entry in enumerate(entries, start=1)
        ],
      }
      side.createIndex()
      sides.append(side)
    result = COCOeval(*sides, iouType="bbox")
    result.evaluate()
    result.accumulate()
  return result


def _entry(image: int, box: Float[np.ndarray, "4"]) -> dict[str, Any]:
  """A box as COCO writes it; one whose corners are swapped has no area."""
  x1, y1, x2, y2 = box.tolist()
  width, height = max(x2 - x1, 0.0), max(y2 - y1, 0.0)
  return {
    "image_id": image,
    "category_id": 1,
    "bbox": [x1, y1, width, height],
    "area": width * height,
    "iscrowd": 0,
  }
