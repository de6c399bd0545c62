"""What a task is: it makes questions, asks them, and scores the answers.

The three are apart so that answers can be kept in a file: a run that was
killed asks only what has no answer yet, and scores come from the file alone.
Nothing here reads files or knows a dataset; `engine` drives a task.
"""

import abc
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from kosmos2_jax.evals.examples import Example
from kosmos2_jax.text.grounded import Phrase

# What JSON can say, and says back unchanged: dicts with string keys, lists,
# strings, numbers, booleans, None.
Json = Any


class Question(NamedTuple):
  """One thing to ask.

  Attributes:
    id: unique in the task and the same in every run.
    group: what the bootstrap draws as one: the picture's identity (questions
      about one picture are not independent), or the id.
    images: pictures in order, uint8 [height, width, 3]; () for text alone.
    ask: all that `Evaluator.ask` reads beside the pictures.
    truth: all that `Evaluator.score` reads beside the answer.
  """

  id: str
  group: str
  images: tuple[Any, ...]
  ask: Json
  truth: Json


class Record(NamedTuple):
  """An answered question, as it stands in `predictions.jsonl`.

  Attributes:
    id: of the question.
    group: of the question.
    ask: of the question.
    truth: of the question.
    answer: what `Evaluator.ask` returned for it.
  """

  id: str
  group: str
  ask: Json
  truth: Json
  answer: Json


@dataclasses.dataclass(frozen=True, eq=False)
class Metric:
  """A number, and what each record adds to it.

  Attributes:
    value: as the official scorer computes it over all records.
    numerators: float64 [n], one for each record; None where the number does
      not come apart into records.
    denominators: float64 [n]; None: ones, the number is a mean. The value is
      the sum of the numerators over that of the denominators, times `scale`.
    resample: instead of these, computes the value over records drawn with
      repetition (int indices [k] into the records), for what is no ratio.
    scale: 100.0 where the field writes percent or CIDEr x 100, else 1.0.
  """

  value: float
  numerators: Float[np.ndarray, " n"] | None = None
  denominators: Float[np.ndarray, " n"] | None = None
  resample: Callable[[np.ndarray], float] | None = None
  scale: float = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
  """What the records of a task are worth.

  Attributes:
    n: how many items the metrics are over.
    metrics: by name, the main one first.
    counts: the whole numbers behind them, and what was left out, by reason.
    categories: metric of each category, for bars: name of the metric ->
      category -> value.
    quality: float64 [n records], how good each answer is (higher is better),
      to show the best and the worst; None where only all together have one.
    notes: sentences that belong to the numbers ("METEOR needs Java …").
  """

  n: int
  metrics: Mapping[str, Metric]
  counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
  categories: Mapping[str, Mapping[str, float]] = dataclasses.field(
    default_factory=dict
  )
  quality: Float[np.ndarray, " n"] | None = None
  notes: tuple[str, ...] = ()


class View(NamedTuple):
  """A judged answer as people see it, without its picture.

  Attributes:
    predicted: phrases with the boxes the model gave.
    annotated: phrases with the true boxes.
    lines: what to print beneath: the question, the answer, the truth.
  """

  predicted: tuple[Phrase, ...]
  annotated: tuple[Phrase, ...]
  lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
  """All there is to tell of one task that was run.

  Attributes:
    evaluator: that asked and scored.
    records: all of them, in the order of the questions.
    scores: of the records.
    cases: which records are shown: "best", "worst", "random" -> indices.
    pictures: of these records: index -> pictures, uint8 [height, width, 3].
  """

  evaluator: "Evaluator"
  records: Sequence[Record]
  scores: Scores
  cases: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
  pictures: Mapping[int, tuple[np.ndarray, ...]] = dataclasses.field(
    default_factory=dict
  )


class Published(NamedTuple):
  """A number that somebody printed.

  Attributes:
    metric: name in `Scores.metrics`, same scale.
    value: as printed.
    source: where: "Kosmos-2 paper, table 4", "unilm README".
  """

  metric: str
  value: float
  source: str


class Evaluator(abc.ABC):
  """A task with its prompt, decoding, scorer and published numbers.

  Subclasses take keyword-only options with defaults, all of them plain values
  that a config can hold, and raise ValueError for those that make no sense.

  Attributes:
    name: key in `EVALUATORS`.
    version: numbers of different versions do not compare; any change that can
      move a number gets a new one.
    reads_examples: False if it brings its questions itself; `questions` is
      given nothing then.
  """

  name: ClassVar[str]
  version: ClassVar[str]
  reads_examples: ClassVar[bool] = True

  @property
  @abc.abstractmethod
  def protocol(self) -> str:
    """One sentence for readers of the numbers: prompt, decoding, what counts.

    Options that can move a number are named in it.
    """

  @abc.abstractmethod
  def questions(self, examples: Iterable[Example]) -> Iterator[Question]:
    """Makes the questions, lazily, in the order of the examples.

    Pure: the same examples give the same questions, ids included.

    Raises:
      ValueError: for an example that lacks what the task needs.
    """

  @abc.abstractmethod
  def ask(self, predictor: Any, questions: Sequence[Question]) -> list[Json]:
    """Asks some questions at once; an answer depends on its own alone.

    Args:
      predictor: a `Predictor`, or anything with its batched methods
        (`generate`, `locate_batch`, `score`), which take lists.
      questions: any of them, in any order.

    Returns:
      An answer for each question.
    """

  @abc.abstractmethod
  def score(self, records: Sequence[Record]) -> Scores:
    """Scores all records; reads nothing but them.

    Raises:
      ValueError: if there is nothing that can be scored.
    """

  def view(self, record: Record) -> View:
    """A judged answer as people see it."""
    return View((), (), (str(record.ask), str(record.answer)))

  def cost(self, question: Question) -> int:
    """About how many tokens its text has; like ones are asked together."""
    return len(str(question.ask)) // 4

  def published(self, dataset: str, split: str) -> tuple[Published, ...]:
    """What is printed of Kosmos-2 on this data; () where nothing is.

    Args:
      dataset: the task's, with its options where it has several, such as
        "refcoco+".
      split: such as "testA".
    """
    del dataset, split
    return ()

  def files(self, records: Sequence[Record]) -> Mapping[str, str]:
    """Further files for people or servers: name -> content.

    Such as the answers in the form that a test server takes.
    """
    del records
    return {}
