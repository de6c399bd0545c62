"""Referring expression comprehension: which thing is meant, and where is it."""

import collections
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kosmos2_jax.evals import locating
from kosmos2_jax.evals.examples import Example, field
from kosmos2_jax.evals.protocol import (
  Evaluator,
  Json,
  Metric,
  Published,
  Question,
  Record,
  Scores,
  View,
)
from kosmos2_jax.evals.scoring import boxes as box_scoring
from kosmos2_jax.text import prompts

NO_BOX = [0.0, 0.0, 0.0, 0.0]
PROTOCOLS = ("original", "constrained")

SOURCE = "Kosmos-2's README (microsoft/unilm), zero-shot"
# Fractions, where the source prints percent.
PUBLISHED = {
  ("refcoco", "val"): 0.5232,
  ("refcoco", "testA"): 0.5742,
  ("refcoco", "testB"): 0.4726,
  ("refcoco+", "val"): 0.4548,
  ("refcoco+", "testA"): 0.5073,
  ("refcoco+", "testB"): 0.4224,
  ("refcocog", "val"): 0.6057,
  ("refcocog", "test"): 0.6165,
}
# Expressions of these splits (UNC's, UNC's, UMD's), which the numbers are over.
SIZES = {
  ("refcoco", "val"): 10834,
  ("refcoco", "testA"): 5657,
  ("refcoco", "testB"): 5095,
  ("refcoco+", "val"): 10758,
  ("refcoco+", "testA"): 5726,
  ("refcoco+", "testB"): 4889,
  ("refcocog", "val"): 4896,
  ("refcocog", "test"): 9602,
}
# What lmms-eval calls RefCOCO val.
OTHER_VAL_SIZE = 23962


