"""The way of pairs through the checks, the parser and the grounder.

A chain of generators: few pairs are in memory at a time, however many there
are. Cheap checks come first, the grounder, which is dear, last.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from data.building import pictures
from data.building.drops import Drop, Dropped, DropReport
from data.grit.build import captions, expressions, grounding, pairs, selection
from data.grit.build.asking import Asker, Question
from data.grit.build.clock import Clock
from data.grit.build.options import BuildOptions

# The parts of a build whose time is told apart.
STEPS = (
  *("reading", "captions", "parsing", "pictures"),
  *("grounding", "selecting", "writing"),
)
# How much waits at a time for the parser: pairs, and bytes of their pictures.
PARSED_PAIRS = 256
PARSED_BYTES = 64 << 20


@runtime_checkable
class Parser(Protocol):
  """What is asked of `parsing.Parser`."""

  identity: dict[str, str]

  def parse(self, captions: Iterable[str]) -> Iterator[Any]:
    """A parsed text for each caption, in their order."""


@dataclasses.dataclass(slots=True)
class Candidate:
  """A pair on its way."""

  pair: pairs.Pair
  caption: str
  phrases: Sequence[expressions.Phrase] = ()
  picture: pictures.Picture | None = None


class Chain:
  """The steps of a unit, each a generator over the one before."""

  def __init__(
    self,
    options: BuildOptions,
    report: DropReport,
    clock: Clock,
    parser: Parser,
    asker: Asker,
  ):
    """Takes the parts; all that is dropped is counted in `report`."""
    self._asker = asker
    self._options = options
    self._report = report
    self._clock = clock
    self._parser = parser

  def run(
    self, unit: pairs.Unit
  ) -> Iterator[tuple[Candidate, list[list[grounding.ScoredBox]]]]:
    """The pairs that are kept, with the boxes of each of their phrases."""
    read = self._clock.over("reading", pairs.read_unit(unit, self._report))
    checked = self._pictured(self._parsed(self._captioned(read)))
    for candidate, found in self._asker.ask(checked, _question):
      where = candidate.pair.where
      with self._clock.step("selecting"):
        boxes = selection.select(
          found, self._options.selection, self._report, where
        )
      if any(boxes):
        yield candidate, boxes
      else:
        self._report.add(Drop.NO_BOX_FOUND, where)

  def _captioned(self, read: Iterable[pairs.Pair]) -> Iterator[Candidate]:
    for pair in read:
      with self._clock.step("captions"):
        try:
          caption = captions.clean(pair.caption)
          captions.check(caption, self._options.captions)
        except Dropped as dropped:
          self._report.add(dropped.reason, pair.where)
          continue
      yield Candidate(pair, caption)

  def _parsed(self, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    for batch in _batches(candidates):
      with self._clock.step("parsing"):
        texts = [candidate.caption for candidate in batch]
        found = [expressions.phrases(doc) for doc in self._parser.parse(texts)]
      for candidate, phrases in zip(batch, found, strict=True):
        where = candidate.pair.where
        self._report.items_read += len(phrases.dropped)
        for reason in phrases.dropped:
          self._report.add(reason, where)
        if phrases.phrases:
          candidate.phrases = phrases.phrases
          yield candidate
        else:
          self._report.add(Drop.NO_CHUNK_LEFT, where)

  def _pictured(self, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    for candidate in candidates:
      with self._clock.step("pictures"):
        try:
          candidate.picture = pictures.check_picture(
            candidate.pair.image,
            min_side=self._options.min_side,
            shorter_side=self._options.shorter_side,
            upright=self._options.upright,
          )
        except Dropped as dropped:
          self._report.add(dropped.reason, candidate.pair.where)
          continue
      yield candidate


def _batches(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
  batch: list[Candidate] = []
  size = 0
  for candidate in candidates:
    batch.append(candidate)
    size += len(candidate.pair.image)
    if len(batch) == PARSED_PAIRS or size >= PARSED_BYTES:
      yield batch
      batch, size = [], 0
  if batch:
    yield batch


def _question(candidate: Candidate) -> Question:
  pair = candidate.pair
  spans = tuple(phrase.chunk for phrase in candidate.phrases)
  return Question(
    pair.id, candidate.picture, candidate.caption, spans, pair.where
  )
