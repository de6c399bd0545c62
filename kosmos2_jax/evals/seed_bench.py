"""SEED-Bench, the part about pictures: the most probable of four choices."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kosmos2_jax.evals import short_answers
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
from kosmos2_jax.text import prompts

LETTERS = "ABCD"
PROTOCOLS = ("original", "exact")
# Digits that the original's scorer reads of every log-probability.
_DIGITS = 4
RESULTS_FILE = "seed_bench_results.jsonl"


class SeedBench(Evaluator):
  """Four choices, compared by the mean log-probability of their tokens.

  `protocol="original"` does what the scripts of Kosmos-2 do (`evaluation/
  seed-bench` in unilm): question and choice are one text, of which counts what
  follows the *first* "Answer:" in it, wherever that is; every log-probability
  is rounded to four digits, as it was printed. `protocol="exact"` rounds
  nothing, and what counts begins where the prompt ends. In both the first of
  equally probable choices is taken.

  Attributes:
    rules: "original" or "exact".
  """

  name = "seed_bench"
  version = "1"

  def __init__(self, *, protocol: str = "original"):
    """Keeps `protocol` as `rules`; see the class.

    Raises:
      ValueError: for an unknown protocol.
    """
    if protocol not in PROTOCOLS:
      raise ValueError(
        f"protocol must be one of {PROTOCOLS}; got {protocol!r}."
      )
    self.rules = protocol

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    counted = (
      "of what follows the first 'Answer:', each rounded to 4 digits"
      if self.rules == "original"
      else "of the choice"
    )
    return (
      f"{self.rules}: prompt Question: {{q}} Answer: {{choice}}, the largest"
      f" mean log-probability of the tokens {counted}; the first of equals;"
      " x 100"
    )

  def questions(self, examples: Iterable[Example]) -> Iterator[Question]:
    """One for each example: `question`, four `choices`, `answer`, its letter.

    Raises:
      ValueError: for an example without these.
    """
    for example in examples:
      choices = [_one_line(each).strip() for each in field(example, "choices")]
      answer = field(example, "answer")
      if len(choices) != len(LETTERS) or not all(choices):
        raise ValueError(
          f"a question has four choices in words; {example.get('id')!r} has"
          f" {choices}: mend it."
        )
      if answer not in tuple(LETTERS):
        raise ValueError(
          f"the answer of a question is one of A, B, C and D; that of"
          f" {example.get('id')!r} is {answer!r}: mend it."
        )
      question = _one_line(short_answers.words(example, "question"))
      yield short_answers.make_question(
        example,
        {"question": question, "choices": choices},
        {
          "answer": answer,
          "question_type": str(example.get("question_type") or ""),
        },
      )

  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """For each the log-probabilities of the tokens of each choice.

    Args:
      predictor: a `Predictor`, or anything with its `score` and, for the
        original's rules, its `tokenizer`.
      questions: any of them.

    Raises:
      ValueError: if the tokenizer spells the prompt in a way that leaves no
        "Answer:" in it.
    """
    if self.rules == "exact":
      found = short_answers.score_choices(
        predictor,
        questions,
        [q.ask["choices"] for q in questions],
        grounded=False,
      )
      return [{"log_probs": [list(x) for x in several]} for several in found]
    marker = predictor.tokenizer.encode(prompts.ANSWER)
    parts, images = [], []
    for question in questions:
      for choice in question.ask["choices"]:
        text = f"{prompts.QUESTION}{question.ask['question']}{prompts.ANSWER}"
        ids = predictor.tokenizer.encode(f"{text} {choice}")
        parts.append(_split(ids, marker, text))
        images.append(question.images[0])
    scores = predictor.score(
      [before for before, _ in parts], [after for _, after in parts], images
    )
    several = len(LETTERS)
    return [
      {
        "log_probs": [
          list(score.log_probs)
          for score in scores[i * several : (i + 1) * several]
        ]
      }
      for i in range(len(questions))
    ]

  def score(self, records: Sequence[Record]) -> Scores:
    """How many are right, of all and of each type.

    Raises:
      ValueError: if there is no record.
    """
    if not records:
      raise ValueError(
        "there is no question; choose another dataset or split for the task."
      )
    right = np.array(
      [float(self._letter(r) == r.truth["answer"]) for r in records]
    )
    ties = 0
    types: dict[str, list[float]] = {}
    for record, hit in zip(records, right, strict=True):
      values = self._values(record)
      ties += values.count(max(values)) > 1
      types.setdefault(record.truth["question_type"], []).append(float(hit))
    return Scores(
      len(records),
      {
        "accuracy": Metric(100.0 * float(right.mean()), right, scale=100.0),
      },
      {"right": int(right.sum()), "ties": ties},
      {
        "accuracy": {
          name: 100.0 * sum(hits) / len(hits)
          for name, hits in types.items()
          if name
        }
      },
      quality=right,
    )

  def view(self, record: Record) -> View:
    """The question, and its choices with their log-probabilities."""
    chosen, truth = self._letter(record), record.truth["answer"]
    lines = [record.ask["question"]]
    for letter, choice, value in zip(
      LETTERS, record.ask["choices"], self._values(record), strict=True
    ):
      marks = " chosen" * (letter == chosen) + " right" * (letter == truth)
      lines.append(f"{letter}. {choice} ({value:.3f}){marks}")
    return View((), (), tuple(lines))

  def files(self, records: Sequence[Record]) -> Mapping[str, str]:
    """The letters, a line for each question."""
    lines = [
      json.dumps({"question_id": r.id, "prediction": self._letter(r)})
      for r in records
    ]
    return {RESULTS_FILE: "".join(f"{line}\n" for line in lines)}

  def _values(self, record: Record) -> list[float]:
    """By what the choices are compared."""
    found = []
    for log_probs in record.answer["log_probs"]:
      if self.rules == "original":
        # Printed and read again, not `round`: these digits were summed.
        log_probs = [float(f"{each:.{_DIGITS}f}") for each in log_probs]
      found.append(short_answers.mean(log_probs))
    return found

  def _letter(self, record: Record) -> str:
    return LETTERS[short_answers.best(self._values(record))]


def _one_line(text: str) -> str:
  return text.replace("\n", " ")


def _split(
  ids: Sequence[int], marker: Sequence[int], text: str
) -> tuple[list[int], list[int]]:
  """Cuts ids behind the first occurrence of the marker in them."""
  for end in range(len(marker), len(ids)):
    if list(ids[end - len(marker) : end]) == list(marker):
      return list(ids[:end]), list(ids[end:])
  raise ValueError(
    f"the ids of the prompt {text!r} should have those of {prompts.ANSWER!r},"
    f" {list(marker)}, among them, with some behind; found {list(ids)}: use the"
    " tokenizer the model was trained with, or protocol='exact'."
  )