class ReferringExpression(Evaluator):
  """Asks for the box of each expression; the first box of the answer counts.

  The published protocol is "original": the prompt is
  `<grounding><phrase>…</phrase>` with the expression as it is annotated,
  decoding is greedy, an answer that does not begin with a list of boxes is the
  empty box at the origin, and so is every answer to an expression that reads
  otherwise once it was tokens; an answer is right from an IoU of one half on.

  Attributes:
    expressions_per_image: how many expressions of each picture are asked for
      (None: all). The choice goes round: the i-th picture of the task begins
      with its expression i modulo their number.
    iou_threshold: smallest IoU that counts as found.
    variant: the option `protocol`: "original", or "constrained", where nothing
      but well-formed boxes can be answered and every answer counts.
    read_on: answers that do not begin with boxes go on to their end, and boxes
      of the same expression count if they come later, as in the original.
  """

  name = "referring"
  version = "2"

  def __init__(
    self,
    *,
    expressions_per_image: int | None = 1,
    iou_threshold: float = 0.5,
    protocol: str = "original",
    read_on: bool = False,
  ):
    """Keeps its arguments; see the attributes.

    Raises:
      ValueError: for an unknown protocol, or one that cannot read on.
    """
    if protocol not in PROTOCOLS:
      raise ValueError(
        f"protocol must be one of {list(PROTOCOLS)}; got {protocol!r}."
      )
    if read_on and protocol == "constrained":
      raise ValueError(
        "a constrained answer begins with boxes; read_on is for the protocol"
        " 'original'."
      )
    self.expressions_per_image = expressions_per_image
    self.iou_threshold = iou_threshold
    self.variant = protocol
    self.read_on = read_on

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    asked = self.expressions_per_image
    if self.variant == "constrained":
      answer = "nothing but boxes can be answered"
    else:
      answer = (
        "no readable box, or an expression that the tokenizer changes, counts"
        " as an empty one"
      )
      if self.read_on:
        answer += ", answers are read to their end"
    return (
      f"{self.variant}: prompt <grounding><phrase>{{expression}}</phrase>,"
      f" greedy, {answer}; first box counts, right if IoU >="
      f" {self.iou_threshold:g} with the annotated box;"
      f" {'all' if asked is None else f'at most {asked}'} expression(s) of"
      " each picture"
    )

  def questions(self, examples: Iterable[Example]) -> Iterator[Question]:
    """A question for each expression.

    Pictures without any are passed over; the next question tells how many.

    Args:
      examples: dicts with `image` and `expressions`.
    """
    passed_over = 0
    for index, example in enumerate(examples):
      found = field(example, "expressions")
      if not found:
        passed_over += 1
        continue
      asked = len(found)
      if self.expressions_per_image is not None:
        asked = min(asked, self.expressions_per_image)
      for offset in range(asked):
        number = (index + offset) % len(found)
        item = found[number]
        yield Question(
          id=f"{example['id']}:{number}",
          group=locating.picture_of(example),
          images=(field(example, "image"),),
          ask={"expression": item["text"]},
          truth={
            "box": locating.box_list(item["box_xyxy"]),
            "category": str(item.get("category", "")),
            "dataset": str(example.get("dataset", "")),
            "split": str(example.get("split", "")),
            "passed_over": passed_over,
          },
        )
        passed_over = 0

  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """See `locating` for the answers.

    Args:
      predictor: with `locate_batch`; `generate`, too, to read on.
      questions: any of them.
    """
    images = [question.images[0] for question in questions]
    texts = [question.ask["expression"] for question in questions]
    boxes = predictor.locate_batch(
      images, texts, constrained=self.variant == "constrained"
    )
    if self.read_on:
      asked = [prompts.refer(text) for text in texts]
      boxes = locating.read_on(predictor, images, asked, texts, boxes)
    return locating.make_answers(predictor, boxes, texts)

  def score(self, records: Sequence[Record]) -> Scores:
    """See the class.

    Raises:
      ValueError: if there is no record.
    """
    if not records:
      raise ValueError(
        "there is no referring expression to score; choose another dataset or"
        " split for the task."
      )
    readable = [
      self.variant == "constrained"
      or locating.survives(r.ask["expression"], r.answer["written"])
      for r in records
    ]
    counted = [
      record.answer["boxes"] if good else []
      for record, good in zip(records, readable, strict=True)
    ]
    sizes = [max(len(boxes), 1) for boxes in counted]
    flat = locating.box_array(
      [box for boxes in counted for box in boxes or [NO_BOX]]
    )
    true = locating.box_array([record.truth["box"] for record in records])
    ious = np.split(
      box_scoring.iou(flat, np.repeat(true, sizes, axis=0)),
      np.cumsum(sizes)[:-1],
    )
    best = [
      locating.best_scored(record.answer) if boxes else 0
      for boxes, record in zip(counted, records, strict=True)
    ]
    first_iou = np.array([iou[0] for iou in ious])
    first = first_iou >= self.iou_threshold
    values = {
      "accuracy": first,
      "accuracy_best_scored": np.array(
        [iou[i] for iou, i in zip(ious, best, strict=True)]
      )
      >= self.iou_threshold,
      "accuracy_any_box": np.array([np.max(iou) for iou in ious])
      >= self.iou_threshold,
      "mean_iou": first_iou,
      "without_box": np.array([not boxes for boxes in counted]),
    }
    right: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    for record, hit in zip(records, first, strict=True):
      right[record.truth["category"]] += int(hit)
      total[record.truth["category"]] += 1
    return Scores(
      n=len(records),
      metrics={
        name: Metric(float(np.mean(each)), each.astype(np.float64))
        for name, each in values.items()
      },
      counts={
        "right": int(np.sum(first)),
        "without_box": int(np.sum(values["without_box"])),
        "changed_by_tokenizer": readable.count(False),
        "pictures": len({record.group for record in records}),
        "pictures_without_expression": sum(
          record.truth["passed_over"] for record in records
        ),
      },
      categories={
        "accuracy": {
          name: right[name] / total[name] for name in sorted(total) if name
        }
      }
      if any(total.keys())
      else {},
      quality=first_iou,
      notes=self._notes(records),
    )

  def _notes(self, records: Sequence[Record]) -> tuple[str, ...]:
    """Whether these are the expressions that published numbers are over."""
    [(dataset, split), *more] = {
      (record.truth["dataset"], record.truth["split"]) for record in records
    }
    size = SIZES.get((dataset, split))
    if len(records) == OTHER_VAL_SIZE and size is None:
      return (
        f"{OTHER_VAL_SIZE} expressions are the RefCOCO val of lmms-eval, not"
        f" the {SIZES['refcoco', 'val']} that results are published on.",
      )
    if more or size is None or len(records) == size:
      return ()
    return (
      f"{len(records)} expressions; the {split} split of {dataset} that results"
      f" are published on has {size}, so the numbers do not compare.",
    )

  def view(self, record: Record) -> View:
    """The first box beside the true one."""
    text, boxes = record.ask["expression"], record.answer["boxes"]
    said = "no box"
    if boxes:
      [iou] = box_scoring.iou(
        locating.box_array(boxes[:1]), locating.box_array([record.truth["box"]])
      )
      said = f"IoU {iou:.2f}"
    return View(
      (locating.as_phrase(text, boxes[:1], record.answer["scores"][:1]),),
      (locating.as_phrase(text, [record.truth["box"]]),),
      (text, said),
    )

  def published(self, dataset: str, split: str) -> tuple[Published, ...]:
    """Accuracy on the eight splits, as a fraction."""
    value = PUBLISHED.get((dataset, split))
    return () if value is None else (Published("accuracy", value, SOURCE),)
