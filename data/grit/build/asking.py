"""Asks a grounder about pairs in batches, whatever it does."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.building.drops import Drop, DropReport
from data.building.pictures import Picture
from data.grit.build import grounding
from data.grit.build.clock import Clock
from data.grit.build.grounding import Request, ScoredBox

# A batch ends early where its pictures have so many pixels: they are decoded.
MAX_PIXELS = 64_000_000
# So many pairs in a row of which none could be asked about mean that the
# grounder will not answer any more, such as after a fault of its accelerator.
MAX_FAILURES = 100
MAX_ERRORS = 3

# Arguments that are one can be checked.
Grounder = runtime_checkable(grounding.Grounder)

T = TypeVar("T")
# Boxes of each phrase.
Boxes = list[list[ScoredBox]]


class Question(NamedTuple):
  """What a request is made of, and what the report calls its pair."""

  id: str
  picture: Picture
  caption: str
  spans: tuple[tuple[int, int], ...]
  where: str


class GrounderBroken(RuntimeError):
  """The grounder fails all the time; another process may do better."""


class PictureRequest(Request):
  """A request that decodes its picture when it is first looked at.

  Most of the pictures' time is spent decoding, and a grounder that looks up
  its answers needs no pixels.
  """

  def __init__(self, question: Question, clock: Clock):
    """Takes the picture as it is stored; decoding is a step of the clock."""
    for name, value in (
      ("id", question.id),
      ("caption", question.caption),
      ("spans", question.spans),
      ("_picture", question.picture),
      ("_clock", clock),
    ):
      object.__setattr__(self, name, value)  # Requests are frozen.

  def __getattr__(self, name: str) -> UInt8[np.ndarray, "height width 3"]:
    """The picture; called where there is none yet."""
    if name != "image":
      raise AttributeError(name)
    with self._clock.step("pictures"):
      image = np.array(Image.open(io.BytesIO(self._picture.data)))
    object.__setattr__(self, "image", image)
    return image


class Asker:
  """Asks for batches, and where one fails for each of its pairs alone.

  Attributes:
    errors: what went wrong with the first pairs that failed, in words.
  """

  def __init__(self, grounder: Grounder, report: DropReport, clock: Clock):
    """Counts in `report` what failed; has the step "grounding" of `clock`."""
    self.errors: list[str] = []
    self._grounder = grounder
    self._report = report
    self._clock = clock
    self._failures = 0

  def ask(
    self, candidates: Iterable[T], question: Callable[[T], Question]
  ) -> Iterator[tuple[T, Boxes]]:
    """The candidates that could be asked about, in their order.

    Raises:
      GrounderBroken: `MAX_FAILURES` pairs in a row failed.
    """
    asked = ((candidate, question(candidate)) for candidate in candidates)
    for batch in self._batches(asked):
      requests = [PictureRequest(asked, self._clock) for _, asked in batch]
      answers = self._try(requests)
      for number, (candidate, about) in enumerate(batch):
        if answers is not None:
          yield candidate, answers[number]
          continue
        # Whichever of them it was, the others shall not suffer.
        alone = self._try([requests[number]], about.where)
        if alone is not None:
          yield candidate, alone[0]

  def _batches(
    self, asked: Iterable[tuple[T, Question]]
  ) -> Iterator[list[tuple[T, Question]]]:
    batch: list[tuple[T, Question]] = []
    pixels = 0
    for candidate, about in asked:
      batch.append((candidate, about))
      pixels += about.picture.width * about.picture.height
      if len(batch) >= self._grounder.batch_size or pixels >= MAX_PIXELS:
        yield batch
        batch, pixels = [], 0
    if batch:
      yield batch

  def _try(
    self, requests: Sequence[Request], where: str | None = None
  ) -> list[Boxes] | None:
    """The answers, None after an error; `where` they are counted, if alone."""
    try:
      with self._clock.step("grounding"):
        answers = _as_lists(self._grounder.ground(requests))
      _check(answers, requests)
    except Exception as error:
      if where is not None:
        self._count(error, where)
      return None
    self._failures = 0
    return answers

  def _count(self, error: Exception, where: str) -> None:
    self._report.add(Drop.GROUNDER_FAILED, where)
    words = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if len(self.errors) < MAX_ERRORS:
      self.errors.append(f"{where}: {words}")
    self._failures += 1
    if self._failures >= MAX_FAILURES:
      raise GrounderBroken(
        f"the grounder failed for {self._failures} pairs in a row, the last"
        f" time with {words}"
      )


def _as_lists(answers: Any) -> list[Boxes]:
  """The same in lists. Raises TypeError: it is something else."""
  return [
    [[ScoredBox(*box) for box in boxes] for boxes in answer]
    for answer in answers
  ]


def _check(answers: list[Boxes], requests: Sequence[Request]) -> None:
  """Raises ValueError where there is not an answer for each phrase."""
  counts = [len(answer) for answer in answers]
  asked = [len(request.spans) for request in requests]
  if counts != asked:
    raise ValueError(
      "expected of the grounder lists of boxes for"
      f" {' + '.join(map(str, asked))} phrases, found"
      f" {' + '.join(map(str, counts)) or 'none'}"
    )
