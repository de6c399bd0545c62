"""What an evaluation gives back."""

import dataclasses
from collections.abc import Mapping

from jaxtyping import UInt8
from numpy import ndarray

from kosmos2_jax.text.grounded import Phrase


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
  """One judged picture, kept to be looked at.

  Attributes:
    image: the picture as it came, uint8 [height, width, 3].
    predicted: phrases with the boxes the model gave.
    annotated: phrases with the true boxes.
    lines: what to print beneath.
  """

  image: UInt8[ndarray, "height width 3"]
  predicted: tuple[Phrase, ...]
  annotated: tuple[Phrase, ...]
  lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class TaskResult:
  """The outcome of one task.

  Attributes:
    evaluator: name in `EVALUATORS`.
    version: the evaluator's; numbers of different versions do not compare.
    protocol: one sentence: prompt, decoding, what counts.
    n: how many items the metrics are over.
    metrics: name to value.
    counts: the whole numbers behind the metrics, and what was left out.
    samples: the first items, in order.
  """

  evaluator: str
  version: str
  protocol: str
  n: int
  metrics: Mapping[str, float]
  counts: Mapping[str, int]
  samples: tuple[Sample, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
  """The outcomes of several tasks, in the order they were run."""

  tasks: Mapping[str, TaskResult]

  @property
  def scores(self) -> dict[str, float]:
    """Every metric under `task/metric`, for logs and for picking the best."""
    return {
      f"{task}/{metric}": value
      for task, result in self.tasks.items()
      for metric, value in result.metrics.items()
    }
