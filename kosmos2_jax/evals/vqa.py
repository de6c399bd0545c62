"""Questions about pictures, answered in words of one's own or by choosing."""

import collections
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
  Published,
  Question,
  Record,
  Scores,
  View,
)
from kosmos2_jax.evals.scoring import vqa as scoring

MODES = ("open", "choices")
LENGTHS = ("mean", "sum")
# In the form that the server takes.
SERVER_FILE = "vqa_results.json"
_UPLOAD = (
  "the answers of this split are not public: there is no score; upload"
  f" {SERVER_FILE} to the challenge's server (https://visualqa.org/challenge"
  ".html, on EvalAI), which wants every question of the split"
)
_PUBLISHED = (
  (45.6, "Kosmos-2 paper, before instruction tuning"),
  (51.1, "unilm README, tuned"),
)


class VisualQuestionAnswering(Evaluator):
  """VQAv2: an answer counts as far as ten people gave it, too.

  Attributes:
    mode: "open": the model writes; "choices": the most probable of given
      answers is taken: the question's own `multiple_choices`, else
      `candidates`.
    candidates: answers to choose from, such as the most frequent of training.
    length: by what choices are compared: the "mean" log-probability of their
      tokens, or its "sum".
    grounded: whether `<grounding>` stands before the prompt.
    max_new_tokens: where a written answer is cut off.
  """

  name = "vqa"
  version = "1"

  def __init__(
    self,
    *,
    mode: str = "open",
    candidates: Sequence[str] = (),
    length: str = "mean",
    grounded: bool = False,
    max_new_tokens: int = 16,
  ):
    """Keeps its arguments; see the attributes.

    Raises:
      ValueError: for an unknown mode or length, candidates that are none or
        that nobody would choose from, or no room for an answer.
    """
    for name, value, known in (
      ("mode", mode, MODES),
      ("length", length, LENGTHS),
    ):
      if value not in known:
        raise ValueError(f"{name} must be one of {known}; got {value!r}.")
    if isinstance(candidates, str) or not all(
      isinstance(each, str) and each.strip() for each in candidates
    ):
      raise ValueError(
        f"candidates must be a list of answers in words; got {candidates!r}."
      )
    if candidates and mode != "choices":
      raise ValueError('candidates are for mode="choices"; set it.')
    if max_new_tokens < 1:
      raise ValueError(f"max_new_tokens is at least 1; got {max_new_tokens}.")
    self.mode = mode
    self.candidates = tuple(candidates)
    self.length = length
    self.grounded = grounded
    self.max_new_tokens = max_new_tokens

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    prompt = f"prompt {'<grounding>' * self.grounded}Question: {{q}} Answer:"
    if self.mode == "open":
      answered = (
        f"greedy, at most {self.max_new_tokens} tokens, n-grams repeated as"
        " the checkpoint allows, the answer ends with the first line and"
        " before a further 'Question:'"
      )
    else:
      given = "the question's own choices"
      if self.candidates:
        given += f", else {len(self.candidates)} given answers"
      answered = (
        f"the most probable of {given} by the {self.length} of the"
        " log-probabilities of its tokens, the first of equals"
      )
    return (
      f"{prompt}, {answered}; accuracy min(n / 3, 1) where n of the other"
      " people gave the answer, mean over people, normalised by the official"
      " rules where people disagree; x 100"
    )

  def questions(self, examples: Iterable[Example]) -> Iterator[Question]:
    """One for each example: `question`, and `answers`, none in test splits.

    Raises:
      ValueError: for an example without these, or without choices where the
        model is to choose.
    """
    for example in examples:
      ask: dict[str, Any] = {
        "question": short_answers.words(example, "question")
      }
      if self.mode == "choices":
        own = [str(each) for each in example.get("multiple_choices") or ()]
        if own:
          ask["choices"] = own
        elif not self.candidates:
          raise ValueError(
            f"there is nothing to choose from for question"
            f" {example.get('id')!r}: it has no multiple_choices; give the"
            " task candidates, or take mode='open'."
          )
      truth = {
        "answers": [str(each) for each in field(example, "answers")],
        "answer_type": str(example.get("answer_type") or ""),
        "question_type": str(example.get("question_type") or ""),
      }
      yield short_answers.make_question(example, ask, truth)

  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """For each `text`, with `finished` or the `log_prob` it was chosen by."""
    if self.mode == "open":
      return short_answers.generate(
        predictor,
        questions,
        grounded=self.grounded,
        max_new_tokens=self.max_new_tokens,
      )
    choices = [q.ask.get("choices") or self.candidates for q in questions]
    found = short_answers.score_choices(
      predictor, questions, choices, grounded=self.grounded
    )
    compared = short_answers.mean if self.length == "mean" else sum
    answers = []
    for several, log_probs in zip(choices, found, strict=True):
      values = [compared(each) for each in log_probs]
      chosen = short_answers.best(values)
      answers.append({"text": several[chosen], "log_prob": values[chosen]})
    return answers

  def score(self, records: Sequence[Record]) -> Scores:
    """The official accuracy, and that with all answers normalised.

    Raises:
      ValueError: if there is no record.
    """
    if not records:
      raise ValueError(
        "there is no question; choose another dataset or split for the task."
      )
    answers = [self._answer(record) for record in records]
    counts = {
      "questions": len(records),
      "empty_answers": answers.count(""),
      "cut_off": sum(not r.answer.get("finished", True) for r in records),
      "without_truth": sum(not r.truth["answers"] for r in records),
    }
    if counts["without_truth"] == len(records):
      return Scores(len(records), {}, counts, notes=(_UPLOAD,))
    official, lenient = (
      np.array(
        [
          scoring.accuracy(answer, record.truth["answers"], always)
          if record.truth["answers"]
          else 0.0
          for answer, record in zip(answers, records, strict=True)
        ]
      )
      for always in (False, True)
    )
    counted = np.array([float(bool(r.truth["answers"])) for r in records])
    return Scores(
      int(counted.sum()),
      {
        "accuracy": _percent(official, counted),
        "accuracy_always_normalised": _percent(lenient, counted),
      },
      counts,
      {"accuracy": _by_category(records, official)},
      quality=official,
    )

  def view(self, record: Record) -> View:
    """The question, the answer, and what people said."""
    said = collections.Counter(record.truth["answers"]).most_common()
    people = ", ".join(f"{text} ({count})" for text, count in said)
    return View(
      (),
      (),
      (
        record.ask["question"],
        f"answer: {self._answer(record) or '(nothing)'}",
        f"people: {people or '(not public)'}",
      ),
    )

  def published(self, dataset: str, split: str) -> tuple[Published, ...]:
    """Those of test-dev; with val's they compare roughly, which they say."""
    if not dataset.startswith("vqav2") or split == "train":
      return ()
    other = "" if split == "test_dev" else f", not {split}"
    return tuple(
      Published("accuracy", value, f"{source}; test-dev{other}")
      for value, source in _PUBLISHED
    )

  def files(self, records: Sequence[Record]) -> Mapping[str, str]:
    """The answers as the server takes them; none if ids are no numbers."""
    if not all(
      record.id.isascii() and record.id.isdigit() for record in records
    ):
      return {}
    results = [
      {"question_id": int(record.id), "answer": self._answer(record)}
      for record in records
    ]
    return {SERVER_FILE: json.dumps(results, ensure_ascii=False) + "\n"}

  def _answer(self, record: Record) -> str:
    if self.mode == "choices":
      return record.answer["text"]
    return short_answers.first_answer(record.answer["text"])


def _percent(parts: np.ndarray, counted: np.ndarray) -> Metric:
  value = 100.0 * float(parts.sum() / counted.sum())
  return Metric(value, parts, counted, scale=100.0)


def _by_category(
  records: Sequence[Record], parts: np.ndarray
) -> dict[str, float]:
  """Mean in percent: answer types, then question types, the largest first."""
  found: dict[str, float] = {}
  for kind in ("answer_type", "question_type"):
    groups: dict[str, list[float]] = {}
    for record, part in zip(records, parts, strict=True):
      if record.truth["answers"] and record.truth[kind]:
        groups.setdefault(record.truth[kind], []).append(float(part))
    for name in sorted(groups, key=lambda name: (-len(groups[name]), name)):
      label = f"{kind.removesuffix('_type')}: {name}"
      found[label] = 100.0 * sum(groups[name]) / len(groups[name])
  return found
