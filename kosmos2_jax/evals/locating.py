"""Asking where something is, and what an answer with boxes looks like.

What the tasks about boxes share. An answer is kept as

    {"boxes": [[x1, y1, x2, y2], ...], "scores": [0.9, ...], "written": "it"}

normalised boxes in the order they were written, for each the probability of
its location tokens (None where the model gave none), and the words asked for
as they read once they were tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from kosmos2_jax.evals.examples import Example
from kosmos2_jax.evals.protocol import Json
from kosmos2_jax.generation.answers import leading_boxes
from kosmos2_jax.text.grounded import Box, Phrase
from kosmos2_jax.text.tokenizer import Tokenizer

# The original's rows end after 500 tokens, 66 for the picture and the prompt
# among them; this is about what is left.
READ_ON_TOKENS = 400


def picture_of(example: Example) -> str:
  """What tells the picture of an example from others: its file, or the id."""
  return str(example.get("image_file") or example["id"])


def make_answers(
  predictor: Any, boxes: Sequence[Sequence[Box]], texts: Sequence[str]
) -> list[Json]:
  """Answers as above.

  Args:
    predictor: which was asked; where it has a `tokenizer`, `written` is what
      the texts become in it, else it is the texts.
    boxes: for each text, as `locate_batch` returns them.
    texts: what was asked for.
  """
  tokenizer = getattr(predictor, "tokenizer", None)
  return [
    {
      "boxes": [list(box.xyxy) for box in found],
      "scores": [box.score for box in found],
      "written": text if tokenizer is None else as_written(text, tokenizer),
    }
    for found, text in zip(boxes, texts, strict=True)
  ]


def as_written(text: str, tokenizer: Tokenizer) -> str:
  """The text once it was tokens: rare characters and spaces may be others."""
  return tokenizer.decode(tokenizer.encode(text))


def survives(text: str, written: str) -> bool:
  """Whether the original finds a phrase again in what the model wrote.

  It compares characters, outer spaces aside, and reads no phrase with a "<".
  """
  return "<" not in written and written.strip() == text.strip()


def read_on(
  predictor: Any,
  images: Sequence[Any],
  prompts: Sequence[str],
  texts: Sequence[str],
  found: Sequence[Sequence[Box]],
) -> list[list[Box]]:
  """Lets answers that do not begin with boxes go on to their end.

  The original reads the whole answer and takes all boxes of phrases with the
  words that were asked for. An answer that does begin with boxes can have no
  others: the same last word, `</phrase>` and `<object>` would be a repeated
  3-gram, which it forbids.

  Args:
    predictor: with `generate` and `tokenizer`.
    images: for each prompt.
    prompts: that end with the phrase.
    texts: the phrases.
    found: the boxes that the answers begin with.

  Returns:
    `found`, and for answers without boxes those that come later.
  """
  result = [list(boxes) for boxes in found]
  missing = [i for i, boxes in enumerate(result) if not boxes]
  if not missing:
    return result
  answers = predictor.generate(
    [prompts[i] for i in missing],
    [images[i] for i in missing],
    max_new_tokens=READ_ON_TOKENS,
  )
  tokenizer = predictor.tokenizer
  for i, answer in zip(missing, answers, strict=True):
    prompt = tokenizer.encode(prompts[i])
    result[i] = boxes_of(
      [*prompt, *answer.tokens],
      [0.0] * len(prompt) + list(answer.log_probs),
      texts[i],
      tokenizer,
    )
  return result


def boxes_of(
  tokens: Sequence[int],
  log_probs: Sequence[float],
  text: str,
  tokenizer: Tokenizer,
) -> list[Box]:
  """Returns all boxes of phrases that read `text`, in their order.

  As in the original: boxes belong to a phrase if their list follows it at
  once, and a phrase is what stands between two tags with no tag inside.

  Args:
    tokens: prompt and answer.
    log_probs: natural log-probability of each.
    text: the phrase.
    tokenizer: of the tokens.
  """
  vocab = tokenizer.vocab
  boxes = []
  for i, token in enumerate(tokens):
    if (
      token != vocab.object_id
      or i < 2
      or tokens[i - 1] != (vocab.phrase_end_id)
    ):
      continue
    start = i - 1
    while start > 0 and not vocab.is_special(tokens[start - 1]):
      start -= 1
    if not start or tokens[start - 1] != vocab.phrase_id:
      continue
    if survives(text, tokenizer.decode(tokens[start : i - 1])):
      boxes += leading_boxes(tokens[i:], log_probs[i:], vocab)
  return boxes


def best_scored(answer: Mapping[str, Json]) -> int:
  """Index of the box with the highest score, the first one of equals.

  Args:
    answer: with at least one box; boxes without a score come last.
  """
  scores = [-1.0 if s is None else s for s in answer["scores"]]
  return int(np.argmax(scores))


def box_list(box: Any) -> list[float]:
  """The four numbers of a box, of any kind, as JSON has them."""
  x1, y1, x2, y2 = map(float, box)
  return [x1, y1, x2, y2]


def box_array(boxes: Sequence[Sequence[float]]) -> Float[np.ndarray, "n 4"]:
  """Boxes as float64 [n, 4], also where there are none."""
  return np.array(boxes, np.float64).reshape(-1, 4)


def as_phrase(
  text: str,
  boxes: Sequence[Sequence[float]],
  scores: Sequence[float | None] | None = None,
) -> Phrase:
  """A text by itself with its boxes, to be drawn."""
  scores = scores or [None] * len(boxes)
  return Phrase(
    text,
    (0, len(text)),
    tuple(Box(b, s) for b, s in zip(boxes, scores, strict=True)),
  )
