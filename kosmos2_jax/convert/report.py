"""What a comparison found, as lines that people read."""

from collections.abc import Sequence
from typing import NamedTuple

_WIDTH = 26  # of the names, so that what was found stands in one column


class Check(NamedTuple):
  """One thing that was compared.

  Attributes:
    name: what it was.
    passed: None if it was not compared.
    found: numbers and the limit they were held against, or why not.
  """

  name: str
  passed: bool | None
  found: str

  def __str__(self) -> str:
    verdict = {True: "pass", False: "FAIL", None: "note"}[self.passed]
    return f"{verdict}  {self.name:{_WIDTH}}  {self.found}"


def summary(checks: Sequence[Check]) -> str:
  """The last line: how many passed, and how many were not made."""
  made = [check.passed for check in checks if check.passed is not None]
  skipped = len(checks) - len(made)
  failed = made.count(False)
  text = (
    f"FAILED: {failed} of {len(made)} checks"
    if failed
    else f"all {len(made)} checks passed"
  )
  return text + (f"; {skipped} not made, see the notes" if skipped else "")
