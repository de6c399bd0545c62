"""What is said while it runs: examples, pictures a second, the time left."""

import io

from rich.console import Console

from kosmos2_jax.evals.console import Bars
from kosmos2_jax.evals.engine import Progress


class Clock:
  now = 0.0

  def __call__(self):
    return self.now


def lines(totals, steps, *, terminal=False):
  """What is printed by (seconds, name, progress)."""
  file, clock = io.StringIO(), Clock()
  console = Console(file=file, width=120, force_terminal=terminal)
  with Bars(console, totals, clock) as bars:
    for clock.now, name, done in steps:
      bars.show(name, Progress(*done))
  return file.getvalue()


def test_a_log_gets_a_line_now_and_then():
  found = lines(
    {"rec": 1000, "other": -1},
    [
      (1.0, "rec", (10, 20, 5, 0)),
      (59.0, "rec", (20, 40, 10, 0)),
      # From the first batch on, which compiled: 60 seconds, 45 pictures.
      (61.0, "rec", (110, 220, 50, 0)),
      (62.0, "rec", (120, 240, 60, 0)),
      (130.0, "other", (0, 10, 0, 0)),
      (140.0, "other", (0, 20, 0, 0)),
      (200.0, "other", (0, 45, 0, 0)),
    ],
  )
  assert found.splitlines() == [
    # 890 examples are left, at 100 a minute.
    "rec: 110 of 1000 examples, 0.8 pictures/s, 8 min 54 s left",
    "other: 0 examples",
    "other: 0 examples, 0.5 questions/s",
  ]


def test_what_was_answered_earlier_does_not_count_as_fast():
  found = lines(
    {"rec": 4000},
    [
      (0.0, "rec", (1000, 1000, 1000, 1000)),
      (0.1, "rec", (2000, 2000, 2000, 2000)),
      (10.0, "rec", (2010, 2010, 2010, 2000)),
      (70.0, "rec", (2070, 2070, 2070, 2000)),
    ],
  )
  assert found == (
    "rec: 2070 of 4000 examples, 1.0 pictures/s, 32 min 10 s left\n"
  )


def test_a_terminal_gets_bars():
  found = lines(
    {"rec": 8000},
    [(0.0, "rec", (10, 10, 10, 0)), (10.0, "rec", (20, 20, 20, 0))],
    terminal=True,
  )
  assert "rec" in found
  assert "20/8000" in found
  assert "1.0 pictures/s, 2 h 13 min left" in found
