"""What an evaluation gives back."""

import dataclasses
from collections.abc import Iterator, Mapping

from kosmos2_jax.evals.protocol import Outcome


@dataclasses.dataclass(frozen=True, eq=False)
class Results(Mapping[str, Outcome]):
  """The outcomes of several tasks by name, in the order they were run.

  Attributes:
    outcomes: of the tasks that were run.
    not_run: why a task was not, by name: one sentence each.
  """

  outcomes: Mapping[str, Outcome]
  not_run: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def __getitem__(self, name: str) -> Outcome:
    """The outcome of a task."""
    return self.outcomes[name]

  def __iter__(self) -> Iterator[str]:
    """Names of the tasks that were run."""
    return iter(self.outcomes)

  def __len__(self) -> int:
    """How many tasks were run."""
    return len(self.outcomes)

  @property
  def scores(self) -> dict[str, float]:
    """Every metric under `task/metric`, for logs and for picking the best."""
    return {
      f"{task}/{name}": metric.value
      for task, outcome in self.outcomes.items()
      for name, metric in outcome.scores.metrics.items()
    }
