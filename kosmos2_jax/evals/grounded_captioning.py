"""Grounded captioning: what is in the picture, in words with boxes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from kosmos2_jax.evals.examples import Example, field, phrases
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
from kosmos2_jax.text import markup, prompts
from kosmos2_jax.text.grounded import Box, Phrase
from kosmos2_jax.text.tokenizer import Tokenizer

ANNOTATIONS = {"phrase": "noun_chunks", "expression": "ref_exps"}


class GroundedCaption(Evaluator):
  """Asks for a caption with boxes and compares it with the annotated one.

  What is compared is the text that follows the prompt. Where an annotated
  caption itself begins with the words of the prompt ("An image of a dog"),
  those words are taken off the annotation; the answer is never changed.

  Attributes:
    prompt: text after the picture.
    mode: which annotation is the truth: "phrase" (noun chunks) or
      "expression" (referring expressions), as the training recipe's.
    markup: "nested" or "maximal" tags, as the training recipe's.
    score_threshold: annotated boxes with a lower score are no truth.
    iou_threshold: smallest IoU of a box that counts as found.
    max_new_tokens: where an answer is cut off.
  """

  name = "grounded_caption"
  version = "1"

  def __init__(
    self,
    *,
    prompt: str = prompts.grounded_caption(),
    mode: str = "phrase",
    markup: str = "nested",
    score_threshold: float = 0.65,
    iou_threshold: float = 0.5,
    max_new_tokens: int = 256,
  ):
    """Keeps its arguments; see the attributes.

    Raises:
      ValueError: for an unknown mode.
    """
    if mode not in ANNOTATIONS:
      raise ValueError(
        f"mode must be one of {sorted(ANNOTATIONS)}; got {mode!r}."
      )
    self.prompt = prompt
    self.mode = mode
    self.markup = markup
    self.score_threshold = score_threshold
    self.iou_threshold = iou_threshold
    self.max_new_tokens = max_new_tokens

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    return (
      f"prompt {self.prompt}, greedy, at most {self.max_new_tokens} tokens;"
      f" the text after the prompt against {ANNOTATIONS[self.mode]} with a"
      f" score >= {self.score_threshold:g}; a phrase and a box are a pair,"
      " found if the phrase's words are the same and IoU >="
      f" {self.iou_threshold:g}, pairs matched one to one, F1 over all"
      " pictures' pairs; exact_to_the_bin: the words and every box, as"
      " location bins, are the annotation's"
    )

  def questions(self, examples: Iterable[Example]) -> Iterator[Question]:
    """A question for each picture.

    Args:
      examples: dicts with `image`, `caption` and the annotation of `mode`.
    """
    for example in examples:
      truth, left_out = phrases(
        example, ANNOTATIONS[self.mode], self.score_threshold
      )
      yield Question(
        id=str(example["id"]),
        group=str(example.get("image_file") or example["id"]),
        images=(field(example, "image"),),
        # Only a tokenizer tells how the annotation would read as an answer,
        # so it is a part of what is asked.
        ask={
          "caption": field(example, "caption"),
          "phrases": _to_json(truth),
        },
        truth={"left_out": left_out},
      )

  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """What is said, and what would have been right, as tokens read both.

    Args:
      predictor: with `generate` and `tokenizer`.
      questions: any of them.

    Returns:
      Dicts with the text and the phrases that were `said`, those that are
      `expected` (the annotation by way of tokens), the `caption` that these
      were made of with its `phrases` as they are annotated and the `words`
      that each of them is read as, and whether the answer was `finished`.
    """
    tokenizer = predictor.tokenizer
    answers = predictor.generate(
      [self.prompt] * len(questions),
      [question.images[0] for question in questions],
      max_new_tokens=self.max_new_tokens,
    )
    found = []
    for question, answer in zip(questions, answers, strict=True):
      caption, truth = self._without_prompt(
        question.ask["caption"],
        _from_json(question.ask["phrases"]),
        tokenizer,
      )
      # The annotation takes the way of a training row: tokens and back. So
      # spaces and rare characters are as the model could have written them,
      # and boxes are equal exactly if their bins are.
      expected = markup.parse(
        markup.build(
          caption, truth, tokenizer, mode=self.markup, grounding=False
        ),
        tokenizer,
      )
      said = markup.parse(list(answer.tokens), tokenizer)
      found.append(
        {
          "said": {"text": said.text, "phrases": _to_json(said.phrases)},
          "expected": {
            "text": expected.text,
            "phrases": _to_json(expected.phrases),
          },
          "caption": caption,
          "phrases": _to_json(truth),
          "words": [
            tokenizer.decode(tokenizer.encode_with_offsets(phrase.text)[0])
            for phrase in truth
          ],
          "finished": answer.finished,
        }
      )
    return found

  def score(self, records: Sequence[Record]) -> Scores:
    """See the class.

    Raises:
      ValueError: if there is no record.
    """
    if not records:
      raise ValueError(
        "there is no example to caption; choose another dataset or split for"
        " the task."
      )
    rows = [self._score(record.answer) for record in records]
    each = {
      name: np.array([row[name] for row in rows], np.float64)
      for name in rows[0]
    }
    found, said, true = (
      each[name] for name in ("pairs_found", "pairs_said", "pairs_true")
    )
    return Scores(
      n=len(records),
      metrics={
        "exact_match": _ratio(each["exact_match"]),
        "exact_to_the_bin": _ratio(each["exact_to_the_bin"]),
        "precision": _ratio(found, said),
        "recall": _ratio(found, true),
        "f1": _ratio(2 * found, said + true),
      },
      counts={
        **{name: int(np.sum(values)) for name, values in each.items()},
        "pictures": len(records),
        "unfinished": sum(not record.answer["finished"] for record in records),
        "annotated_boxes_left_out": sum(
          record.truth["left_out"] for record in records
        ),
      },
      quality=2 * found / np.maximum(said + true, 1),
    )

  def view(self, record: Record) -> View:
    """What was said beside what is annotated."""
    said, caption = record.answer["said"], record.answer["caption"]
    return View(
      tuple(_from_json(said["phrases"])),
      tuple(_from_json(record.answer["phrases"])),
      (said["text"] or "(no text)", f"true: {caption}"),
    )

  def cost(self, question: Question) -> int:
    """The prompt is the same for all."""
    del question
    return 0

  def _without_prompt(
    self, caption: str, truth: list[Phrase], tokenizer: Tokenizer
  ) -> tuple[str, list[Phrase]]:
    """Takes the words of the prompt off a caption that begins with them."""
    words = markup.parse(self.prompt, tokenizer).text
    cut = len(words) + 1
    if not caption.startswith(f"{words} ") or any(
      phrase.span[0] < cut for phrase in truth
    ):
      return caption, truth
    return caption[cut:], [
      Phrase(p.text, (p.span[0] - cut, p.span[1] - cut), p.boxes) for p in truth
    ]

  def _score(self, answer: Json) -> dict[str, int]:
    """What one picture adds to the counts."""
    predicted, expected = answer["said"], answer["expected"]
    same_text = predicted["text"] == expected["text"]
    predicted = _from_json(predicted["phrases"])
    said = _boxes_by_text((p.text, p.boxes) for p in predicted)
    annotated = _from_json(answer["phrases"])
    true = _boxes_by_text(
      (words, phrase.boxes)
      for words, phrase in zip(answer["words"], annotated, strict=True)
    )
    same_boxes = _boxes_by_span(predicted) == _boxes_by_span(
      _from_json(expected["phrases"])
    )
    return {
      "exact_match": int(same_text),
      "exact_to_the_bin": int(same_text and same_boxes),
      "pairs_found": sum(
        box_scoring.count_matches(
          box_scoring.pairwise_iou(np.array(said[text]), np.array(true[text]))
          >= self.iou_threshold
        )
        for text in said.keys() & true.keys()
      ),
      "pairs_said": sum(map(len, said.values())),
      "pairs_true": sum(map(len, true.values())),
    }


def _ratio(
  numerators: Float[np.ndarray, " n"],
  denominators: Float[np.ndarray, " n"] | None = None,
) -> Metric:
  """Their sums divided; without denominators the mean. 0 for nothing at all."""
  total = len(numerators) if denominators is None else np.sum(denominators)
  value = float(np.sum(numerators)) / max(float(total), 1.0)
  return Metric(value, numerators, denominators)


def _to_json(items: Iterable[Phrase]) -> Json:
  return [
    {
      "text": phrase.text,
      "span": list(phrase.span),
      "boxes": [list(box.xyxy) for box in phrase.boxes],
    }
    for phrase in items
  ]


def _from_json(items: Json) -> list[Phrase]:
  return [
    Phrase(
      item["text"], tuple(item["span"]), [Box(box) for box in item["boxes"]]
    )
    for item in items
  ]


def _boxes_by_text(
  items: Iterable[tuple[str, Sequence[Box]]],
) -> dict[str, list[tuple[float, ...]]]:
  """Boxes under the words of their phrase."""
  found: dict[str, list[tuple[float, ...]]] = {}
  for text, boxes in items:
    own = found.setdefault(" ".join(text.split()), [])
    own += [box.xyxy for box in boxes]
  return found


def _boxes_by_span(
  phrases: Iterable[Phrase],
) -> dict[tuple[int, int], list[tuple[float, ...]]]:
  """Boxes by span, in an order that does not depend on how they were said."""
  found: dict[tuple[int, int], list[tuple[float, ...]]] = {}
  for phrase in phrases:
    found.setdefault(phrase.span, []).extend(box.xyxy for box in phrase.boxes)
  return {span: sorted(boxes) for span, boxes in found.items() if boxes}
