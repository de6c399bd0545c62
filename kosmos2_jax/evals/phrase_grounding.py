"""Phrase grounding: the boxes of each phrase of a caption."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kosmos2_jax.evals import caption_phrases, locating
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
from kosmos2_jax.evals.published_phrases import PUBLISHED, SOURCE
from kosmos2_jax.evals.scoring import boxes as box_scoring
from kosmos2_jax.text import prompts

NO_BOX = [0.0, 0.0, 0.0, 0.0]
PROTOCOLS = ("original", "exact")
# How many boxes of an answer may hit; None: all.
RECALL_AT: dict[str, int | None] = {"1": 1, "5": 5, "10": 10, "all": None}


class PhraseGrounding(Evaluator):
  """Asks for the boxes of each phrase that has some, one phrase at a time.

  The prompt is the caption up to the phrase, then the phrase in its tags; the
  rest of the caption is not told, and no other phrase is tagged. Recall at k:
  a phrase is found if one of the first k boxes has an IoU of one half or more
  with any of its true boxes ("any box"), or with the smallest box around them
  all ("merged"). That is micro-averaged over phrases, as by MDETR.

  Attributes:
    variant: the option `protocol`. "original" is what published numbers are
      measured with: the truth of a phrase are the boxes and the types of the
      first phrase of the sentence with the same words; an answer to a phrase
      that reads otherwise once it was tokens is an empty box; answers that do
      not begin with boxes go on to their end, and boxes of a phrase with the
      same words count if they come later. "exact": each phrase has its own
      boxes, and the answer is what it begins with.
    constrained: nothing but well-formed boxes can be answered; not the
      published protocol.
    iou_threshold: smallest IoU that counts as found.
    max_new_tokens: where a list of boxes is cut off; three for each.
  """

  name = "phrase_grounding"
  version = "1"

  def __init__(
    self,
    *,
    protocol: str = "original",
    constrained: bool = False,
    iou_threshold: float = 0.5,
    max_new_tokens: int = 96,
  ):
    """Keeps its arguments; see the attributes.

    Raises:
      ValueError: for an unknown protocol.
    """
    if protocol not in PROTOCOLS:
      raise ValueError(
        f"protocol must be one of {list(PROTOCOLS)}; got {protocol!r}."
      )
    self.variant = protocol
    self.constrained = constrained
    self.iou_threshold = iou_threshold
    self.max_new_tokens = max_new_tokens

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    truth = {
      "original": "the truth is the sentence's first phrase with these words,"
      " a phrase that the tokenizer changes counts as not found, answers are"
      " read to their end",
      "exact": "the truth is the phrase's own",
    }[self.variant]
    decoding = (
      "greedy, nothing but boxes can be answered"
      if self.constrained
      else "greedy with the checkpoint's own rule against repeated n-grams"
    )
    return (
      f"{self.variant}: prompt <grounding>{{caption up to the phrase}}"
      f" <phrase>{{phrase}}</phrase>, {decoding}, at most"
      f" {self.max_new_tokens} tokens of boxes; {truth}; found at k if one of"
      f" the first k boxes has an IoU >= {self.iou_threshold:g} with any true"
      " box of the phrase (merged: with the box around them all), over phrases"
      " that have boxes"
    )

  def questions(self, examples: Iterable[Example]) -> Iterator[Question]:
    """A question for each phrase that has boxes.

    Captions without any are passed over; the next question tells how many.

    Args:
      examples: dicts with `image`, `caption` and, as Flickr30k Entities,
        `mentions`, `mention_boxes`, `width` and `height`, or `noun_chunks`.
    """
    passed_over = left_out = 0
    for example in examples:
      caption = field(example, "caption")
      phrases, size, none = caption_phrases.read(example)
      left_out += none
      if not phrases:
        passed_over += 1
        continue
      for number, phrase in enumerate(phrases):
        same = [other for other in phrases if other.text == phrase.text]
        truth = same[0] if self.variant == "original" else phrase
        yield Question(
          id=f"{example['id']}:{number}",
          group=locating.picture_of(example),
          images=(field(example, "image"),),
          ask={"before": caption[: phrase.start], "phrase": phrase.text},
          truth={
            "boxes": truth.boxes,
            "types": truth.types,
            "size": size,
            "caption": str(example["id"]),
            "repeats": phrase is not same[0],
            "passed_over": passed_over,
            "left_out": left_out,
          },
        )
        passed_over = left_out = 0

  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """See `locating` for the answers.

    Args:
      predictor: with `locate_batch`, `generate`, `tokenizer` and
        `no_repeat_ngram_size`.
      questions: any of them.
    """
    images = [question.images[0] for question in questions]
    texts = [question.ask["phrase"] for question in questions]
    asked = [
      prompts.refer_within(q.ask["before"], q.ask["phrase"]) for q in questions
    ]
    boxes = predictor.locate_batch(
      images,
      asked,
      constrained=self.constrained,
      max_new_tokens=self.max_new_tokens,
      as_prompts=True,
      no_repeat_ngram_size=(
        0 if self.constrained else predictor.no_repeat_ngram_size
      ),
    )
    if self.variant == "original" and not self.constrained:
      boxes = locating.read_on(predictor, images, asked, texts, boxes)
    return locating.make_answers(predictor, boxes, texts)

  def score(self, records: Sequence[Record]) -> Scores:
    """See the class.

    Raises:
      ValueError: if there is no record.
    """
    if not records:
      raise ValueError(
        "there is no phrase with a box to score; choose another dataset or"
        " split for the task."
      )
    readable = [
      self.variant == "exact"
      or locating.survives(record.ask["phrase"], record.answer["written"])
      for record in records
    ]
    counted = [
      record.answer["boxes"] if good else []
      for record, good in zip(records, readable, strict=True)
    ]
    # The best IoU of each predicted box with a true one.
    any_box, merged = [], []
    for boxes, record in zip(counted, records, strict=True):
      width, height = record.truth["size"]
      predicted = locating.box_array(boxes or [NO_BOX])
      predicted = predicted * np.array([width, height, width, height])
      true = locating.box_array(record.truth["boxes"])
      around = np.concatenate([true[:, :2].min(0), true[:, 2:].max(0)])
      any_box.append(box_scoring.pairwise_iou(predicted, true).max(1))
      merged.append(box_scoring.iou(predicted, around[None]))
    types = [record.truth["types"] for record in records]
    names = sorted({name for own in types for name in own})
    members = {
      # A type that a phrase has twice counts it twice, as in the original.
      name: np.array([own.count(name) for own in types], np.float64)
      for name in names
    }
    metrics: dict[str, Metric] = {}
    categories: dict[str, dict[str, float]] = {}
    found: dict[str, np.ndarray] = {}
    for prefix, ious in (("", any_box), ("merged_", merged)):
      for label, k in RECALL_AT.items():
        key = f"{prefix}recall@{label}"
        found[key] = np.array(
          [iou[:k].max() >= self.iou_threshold for iou in ious], np.float64
        )
        metrics[key] = Metric(float(np.mean(found[key])), found[key])
        if names:
          categories[key] = {
            name: float(np.sum(found[key] * weight) / np.sum(weight))
            for name, weight in members.items()
          }
    for name, weight in members.items():
      metrics[f"recall@1/{name}"] = Metric(
        categories["recall@1"][name], found["recall@1"] * weight, weight
      )
    counts = {
      "captions": len({record.truth["caption"] for record in records}),
      "pictures": len({record.group for record in records}),
      "without_box": sum(not boxes for boxes in counted),
      "changed_by_tokenizer": readable.count(False),
      "repeated_phrases": sum(r.truth["repeats"] for r in records),
      "captions_without_phrase": sum(r.truth["passed_over"] for r in records),
      "annotated_boxes_left_out": sum(r.truth["left_out"] for r in records),
    }
    return Scores(
      n=len(records),
      metrics=metrics,
      counts=counts,
      categories=categories,
      quality=np.array([iou.max() for iou in any_box]),
      notes=self._notes(names),
    )

  def _notes(self, types: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if self.variant == "original" and not types:
      notes.append(
        "The annotations tell no types of phrases, so there are no categories,"
        " and boxes that are nearly the same may be one in them; published"
        " numbers are measured with the original annotations of Flickr30k"
        " Entities."
      )
    if self.variant == "original" and self.constrained:
      notes.append(
        "The answers were constrained to boxes; those behind published numbers"
        " were not."
      )
    return tuple(notes)

  def view(self, record: Record) -> View:
    """All boxes of the answer beside all true ones."""
    text, answer = record.ask["phrase"], record.answer
    size = np.array([*record.truth["size"]] * 2, np.float64)
    true = (locating.box_array(record.truth["boxes"]) / size).tolist()
    said = f"{len(answer['boxes'])} box(es)" if answer["boxes"] else "no box"
    return View(
      (locating.as_phrase(text, answer["boxes"], answer["scores"]),),
      (locating.as_phrase(text, true),),
      (f"{record.ask['before']}[{text}]", said),
    )

  def published(self, dataset: str, split: str) -> tuple[Published, ...]:
    """Recall of all phrases at 1, 5, 10, and of each type at 1."""
    if dataset != "flickr30k_entities" or split not in PUBLISHED:
      return ()
    table = PUBLISHED[split]
    found = [
      Published(f"recall@{k}", row["all"], SOURCE) for k, row in table.items()
    ]
    return (
      *found,
      *(
        Published(f"recall@1/{name}", value, SOURCE)
        for name, value in table["1"].items()
        if name != "all"
      ),
    )
