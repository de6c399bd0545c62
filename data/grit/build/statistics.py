"""How many pictures, expressions and boxes, beside the paper's numbers."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data.building.drops import DropReport

# arXiv:2306.14824, the table of GrIT beside other data sets.
PAPER_IMAGES = 90_614_680
PAPER_SPANS = 114_978_233
PAPER_BOXES = 137_349_210
PAPER_WORDS = 4.7
# Bins of the scores from 0 to 1; the last one has its upper end, too.
BINS = 20
_BAR = 40


@dataclasses.dataclass
class Statistics:
  """Counts of records as they are written.

  Expressions are those of `ref_exps`, and so are the boxes: in the paper's
  way of building, where none is a part of another, they are what its table
  counts. Where nested ones are kept, they are counted, too.

  Attributes:
    images: records.
    spans: expressions; one with several boxes counts once.
    boxes: of expressions.
    words: of expressions, separated by blanks.
    chunk_spans: noun chunks; one with several boxes counts once.
    chunk_boxes: of noun chunks.
    scores: boxes of expressions in each of `BINS` bins of their scores.
  """

  images: int = 0
  spans: int = 0
  boxes: int = 0
  words: int = 0
  chunk_spans: int = 0
  chunk_boxes: int = 0
  scores: list[int] = dataclasses.field(default_factory=lambda: [0] * BINS)

  def add(self, fields: Mapping[str, Any]) -> None:
    """Counts a record: its `caption`, `noun_chunks` and `ref_exps`."""
    caption, expressions = fields["caption"], fields["ref_exps"]
    spans = _spans(expressions)
    chunks = fields["noun_chunks"]
    self.images += 1
    self.spans += len(spans)
    self.boxes += len(expressions)
    self.words += sum(len(caption[start:end].split()) for start, end in spans)
    self.chunk_spans += len(_spans(chunks))
    self.chunk_boxes += len(chunks)
    for *_, score in expressions:
      self.scores[min(int(score * BINS), BINS - 1)] += 1

  def merge(self, other: "Statistics") -> None:
    """Adds the counts of other records."""
    for field in dataclasses.fields(self):
      mine, others = getattr(self, field.name), getattr(other, field.name)
      if field.name == "scores":
        total: Any = [a + b for a, b in zip(mine, others, strict=True)]
      else:
        total = mine + others
      setattr(self, field.name, total)

  def as_dict(self) -> dict[str, Any]:
    """The counts as JSON can hold them."""
    return dataclasses.asdict(self)

  @classmethod
  def from_dict(cls, told: Mapping[str, Any]) -> "Statistics":
    """The counts that `as_dict` told."""
    return cls(**{**told, "scores": list(told["scores"])})

  def table(self, report: DropReport) -> str:
    """For the console: counts beside the paper's, scores, what was dropped."""
    rows = [
      ("", "built", "GrIT (paper)"),
      ("images", f"{self.images:,}", f"{PAPER_IMAGES:,}"),
      ("expressions", f"{self.spans:,}", f"{PAPER_SPANS:,}"),
      ("boxes", f"{self.boxes:,}", f"{PAPER_BOXES:,}"),
      (
        "words an expression",
        _ratio(self.words, self.spans),
        str(PAPER_WORDS),
      ),
      (
        "expressions an image",
        _ratio(self.spans, self.images),
        _ratio(PAPER_SPANS, PAPER_IMAGES),
      ),
      (
        "boxes an image",
        _ratio(self.boxes, self.images),
        _ratio(PAPER_BOXES, PAPER_IMAGES),
      ),
      (
        "boxes an expression",
        _ratio(self.boxes, self.spans),
        _ratio(PAPER_BOXES, PAPER_SPANS),
      ),
      ("noun chunks", f"{self.chunk_spans:,}", "-"),
      ("boxes of noun chunks", f"{self.chunk_boxes:,}", "-"),
    ]
    parts = [*_align(rows), "", *self._score_lines(), "", report.table()]
    return "\n".join(parts)

  def _score_lines(self) -> list[str]:
    """A bar for each bin, from the first to the last that has a box."""
    used = [at for at, count in enumerate(self.scores) if count]
    if not used:
      return ["scores of boxes: none"]
    lines = ["scores of boxes"]
    for at in range(used[0], used[-1] + 1):
      count = self.scores[at]
      bar = "#" * -(-count * _BAR // max(self.scores))  # Rounded up.
      low, high = at / BINS, (at + 1) / BINS
      lines.append(f"  {low:.2f}-{high:.2f}  {count:>12,}  {bar}".rstrip())
    return lines


def _spans(items: Iterable[Sequence[int | float]]) -> set[tuple[Any, Any]]:
  return {(start, end) for start, end, *_ in items}


def _ratio(count: int, of: int) -> str:
  """With two digits; "-" of nothing."""
  return f"{count / of:.2f}" if of else "-"


def _align(rows: Sequence[tuple[str, ...]]) -> list[str]:
  """Names to the left, numbers to the right."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = []
  for name, *numbers in rows:
    cells = [name.ljust(widths[0])]
    cells += [n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True)]
    lines.append("  ".join(cells).rstrip())
  return lines
