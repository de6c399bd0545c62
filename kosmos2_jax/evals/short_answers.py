"""Questions about one picture that a few words answer: what they share."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kosmos2_jax.evals.examples import Example, field
from kosmos2_jax.evals.protocol import Question
from kosmos2_jax.text import markup, prompts
from kosmos2_jax.text.vocab import LINE

# What an answer to a further question begins with; nobody asked that one.
_NEXT = prompts.QUESTION.strip()


def picture_group(example: Example) -> str:
  """The picture's identity: equal pixels are one, whatever they are called."""
  picture = np.ascontiguousarray(field(example, "image"))
  data = repr(picture.shape).encode() + picture.tobytes()
  return hashlib.blake2b(data, digest_size=8).hexdigest()


def make_question(
  example: Example, ask: Mapping[str, Any], truth: Mapping[str, Any]
) -> Question:
  """A question about the example's picture, with its id.

  Raises:
    ValueError: if there is no picture.
  """
  return Question(
    str(field(example, "id")),
    picture_group(example),
    (example["image"],),
    dict(ask),
    dict(truth),
  )


def words(example: Example, name: str) -> str:
  """A field that has to hold text.

  Raises:
    ValueError: if it does not.
  """
  text = field(example, name)
  if not isinstance(text, str) or not text.strip():
    raise ValueError(
      f"this task needs words in {name!r} of every example; example"
      f" {example.get('id')!r} has {text!r}: mend it or choose another dataset."
    )
  return text


def generate(
  predictor: Any,
  questions: Sequence[Question],
  *,
  grounded: bool,
  max_new_tokens: int,
) -> list[dict[str, Any]]:
  """Asks `Question: … Answer:`, greedily.

  Args:
    predictor: a `Predictor`, or anything with `generate` and `tokenizer`.
    questions: `ask` has the `question`.
    grounded: whether `<grounding>` stands before the prompt.
    max_new_tokens: where an answer is cut off.

  Returns:
    For each `text`, without tags and with a line end for each `</line>`, and
    `finished`: whether the model ended by itself.
  """
  answers = predictor.generate(
    [prompts.question(q.ask["question"], grounded) for q in questions],
    [q.images[0] for q in questions],
    max_new_tokens=max_new_tokens,
  )
  return [
    {
      "text": "\n".join(
        markup.parse(line, predictor.tokenizer).text
        for line in answer.text.split(LINE)
      ),
      "finished": answer.finished,
    }
    for answer in answers
  ]


def score_choices(
  predictor: Any,
  questions: Sequence[Question],
  choices: Sequence[Sequence[str]],
  *,
  grounded: bool,
) -> list[list[tuple[float, ...]]]:
  """How probable each choice is behind `Question: … Answer:`.

  Choices of a question follow each other, so that they share its picture and
  its prompt.

  Args:
    predictor: a `Predictor`, or anything with its `score`.
    questions: `ask` has the `question`.
    choices: for each question, at least one.
    grounded: see `generate`.

  Returns:
    For each choice of each question the log-probabilities of its tokens.
  """
  asked, continuations, images = [], [], []
  for question, several in zip(questions, choices, strict=True):
    prompt = prompts.question(question.ask["question"], grounded)
    asked += [prompt] * len(several)
    continuations += several
    images += [question.images[0]] * len(several)
  scores = iter(predictor.score(asked, continuations, images))
  return [
    [tuple(next(scores).log_probs) for _ in several] for several in choices
  ]


def first_answer(text: str) -> str:
  """What of a written text is the answer.

  The original stops at `</s>` and at nothing else. A model that does not end
  there goes on with a new line or another question, so that the answer ends
  with its first line, and before a further `Question:`.
  """
  line, *_ = text.strip().split("\n", 1)
  return line.split(_NEXT, 1)[0].strip()


def mean(log_probs: Sequence[float]) -> float:
  """Log-probability for each token: length does not count."""
  return sum(log_probs) / len(log_probs)


def best(values: Sequence[float]) -> int:
  """The first of the largest."""
  return max(range(len(values)), key=lambda i: (values[i], -i))
