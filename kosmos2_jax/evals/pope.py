"""Is it in the picture? Objects that are not there, and are said to be."""

import re
from collections.abc import Iterable, Iterator, Sequence
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

MODES = ("generate", "likelihood")
READINGS = ("published", "exact")
LABELS = ("yes", "no")
# Words of the published reading, which asks for these spellings.
_NO_WORDS = frozenset(("No", "no", "not"))
_YES_WORDS = frozenset(("Yes", "yes"))
_OUTER_MARKS = re.compile(r"^\W+|\W+$")


class ObjectHallucination(Evaluator):
  """POPE: questions of the form "Is there a dog in the image?".

  The published reading (`evaluate.py` of github.com/RUCAIBox/POPE) takes the
  text up to the first full stop, without commas, cuts it at spaces, and is no
  if `No`, `no` or `not` is among the words; everything else is yes, nonsense
  too. The exact reading wants the word yes or no alone, in any case and with
  marks around it; anything else is a wrong answer to either label.

  Attributes:
    mode: "generate": the model writes; "likelihood": the more probable of
      `words` is taken, yes if both are equally so.
    reading: of written text, "published" or "exact".
    words: for yes and for no, in mode "likelihood"; compared by the mean
      log-probability of their tokens.
    grounded: whether `<grounding>` stands before the prompt.
    max_new_tokens: where a written answer is cut off.
  """

  name = "pope"
  version = "1"

  def __init__(
    self,
    *,
    mode: str = "generate",
    reading: str = "published",
    words: Sequence[str] = ("yes", "no"),
    grounded: bool = False,
    max_new_tokens: int = 16,
  ):
    """Keeps its arguments; see the attributes.

    Raises:
      ValueError: for an unknown mode or reading, other than two words, or no
        room for an answer.
    """
    for name, value, known in (
      ("mode", mode, MODES),
      ("reading", reading, READINGS),
    ):
      if value not in known:
        raise ValueError(f"{name} must be one of {known}; got {value!r}.")
    if isinstance(words, str) or len(words) != 2 or not all(words):
      raise ValueError(f"words must be two, for yes and for no; got {words!r}.")
    if max_new_tokens < 1:
      raise ValueError(f"max_new_tokens is at least 1; got {max_new_tokens}.")
    self.mode = mode
    self.reading = reading
    self.words = tuple(words)
    self.grounded = grounded
    self.max_new_tokens = max_new_tokens

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    prompt = f"prompt {'<grounding>' * self.grounded}Question: {{q}} Answer:"
    if self.mode == "likelihood":
      return (
        f"{prompt}, the more probable of {self.words[0]!r} and"
        f" {self.words[1]!r} (mean log-probability of its tokens) counts; yes"
        " is the positive class; x 100"
      )
    read = (
      "no if No, no or not is a word of its first sentence, else yes"
      if self.reading == "published"
      else "yes or no alone, anything else is wrong"
    )
    return (
      f"{prompt}, greedy, at most {self.max_new_tokens} tokens, n-grams"
      " repeated as the checkpoint allows, the answer ends with the first line"
      f" and before a further 'Question:' and is {read}; yes is the positive"
      " class; x 100"
    )

  def questions(self, examples: Iterable[Example]) -> Iterator[Question]:
    """One for each example, with `question` and `label`.

    Raises:
      ValueError: for an example without these, or another label.
    """
    for example in examples:
      label = field(example, "label")
      if label not in LABELS:
        raise ValueError(
          f"the label of a question is 'yes' or 'no'; that of"
          f" {example.get('id')!r} is {label!r}: mend it."
        )
      yield short_answers.make_question(
        example,
        {"question": short_answers.words(example, "question")},
        {"label": label},
      )

  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """For each `text` and `finished`, or `log_probs` of yes and of no."""
    if self.mode == "generate":
      return short_answers.generate(
        predictor,
        questions,
        grounded=self.grounded,
        max_new_tokens=self.max_new_tokens,
      )
    found = short_answers.score_choices(
      predictor,
      questions,
      [self.words] * len(questions),
      grounded=self.grounded,
    )
    return [{"log_probs": [list(x) for x in several]} for several in found]

  def score(self, records: Sequence[Record]) -> Scores:
    """Accuracy, and precision, recall and F1 of yes.

    Raises:
      ValueError: if there is no record.
    """
    if not records:
      raise ValueError(
        "there is no question; choose another dataset or split for the task."
      )
    read = [self._read(record) for record in records]
    labels = [record.truth["label"] for record in records]

    def where(said: str | None, label: str) -> np.ndarray:
      pairs = zip(read, labels, strict=True)
      return np.array([float(pair == (said, label)) for pair in pairs])

    true_yes, true_no = where("yes", "yes"), where("no", "no")
    false_yes = where("yes", "no")
    # Whoever was not understood did not say that it is there.
    false_no = where("no", "yes") + where(None, "yes")
    right, one = true_yes + true_no, np.ones(len(records))
    said_yes, is_yes = true_yes + false_yes, true_yes + false_no
    unreadable = [self._is_unreadable(record) for record in records]
    return Scores(
      len(records),
      {
        "accuracy": _ratio(right, one),
        "precision": _ratio(true_yes, said_yes),
        "recall": _ratio(true_yes, is_yes),
        "f1": _ratio(2 * true_yes, said_yes + is_yes),
        "yes_rate": _ratio(said_yes, one),
      },
      {
        "true_yes": int(true_yes.sum()),
        "false_yes": int(false_yes.sum()),
        "true_no": int(true_no.sum()),
        "false_no": int(where("no", "yes").sum()),
        "unreadable": sum(unreadable),
        "empty_answers": sum(not self._text(record) for record in records),
      },
      {
        "accuracy": {
          f"label: {label}": 100.0 * float(right[chosen].mean())
          for label in LABELS
          if any(chosen := [each == label for each in labels])
        }
      },
      quality=right,
    )

  def view(self, record: Record) -> View:
    """The question, what was read of the answer, and the label."""
    if self.mode == "generate":
      said = f"{self._text(record) or '(nothing)'} = {self._read(record)}"
    else:
      said = str(self._read(record))
    return View(
      (),
      (),
      (
        record.ask["question"],
        f"answer: {said}",
        f"label: {record.truth['label']}",
      ),
    )

  def _text(self, record: Record) -> str:
    if self.mode == "likelihood":
      return str(self._read(record))
    return short_answers.first_answer(record.answer["text"])

  def _read(self, record: Record) -> str | None:
    """Yes, no, or None for what is neither."""
    if self.mode == "likelihood":
      yes, no = map(short_answers.mean, record.answer["log_probs"])
      return "yes" if yes >= no else "no"
    text = self._text(record)
    if self.reading == "published":
      return "no" if _NO_WORDS & _first_words(text) else "yes"
    word = _OUTER_MARKS.sub("", text).lower()
    return word if word in LABELS else None

  def _is_unreadable(self, record: Record) -> bool:
    """Neither yes nor no is in it; the published reading takes it as yes."""
    if self.mode == "likelihood" or self.reading == "exact":
      return self._read(record) is None
    return not (_NO_WORDS | _YES_WORDS) & _first_words(self._text(record))


def _first_words(text: str) -> set[str]:
  sentence, *_ = text.split(".", 1)
  return set(sentence.replace(",", "").split(" "))


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> Metric:
  """In percent; 0 where there is nothing to divide by."""
  total = float(denominators.sum())
  value = 100.0 * float(numerators.sum()) / total if total else 0.0
  return Metric(value, numerators, denominators, scale=100.0)
