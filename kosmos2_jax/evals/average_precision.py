"""Average precision of boxes and the scores that the model gives them."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kosmos2_jax.evals import examples as reading
from kosmos2_jax.evals import locating
from kosmos2_jax.evals.examples import Example, field
from kosmos2_jax.evals.protocol import (
  Evaluator,
  Json,
  Metric,
  Question,
  Record,
  Scores,
  View,
)
from kosmos2_jax.evals.scoring import boxes as box_scoring
from kosmos2_jax.evals.scoring.detection import (
  AveragePrecision,
  Detection,
)

ITEMS = ("expressions", "noun_chunks", "ref_exps")
CATEGORIES = ("phrase", "category", "one")
# Which of the thresholds 0.50, 0.55, ... a number is over.
_AT_50, _AT_75 = slice(0, 1), slice(5, 6)
# Name -> recall or precision, areas, thresholds. COCO's twelve numbers without
# those for one box and for ten.
_NUMBERS = {
  "AP": (False, "all", slice(None)),
  "AP50": (False, "all", _AT_50),
  "AP75": (False, "all", _AT_75),
  "AP_small": (False, "small", slice(None)),
  "AP_medium": (False, "medium", slice(None)),
  "AP_large": (False, "large", slice(None)),
  "AR": (True, "all", slice(None)),
}


class PhraseAveragePrecision(Evaluator):
  """Asks for the boxes of each text of a picture and scores them as detections.

  Every different text of a picture is asked once, by itself; all boxes that
  the picture has under it are true. Nothing but boxes can be answered, and the
  score of a box is the probability of its location tokens before any
  constraint. What is found for a text is compared with its own true boxes
  only, by COCO's rules, and precision is averaged over categories.

  Attributes:
    items: where texts come from: "expressions", "noun_chunks" or "ref_exps".
    categories: "phrase": texts with the same words are one category;
      "category": that of the expression, as RefCOCO's of COCO; "one": all are
      one, so scores are compared across texts.
    score_threshold: annotated boxes with a lower score are no truth.
  """

  name = "average_precision"
  version = "1"

  def __init__(
    self,
    *,
    items: str = "expressions",
    categories: str = "phrase",
    score_threshold: float = 0.65,
  ):
    """Keeps its arguments; see the attributes.

    Raises:
      ValueError: for unknown items or categories, or those of chunks.
    """
    if items not in ITEMS:
      raise ValueError(f"items must be one of {list(ITEMS)}; got {items!r}.")
    if categories not in CATEGORIES:
      raise ValueError(
        f"categories must be one of {list(CATEGORIES)}; got {categories!r}."
      )
    if categories == "category" and items != "expressions":
      raise ValueError(
        f"only expressions have categories, not {items}; give"
        ' categories="phrase" or "one".'
      )
    self.items = items
    self.categories = categories
    self.score_threshold = score_threshold

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    averaged = {
      "phrase": "averaged over texts",
      "category": "averaged over the categories of the data",
      "one": "all texts are one category",
    }[self.categories]
    truth = self.items
    if self.items != "expressions":
      truth += f" with a score >= {self.score_threshold:g}"
    return (
      f"each text of {truth} of a picture is asked once, prompt"
      " <grounding><phrase>{text}</phrase>, greedy, nothing but boxes can be"
      " answered, a box's score is the probability of its location tokens;"
      f" COCO's average precision over IoU 0.50:0.95, {averaged}, boxes of a"
      " text compared with its own true boxes"
    )

  def questions(self, examples: Iterable[Example]) -> Iterator[Question]:
    """A question for each different text of a picture.

    Pictures without any are passed over; the next question tells how many.

    Args:
      examples: dicts with `image` and the field of `items`; `width` and
        `height` in pixels where the picture was resized.
    """
    passed_over = left_out = 0
    for example in examples:
      texts, none = self._texts(example)
      left_out += none
      if not texts:
        passed_over += 1
        continue
      image = field(example, "image")
      height, width = np.shape(image)[:2]
      size = [
        float(example.get("width") or width),
        float(example.get("height") or height),
      ]
      for number, ((text, category), true) in enumerate(texts.items()):
        yield Question(
          id=f"{example['id']}:{number}",
          group=locating.picture_of(example),
          images=(image,),
          ask={"expression": text},
          truth={
            "boxes": true,
            "category": category,
            "size": size,
            "left_out": left_out,
            "passed_over": passed_over,
          },
        )
        passed_over = left_out = 0

  def _texts(
    self, example: Example
  ) -> tuple[dict[tuple[str, str], list[list[float]]], int]:
    """Boxes by text and category, each box once, and how many are none."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    if self.items == "expressions":
      pairs, left_out = self._expressions(example)
    else:
      items, left_out = reading.phrases(
        example, self.items, self.score_threshold
      )
      pairs = [(p.text, "", list(box.xyxy)) for p in items for box in p.boxes]
    for text, category, box in pairs:
      if self.categories == "phrase":
        category = " ".join(text.split())
      elif self.categories == "one":
        category = "all"
      boxes = found.setdefault((text, category), [])
      if box not in boxes:
        boxes.append(box)
    return found, left_out

  def _expressions(
    self, example: Example
  ) -> tuple[list[tuple[str, str, list[float]]], int]:
    """Text, category and box of each, and how many boxes have no area."""
    found, left_out = [], 0
    for item in field(example, "expressions"):
      category = str(item.get("category", ""))
      if self.categories == "category" and not category:
        raise ValueError(
          f"expression {item['text']!r} of example {example.get('id')!r} has"
          ' no category; give categories="phrase" or "one", or choose another'
          " dataset for the task."
        )
      x1, y1, x2, y2 = box = locating.box_list(item["box_xyxy"])
      if x1 < x2 and y1 < y2:
        found.append((item["text"], category, box))
      else:
        left_out += 1
    return found, left_out

  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """See `locating` for the answers.

    Args:
      predictor: with `locate_batch`.
      questions: any of them.
    """
    texts = [question.ask["expression"] for question in questions]
    boxes = predictor.locate_batch(
      [question.images[0] for question in questions], texts, constrained=True
    )
    return locating.make_answers(predictor, boxes, texts)

  def score(self, records: Sequence[Record]) -> Scores:
    """See the class.

    Raises:
      ValueError: if there is no record.
      ModuleNotFoundError: without pycocotools.
    """
    if not records:
      raise ValueError(
        f"there is no text of {self.items} with a box to score; choose another"
        " dataset or split for the task."
      )
    result = AveragePrecision([_detection(record) for record in records])
    metrics = {}
    for name, (is_recall, area, thresholds) in _NUMBERS.items():
      numbers = result.recall if is_recall else result.precision
      value = result.mean(numbers, area, thresholds)
      if value is None:  # No true box of this size.
        continue
      metrics[name] = Metric(
        value,
        resample=functools.partial(
          result.resample, recall=is_recall, area=area, thresholds=thresholds
        ),
      )
    ap = result.precision[:, :, 0].mean(axis=0)
    shown = {
      name: float(value)
      for name, value in zip(result.categories, ap, strict=True)
      if value > -1
    }
    return Scores(
      n=len(records),
      metrics=metrics,
      counts={
        "true_boxes": sum(len(record.truth["boxes"]) for record in records),
        "boxes": sum(len(record.answer["boxes"]) for record in records),
        "without_box": sum(not record.answer["boxes"] for record in records),
        "categories": len(result.categories),
        "pictures": len({record.group for record in records}),
        "pictures_without_text": sum(r.truth["passed_over"] for r in records),
        "annotated_boxes_left_out": sum(r.truth["left_out"] for r in records),
      },
      # Bars of phrases would be thousands.
      categories={"AP": shown} if self.categories == "category" else {},
      quality=np.array([_quality(record) for record in records]),
    )

  def view(self, record: Record) -> View:
    """All boxes of the answer with their scores beside all true ones."""
    text, answer = record.ask["expression"], record.answer
    scores = ", ".join(
      "?" if score is None else f"{score:.2f}" for score in answer["scores"]
    )
    return View(
      (locating.as_phrase(text, answer["boxes"], answer["scores"]),),
      (locating.as_phrase(text, record.truth["boxes"]),),
      (text, f"scores {scores}" if answer["boxes"] else "no box"),
    )


def _detection(record: Record) -> Detection:
  """A record in pixels."""
  width, height = record.truth["size"]
  size = np.array([width, height, width, height])
  scores = [0.0 if s is None else s for s in record.answer["scores"]]
  return Detection(
    record.truth["category"],
    locating.box_array(record.truth["boxes"]) * size,
    locating.box_array(record.answer["boxes"]) * size,
    np.array(scores, np.float64),
  )


def _quality(record: Record) -> float:
  """Harmonic mean of precision and recall at an IoU of one half."""
  true = locating.box_array(record.truth["boxes"])
  found = locating.box_array(record.answer["boxes"])
  if not len(found):
    return 0.0
  pairs = box_scoring.count_matches(
    box_scoring.pairwise_iou(found, true) >= 0.5
  )
  return 2 * pairs / (len(found) + len(true))
