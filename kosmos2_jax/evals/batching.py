"""Which questions are asked together: one picture's, then those of like length.

A batch is made of whole groups, the questions about one picture, so that the
picture is encoded once. Batches depend on the questions alone, never on what
is answered already: a run that goes on asks the very batches that the run
without a break would have asked, whose answers are the same to the bit.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kosmos2_jax.evals.protocol import Question

# Batches among which like questions look for each other.
WINDOW = 8
# Bytes of pictures after which a window is full, too.
WINDOW_BYTES = 1 << 28


class Numbered(NamedTuple):
  """A question and its place among all."""

  index: int
  question: Question


def make_batches(
  questions: Iterable[Question],
  size: int,
  cost: Callable[[Question], int],
  window_bytes: int = WINDOW_BYTES,
) -> Iterator[list[list[Numbered]]]:
  """Yields windows, each a list of batches; reads one window at a time.

  Args:
    questions: those about one picture one after the other, or at least near.
    size: questions of a batch. More about one picture are one batch still:
      a predictor cuts it, and remembers the picture.
    cost: about how long a question's text is.
    window_bytes: pictures that a window holds, about.
  """
  window: dict[str, list[Numbered]] = {}
  count = held = 0
  seen: set[int] = set()
  same: dict[tuple[int, ...], str] = {}
  for index, question in enumerate(questions):
    key = f"id {question.id}"
    if question.images:
      # The same arrays are the same pictures, whatever the task calls them.
      arrays = tuple(map(id, question.images))
      key = same.get(arrays, f"group {question.group}")
    # A picture's questions that the window cuts would be two groups.
    full = count >= WINDOW * size or held >= window_bytes
    if full and (key not in window or count >= 2 * WINDOW * size):
      yield _cut(window, size, cost)
      window, count, held, seen, same = {}, 0, 0, set(), {}
    if question.images:
      same[arrays] = key
    window.setdefault(key, []).append(Numbered(index, question))
    count += 1
    for image in question.images:
      if id(image) not in seen:
        seen.add(id(image))
        held += getattr(image, "nbytes", 0)
  if window:
    yield _cut(window, size, cost)


def _cut(window, size, cost):
  """The groups of a window as batches, long texts first."""

  def like(group):
    index, question = group[0]
    longest = max(cost(item.question) for item in group)
    return len(question.images), -longest, index

  batches: list[list[Numbered]] = []
  last = None
  for group in sorted(window.values(), key=like):
    pictures = len(group[0].question.images)
    # Texts alone and texts with pictures are other programs.
    if batches and pictures == last and len(batches[-1]) + len(group) <= size:
      batches[-1] += group
    else:
      batches.append(list(group))
    last = pictures
  return batches
