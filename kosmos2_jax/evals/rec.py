"""Referring expression comprehension: which thing is meant, and where is it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from kosmos2_jax.evals.examples import Example, batches, expressions
from kosmos2_jax.evals.results import Sample, TaskResult
from kosmos2_jax.evals.scoring import boxes as box_scoring
from kosmos2_jax.text.grounded import Box, Phrase

NO_BOX = (0.0, 0.0, 0.0, 0.0)


class ReferringExpression:
  """Asks for the box of each expression; the first box of the answer counts.

  The published protocol: the prompt is `<grounding><phrase>…</phrase>` with
  the expression as it is annotated, decoding is greedy, an answer that is no
  list of boxes is the empty box at the origin, and an answer is right from an
  IoU of one half on.

  Attributes:
    expressions_per_image: how many expressions of each picture are asked for
      (None: all). The choice goes round: the i-th picture of the task begins
      with its expression i modulo their number.
    iou_threshold: smallest IoU that counts as found.
    constrained: nothing but well-formed boxes can be answered; not the
      published protocol, and said in `protocol`.
  """

  name = "referring"
  version = "1"

  def __init__(
    self,
    *,
    expressions_per_image: int | None = 1,
    iou_threshold: float = 0.5,
    constrained: bool = False,
  ):
    self.expressions_per_image = expressions_per_image
    self.iou_threshold = iou_threshold
    self.constrained = constrained

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    asked = self.expressions_per_image
    prompt = "prompt <grounding><phrase>{expression}</phrase>, greedy"
    if self.constrained:
      prompt += ", nothing but boxes can be answered"
    return (
      f"{prompt}, first box"
      f" counts, right if IoU >= {self.iou_threshold:g} with the annotated"
      " box, no readable box counts as an empty one;"
      f" {'all' if asked is None else f'at most {asked}'} expression(s) of"
      " each picture"
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
      predictor: a `Predictor`, or anything with its `locate_batch`.
      examples: dicts with `image` and `expressions`.
      batch_size: expressions asked at once.
      num_samples: how many of the first expressions to keep for drawing.
      on_batch: called after each batch with the number of pictures done.

    Raises:
      ValueError: if there is no expression to ask for.
    """
    count = hits = without_box = 0
    iou_sum = 0.0
    samples: list[Sample] = []
    seen = {"pictures": 0, "pictures_without_expression": 0}
    for batch in batches(self._questions(examples, seen), batch_size):
      images, texts, truths = zip(*batch, strict=True)
      answers = predictor.locate_batch(
        images, texts, constrained=self.constrained
      )
      first = [answer[0].xyxy if answer else NO_BOX for answer in answers]
      ious = box_scoring.iou(np.array(first), np.array(truths))
      count += len(batch)
      hits += int(np.sum(ious >= self.iou_threshold))
      iou_sum += float(np.sum(ious))
      without_box += sum(not answer for answer in answers)
      for question, answer, iou in zip(batch, answers, ious, strict=True):
        if len(samples) < num_samples:
          samples.append(_sample(*question, answer, float(iou)))
      on_batch(seen["pictures"])
    if not count:
      raise ValueError(
        f"none of the {seen['pictures']} examples has a referring expression;"
        " choose another dataset or split for the task."
      )
    return TaskResult(
      evaluator=self.name,
      version=self.version,
      protocol=self.protocol,
      n=count,
      metrics={
        "accuracy": hits / count,
        "mean_iou": iou_sum / count,
        "without_box": without_box / count,
      },
      counts={"right": hits, "without_box": without_box, **seen},
      samples=tuple(samples),
    )

  def _questions(
    self, examples: Iterable[Example], seen: dict[str, int]
  ) -> Iterator[tuple[np.ndarray, str, tuple[float, ...]]]:
    """Yields picture, expression and true box, and counts pictures."""
    for index, example in enumerate(examples):
      found = expressions(example)
      seen["pictures"] += 1
      seen["pictures_without_expression"] += not found
      asked = len(found)
      if self.expressions_per_image is not None:
        asked = min(asked, self.expressions_per_image)
      for offset in range(asked):
        text, box_xyxy = found[(index + offset) % len(found)]
        yield example["image"], text, box_xyxy


def _sample(
  image: np.ndarray,
  text: str,
  truth: tuple[float, ...],
  answer: list[Box],
  iou: float,
) -> Sample:
  span = (0, len(text))
  said = f"IoU {iou:.2f}" if answer else "no box"
  return Sample(
    image=image,
    predicted=(Phrase(text, span, tuple(answer[:1])),),
    annotated=(Phrase(text, span, (Box(truth),)),),
    lines=(text, said),
  )
