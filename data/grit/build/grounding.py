"""What a grounder is asked and answers, whichever it is."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import UInt8


@dataclasses.dataclass(frozen=True)
class Request:
  """A picture and the phrases of its caption to find in it.

  id       of the pair, as the pair's source tells it
  image    decoded, as it is stored
  caption  in which `spans` count
  spans    (start, end) of each phrase: characters `caption[start:end]`
  """

  id: str
  image: UInt8[np.ndarray, "height width 3"]
  caption: str
  spans: tuple[tuple[int, int], ...]

  @property
  def phrases(self) -> tuple[str, ...]:
    """The words of each span."""
    return tuple(self.caption[start:end] for start, end in self.spans)


class ScoredBox(NamedTuple):
  """A box that a grounder found, not checked yet.

  box_xyxy  x1, y1, x2, y2, normalised to 0..1, origin at the top left
  score     the grounder's confidence, 0..1
  """

  box_xyxy: tuple[float, float, float, float]
  score: float


# Of each request, of each of its spans in their order: its boxes.
Found = list[list[list[ScoredBox]]]


class Grounder(Protocol):
  """Finds phrases in pictures.

  One is made in each worker, by a function that can be pickled, and asked for
  batches until the worker is done.

  Attributes:
    batch_size: how many requests it likes to be asked at once.
    identity: what says in the account which grounder it was: its kind, the
      checkpoint and whatever changes its answers.
  """

  batch_size: int
  identity: dict[str, str | int | float | bool]

  def ground(self, requests: Sequence[Request]) -> Found:
    """The boxes of all phrases.

    A box may be anything (NaN, outside the picture): it is checked by whoever
    asks. So may be that there are none.
    """
