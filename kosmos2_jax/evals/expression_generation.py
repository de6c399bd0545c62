"""Referring expression generation: which words mean the thing in a box."""

import copy
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kosmos2_jax.evals import answer_texts, solved_examples, things
from kosmos2_jax.evals.examples import Example
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
from kosmos2_jax.evals.scoring import captions as scoring
from kosmos2_jax.evals.scoring import coco_scorers
from kosmos2_jax.generation.answers import before_another
from kosmos2_jax.text.grounded import Box, Phrase

METRICS = ("cider", "meteor")
# Things of the splits that results are published on.
FULL_SIZES = {2573: "RefCOCOg val", 5023: "RefCOCOg test"}
_README = "unilm README, RefCOCOg (split not named)"
_PAPER = "Kosmos-2 paper, RefCOCOg (split not named)"
# What Kosmos-2 is printed with, by `shots`.
PRINTED = {
  0: (Published("meteor", 12.2, _README), Published("cider", 60.3, _README)),
  2: (Published("meteor", 13.8, _README), Published("cider", 62.2, _README)),
  4: (
    Published("meteor", 14.1, _README),
    Published("cider", 62.2, _README),
    Published("cider", 62.3, _PAPER),
  ),
}


class ExpressionGeneration(Evaluator):
  """Asks for words that mean the thing in a box, one question for each thing.

  The prompt is `<grounding><phrase>It</phrase><object>A B</object> is`. With
  `shots`, as many solved examples come first, each a picture and its prompt
  with an expression and a full stop behind it: the form of the model's
  training instructions, one after the other, as the original joined them.

  The whole answer counts, up to `</s>` or to where the model itself begins
  another example (`<image>` or `<grounding>`): the original's scorers take
  punctuation out and see one row of words, so a full stop is nothing and a
  second sentence is words too many.

  References are all expressions of the same thing: the same picture and the
  same box.

  Attributes:
    shots: solved examples before the question, each of another picture.
    seed: of their choice, which depends on the seed and the question's id.
    pool: pictures that they are chosen from, the first of the support.
    support: split of the same dataset that they come from.
    num_beams: answers followed at once; 1: greedy.
    max_new_tokens: where an answer is cut off.
    no_repeat_ngram_size: see `captioning.Caption`. The rule sees the solved
      examples, too: three tokens of theirs in a row cannot be answered.
  """

  name = "expression_generation"
  version = "1"

  def __init__(
    self,
    *,
    shots: int = 0,
    seed: int = 0,
    pool: int = 64,
    support: str = "train",
    num_beams: int = 1,
    max_new_tokens: int = 64,
    no_repeat_ngram_size: int | None = None,
  ):
    """Keeps its arguments; see the attributes.

    Raises:
      ValueError: for a number out of range.
    """
    if shots < 0 or seed < 0 or num_beams < 1 or max_new_tokens < 1:
      raise ValueError(
        "shots and seed are 0 or more, num_beams and max_new_tokens 1 or more;"
        f" got {shots}, {seed}, {num_beams} and {max_new_tokens}."
      )
    if pool <= shots:
      raise ValueError(
        f"pool is more than shots, so that {shots} pictures are left where one"
        f" is the question's own; got {pool}."
      )
    self.shots = shots
    self.seed = seed
    self.pool = pool
    self.support = support
    self.num_beams = num_beams
    self.max_new_tokens = max_new_tokens
    self.no_repeat_ngram_size = no_repeat_ngram_size
    self._solved: tuple[solved_examples.Solved, ...] | None = None

  @property
  def protocol(self) -> str:
    """One sentence for readers of the numbers."""
    shown = "no solved example"
    if self.shots:
      shown = (
        f"{self.shots} solved examples before it, drawn for each question from"
        f" {self.pool} pictures of {self.support} with seed {self.seed}"
      )
    decoding = answer_texts.decoding(
      self.num_beams, 1.0, self.max_new_tokens, self.no_repeat_ngram_size
    )
    return (
      "prompt <grounding><phrase>It</phrase><object>A B</object> is, with"
      f" {shown}, {decoding}; the whole answer without tags against all"
      " expressions of the same box, by pycocoevalcap's scorers, x 100;"
      " intervals of CIDEr keep the document frequencies of all answers"
    )

  def with_support(self, examples: Iterable[Example]) -> "ExpressionGeneration":
    """Returns this evaluator with solved examples to choose from.

    Args:
      examples: with `image` and `expressions`, of a split that is not asked
        about; read until `pool` pictures are found that can be shown.

    Raises:
      ValueError: there are too few.
    """
    solved = solved_examples.read(examples, self.pool)
    if len(solved) <= self.shots:
      raise ValueError(
        f"{self.shots} solved examples of other pictures need more than"
        f" {self.shots} pictures with expressions in the split"
        f" {self.support!r}; found {len(solved)}: choose another split as"
        " `support`, or fewer `shots`."
      )
    other = copy.copy(self)
    other._solved = solved
    return other

  def questions(self, examples: Iterable[Example]) -> Iterator[Question]:
    """One for each thing that expressions mean.

    An example that has all expressions of its thing (`same_box`) is asked
    about once; examples of the same thing that come later are the same
    question. Without that, expressions of a thing that follow one another
    become one question, and what comes later is asked again and scored with
    the first.

    Args:
      examples: with `image` and `expressions`, and `image_file` where several
        are of one picture.

    Raises:
      ModuleNotFoundError: pycocoevalcap is missing, found before anything is
        asked.
      ValueError: an example lacks what is needed, or `with_support` was not
        called.
    """
    coco_scorers.require()
    if self.shots and self._solved is None:
      raise ValueError(
        f"expression_generation with shots={self.shots} needs solved examples:"
        f" call with_support(examples of the split {self.support!r}) and use"
        " the evaluator that it returns."
      )
    done = set()
    found = itertools.chain.from_iterable(map(things.read, examples))
    for key, group in itertools.groupby(found, key=lambda thing: thing.key):
      thing, *others = group
      texts = thing.texts
      if thing.complete:
        if key in done:
          continue
        done.add(key)
      else:
        texts += sum((other.texts for other in others), ())
      shots = []
      if self.shots:
        shots = solved_examples.draw(
          self._solved, self.shots, self.seed, thing.id, thing.picture
        )
      yield Question(
        id=thing.id,
        group=thing.picture,
        images=(*(shot.image for shot in shots), thing.image),
        ask={
          "box": list(thing.box),
          "shots": [
            {"box": list(shot.box), "text": shot.text} for shot in shots
          ],
        },
        truth={
          "picture": thing.picture,
          "box": list(thing.box),
          "expressions": list(texts),
        },
      )

  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """Asks for expressions.

    Returns:
      See `answer_texts.read`; and `ran_on`, True where another example
      that the model began was cut off.

    Raises:
      ValueError: the prompt with its pictures is longer than the context.
    """
    vocab = predictor.tokenizer.vocab
    answers = predictor.generate(
      [
        solved_examples.write_prompt(question.ask, vocab.num_bins)
        for question in questions
      ],
      [list(question.images) for question in questions],
      num_beams=self.num_beams,
      max_new_tokens=self.max_new_tokens,
      no_repeat_ngram_size=self.no_repeat_ngram_size,
    )
    found = []
    for answer in answers:
      tokens = before_another(answer.tokens, vocab)
      ran_on = len(tokens) < len(answer.tokens)
      found.append(
        answer_texts.read(
          tokens, answer.finished or ran_on, predictor.tokenizer
        )
        | {"ran_on": ran_on}
      )
    return found

  def score(self, records: Sequence[Record]) -> Scores:
    """CIDEr and METEOR, times 100, over things.

    Raises:
      ModuleNotFoundError, ValueError: see `scoring.captions.score`.
    """
    numbers: dict[tuple, int] = {}  # of things, by picture and box
    first: list[Record] = []  # of each thing
    references: list[list[str]] = []
    for record in records:
      key = _key(record)
      if key not in numbers:
        numbers[key] = len(first)
        first.append(record)
        references.append([])
      references[numbers[key]] += record.truth["expressions"]
    scores = scoring.score(
      references, [record.answer["text"] for record in first], METRICS
    )
    of_record = np.array([numbers[_key(record)] for record in records], int)
    _, firsts = np.unique(of_record, return_index=True)
    place = np.full(len(records), -1)
    place[firsts] = of_record[firsts]
    return dataclasses.replace(
      scores,
      metrics={
        name: _by_record(metric, place)
        for name, metric in scores.metrics.items()
      },
      counts={
        **answer_texts.counts(first),
        "ran_on": sum(record.answer["ran_on"] for record in first),
        "asked_again": len(records) - len(first),
        **scores.counts,
      },
      quality=scores.quality[of_record],
      notes=(*scoring.size_notes(len(first), FULL_SIZES), *scores.notes),
    )

  def view(self, record: Record) -> View:
    """The box that was asked about, what was said and what is true.

    The box is in the last picture of the question.
    """
    said = record.answer["text"]
    texts = record.truth["expressions"]
    box = Box(record.truth["box"])
    return View(
      predicted=(Phrase(said, (0, len(said)), (box,)),),
      annotated=(),
      lines=(said or "(no text)", *(f"true: {text}" for text in texts)),
    )

  def published(self, dataset: str, split: str) -> tuple[Published, ...]:
    """Kosmos-2 on RefCOCOg with as many shots."""
    if dataset != "refcocog" or split not in ("val", "test"):
      return ()
    return PRINTED.get(self.shots, ())


def _key(record: Record) -> tuple:
  """Equal for records about the same thing."""
  return record.truth["picture"], *record.truth["box"]


def _by_record(metric: Metric, place: np.ndarray) -> Metric:
  """A metric over things as one over records.

  Args:
    metric: of things.
    place: of each record its thing; -1 for one that was asked again.
  """
  counted = place >= 0
  if metric.numerators is not None:
    numerators = np.zeros(len(place))
    numerators[counted] = metric.numerators[place[counted]]
    return dataclasses.replace(
      metric, numerators=numerators, denominators=counted.astype(np.float64)
    )

  def resample(indices: np.ndarray) -> float:
    drawn = place[indices]
    return metric.resample(drawn[drawn >= 0])

  return dataclasses.replace(metric, resample=resample)
