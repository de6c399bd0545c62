"""Grounded captioning: what is in the picture, in words with boxes."""

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from kosmos2_jax.evals.examples import Example, batches, field, phrases
from kosmos2_jax.evals.results import Sample, TaskResult
from kosmos2_jax.evals.scoring import boxes as box_scoring
from kosmos2_jax.text import markup, prompts
from kosmos2_jax.text.grounded import GroundedText, Phrase
from kosmos2_jax.text.tokenizer import Tokenizer

ANNOTATIONS = {"phrase": "noun_chunks", "expression": "ref_exps"}


class GroundedCaption:
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

  def run(
    self,
    predictor: Any,
    examples: Iterable[Example],
    *,
    batch_size: int = 32,
    num_samples: int = 0,
    on_batch: Callable[[int], None] = lambda count: None,
  ) -> TaskResult:
    """Asks and scores.

    Args:
      predictor: a `Predictor`, or anything with `generate` and `tokenizer`.
      examples: dicts with `image`, `caption` and the annotation of `mode`.
      batch_size: pictures asked about at once.
      num_samples: how many of the first pictures to keep for drawing.
      on_batch: called after each batch with the number of pictures done.

    Raises:
      ValueError: if there is no example.
    """
    tokenizer = predictor.tokenizer
    counts: collections.Counter[str] = collections.Counter()
    samples: list[Sample] = []
    for batch in batches(examples, batch_size):
      answers = predictor.generate(
        [self.prompt] * len(batch),
        [example["image"] for example in batch],
        max_new_tokens=self.max_new_tokens,
      )
      for example, answer in zip(batch, answers, strict=True):
        predicted = markup.parse(list(answer.tokens), tokenizer)
        truth, left_out = phrases(
          example, ANNOTATIONS[self.mode], self.score_threshold
        )
        caption, truth = self._without_prompt(
          field(example, "caption"), truth, tokenizer
        )
        counts.update(
          self._score(predicted, caption, truth, tokenizer),
          pictures=1,
          unfinished=not answer.finished,
          annotated_boxes_left_out=left_out,
        )
        if len(samples) < num_samples:
          samples.append(_sample(example["image"], predicted, caption, truth))
      on_batch(counts["pictures"])
    n = counts["pictures"]
    if not n:
      raise ValueError(
        "there is no example to caption; choose another dataset or split for"
        " the task."
      )
    found, said, true = (
      counts[key] for key in ("pairs_found", "pairs_said", "pairs_true")
    )
    return TaskResult(
      evaluator=self.name,
      version=self.version,
      protocol=self.protocol,
      n=n,
      metrics={
        "exact_match": counts["exact_match"] / n,
        "exact_to_the_bin": counts["exact_to_the_bin"] / n,
        "precision": found / max(said, 1),
        "recall": found / max(true, 1),
        "f1": 2 * found / max(said + true, 1),
      },
      counts=dict(counts),
      samples=tuple(samples),
    )

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

  def _score(
    self,
    predicted: GroundedText,
    caption: str,
    truth: Sequence[Phrase],
    tokenizer: Tokenizer,
  ) -> dict[str, int]:
    """What one picture adds to the counts."""
    # The annotation takes the way of a training row: tokens and back. So
    # spaces and rare characters are as the model could have written them,
    # and boxes are equal exactly if their bins are.
    expected = markup.parse(
      markup.build(
        caption, truth, tokenizer, mode=self.markup, grounding=False
      ),
      tokenizer,
    )
    same_text = predicted.text == expected.text
    said = _boxes_by_text(predicted.phrases)
    true = _boxes_by_text(truth, tokenizer)
    return {
      "exact_match": int(same_text),
      "exact_to_the_bin": int(
        same_text and _boxes_by_span(predicted) == _boxes_by_span(expected)
      ),
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


def _boxes_by_text(
  items: Iterable[Phrase], tokenizer: Tokenizer | None = None
) -> dict[str, list[tuple[float, ...]]]:
  """Boxes under the words of their phrase, through a tokenizer if given."""
  found: dict[str, list[tuple[float, ...]]] = {}
  for phrase in items:
    text = phrase.text
    if tokenizer is not None:
      text = tokenizer.decode(tokenizer.encode_with_offsets(text)[0])
    boxes = found.setdefault(" ".join(text.split()), [])
    boxes += [box.xyxy for box in phrase.boxes]
  return found


def _boxes_by_span(
  text: GroundedText,
) -> dict[tuple[int, int], list[tuple[float, ...]]]:
  """Boxes by span, in an order that does not depend on how they were said."""
  found: dict[tuple[int, int], list[tuple[float, ...]]] = {}
  for phrase in text.phrases:
    found.setdefault(phrase.span, []).extend(box.xyxy for box in phrase.boxes)
  return {span: sorted(boxes) for span, boxes in found.items() if boxes}


def _sample(
  image: np.ndarray,
  predicted: GroundedText,
  caption: str,
  truth: Sequence[Phrase],
) -> Sample:
  return Sample(
    image=image,
    predicted=tuple(predicted.phrases),
    annotated=tuple(truth),
    lines=(predicted.text or "(no text)", f"true: {caption}"),
  )
