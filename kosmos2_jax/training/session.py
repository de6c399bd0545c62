"""What is open while a run trains: its console, ledger and checkpoints."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from kosmos2_jax.training import choosing, loop
from kosmos2_jax.training.checkpoint import Checkpointer
from kosmos2_jax.training.ledger import Ledger
from kosmos2_jax.training.metrics import Reporter
from kosmos2_jax.training.processes import ALONE, Group


def check_start(workdir: str | os.PathLike, num_steps: int) -> None:
  """Raises ValueError if the run of a workdir is past its end already.

  Called before anything is written there.
  """
  loop.check_start(choosing.newest_step(workdir) or 0, num_steps)


@contextlib.contextmanager
def opened(
  workdir: str | os.PathLike,
  num_steps: int,
  ledger: Ledger,
  changes: Sequence[str] = (),
  project: str = "",
  group: Group = ALONE,
  **checkpoints: Any,
) -> Iterator[tuple[Reporter, Checkpointer]]:
  """The reporter and the checkpoints of a run; closed in the right order.

  Args:
    workdir: folder of the run.
    num_steps: updates of the whole run.
    ledger: of the workdir; what it adds up to is said.
    changes: see `workdir.describe_run`; said.
    project: see `Reporter`.
    group: the processes; process 0 alone says anything.
    **checkpoints: arguments of `Checkpointer`.
  """
  with (
    Reporter(
      workdir, num_steps, project=project, quiet=not group.is_main
    ) as reporter,
    ledger.telling(reporter.say),
    Checkpointer(
      workdir, say=reporter.say, group=group, **checkpoints
    ) as checkpointer,
  ):
    for change in changes:
      reporter.say(f"changed since the last start: config.{change}")
    yield reporter, checkpointer
