"""Spans that nest and cross, as properly nested fragments and back.

Tags can only nest, phrases may also cross: in "two dogs and a cat on a sofa",
"two dogs and a cat" and "a cat on a sofa" do. `nest` closes a span where the
span around it ends and opens it again right behind (a *fragment* with the same
label); `join` puts such fragments together again:

    tokens   a b c d e        (A a b (B c)B )A (B d e)B
    A        |---|
    B            |---|        two fragments of B, cut where A ends

A fragment continues one that closed at the same place when both carry the same
label and the span around the first one closed there, too. In the rare case
that two different spans look like that, `nest` puts an empty pair of tags
between them, which excludes the next fragment from being continued. So
`join(nest(spans)) == spans` for any set of spans.
"""

import dataclasses
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class LabelledSpan:
  """Half-open range of places with a label, which is the boxes' tokens."""

  start: int
  end: int
  label: Hashable


@dataclasses.dataclass(frozen=True)
class Open:
  """The event `<phrase>`; `blank` ones are closed again at once."""

  blank: bool = False


@dataclasses.dataclass(frozen=True)
class Close:
  """The event `</phrase>`, followed by the label's boxes."""

  label: Hashable


@dataclasses.dataclass(frozen=True)
class Advance:
  """The event that the items (tokens) of some places are written."""

  start: int
  end: int


@dataclasses.dataclass(eq=False)
class Fragment:
  """What was read between a `<phrase>` and its `</phrase>`."""

  start: int
  end: int = -1
  label: Any = ()


@dataclasses.dataclass
class Border:
  """The tags between two items of text.

  Attributes:
    closed: fragments that close here, innermost first.
    opened: fragments that open here, outermost first; None for a blank pair.
  """

  closed: list[Fragment] = dataclasses.field(default_factory=list)
  opened: list[Fragment | None] = dataclasses.field(default_factory=list)


def maximal(spans: Sequence[LabelledSpan]) -> list[LabelledSpan]:
  """Keeps spans that neither nest nor cross, in order of their start.

  First every span goes that lies inside another one, as in the original; then
  of two that cross, the one that starts later.
  """
  outer = [
    span
    for span in spans
    if not any(
      other.start <= span.start and span.end <= other.end
      for other in spans
      if other is not span
    )
  ]
  kept = []
  for span in sorted(outer, key=lambda span: span.start):
    if not kept or kept[-1].end <= span.start:
      kept.append(span)
  return kept


def nest(
  spans: Sequence[LabelledSpan], num_places: int
) -> Iterator[Open | Close | Advance]:
  """Yields the tags and places of a text, tags properly nested.

  Args:
    spans: no two with the same start and end, none empty, all inside
      `0 .. num_places`.
    num_places: items of the text.
  """
  stack: list[LabelledSpan] = []
  starts: dict[int, list[LabelledSpan]] = {}
  for span in sorted(spans, key=lambda span: -span.end):
    starts.setdefault(span.start, []).append(span)
  done = 0
  for place in sorted(starts.keys() | {span.end for span in spans}):
    if done < place:
      yield Advance(done, place)
      done = place
    ending = [i for i, span in enumerate(stack) if span.end == place]
    cut = ending[0] if ending else len(stack)
    closed, stack = stack[cut:], stack[:cut]
    for span in reversed(closed):
      yield Close(span.label)
    # Continuations in the old order, so the order of any two open spans never
    # changes: earlier start outside, then longer outside.
    opening = [(i, span) for i, span in enumerate(closed) if span.end > place]
    opening += [(None, span) for span in starts.get(place, ())]
    labels = [span.label for span in closed]
    following = 1
    for source, span in opening:
      while (match := _continued(labels, following, span.label)) != source:
        yield Open(blank=True)
        following += 1
      following = following if match is None else match + 1
      yield Open()
      stack.append(span)
  if done < num_places:
    yield Advance(done, num_places)


def join(borders: Iterable[Border]) -> list[Fragment]:
  """Joins the fragments of cut spans; changes the fragments it is given.

  Args:
    borders: in the order of the text; fragments are complete.

  Returns:
    Every opened fragment but those that continue another, in order of
    opening; `end` is the end of the last continuation.
  """
  first_of: dict[Fragment, Fragment] = {}
  whole = []
  for border in borders:
    closed = border.closed[::-1]
    labels = [fragment.label for fragment in closed]
    following = 1
    for fragment in border.opened:
      if fragment is None:
        following += 1
        continue
      match = _continued(labels, following, fragment.label)
      if match is None:
        whole.append(fragment)
        first_of[fragment] = fragment
        continue
      following = match + 1
      first = first_of[closed[match]]
      first.end = fragment.end
      first_of[fragment] = first
  return whole


def _continued(
  labels: Sequence[Hashable], following: int, label: Hashable
) -> int | None:
  """Index of the closed span that one with this label would continue.

  Args:
    labels: of the spans closed at this border, outermost first. The outermost
      has truly ended, or nothing would have closed; hence `following >= 1`.
    following: first index that may still be continued.
    label: of the opening span; an empty one continues nothing.
  """
  if not label:
    return None
  for i in range(following, len(labels)):
    if labels[i] == label:
      return i
  return None
