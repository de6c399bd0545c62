"""Every second belongs to one line, and the sums are exact."""

import json

import pytest

from kosmos2_jax.training import ledger


class _Clock:
  """Moves when told."""

  def __init__(self, now=1000.0):
    self.now = now

  def __call__(self):
    return self.now


def _life(path, clock, step):
  """A process that restores `step`, does 8 more, and evaluates and saves."""
  book = ledger.Ledger(path, clock)
  clock.now += 4
  book.start(step)
  clock.now += 16
  book.compiled(step)
  clock.now += 32
  book.steps(step + 8)
  clock.now += 2
  book.spent("evaluation", step + 8)
  clock.now += 1
  book.spent("save", step + 8)
  return book


def test_one_life(tmp_path):
  clock = _Clock()
  book = _life(tmp_path, clock, 0)
  lines = (tmp_path / ledger.FILE).read_text().splitlines()
  assert json.loads(lines[2]) == {
    "time": 1052.0,
    "event": "steps",
    "seconds": 32.0,
    "first": 0,
    "end": 8,
  }
  found = book.account()
  assert found.seconds == {
    "steps": 32,
    "start": 4,
    "compile": 16,
    "evaluation": 2,
    "save": 1,
  }
  assert (found.starts, found.total, found.away) == (1, 55, 0)
  assert found.goodput == 32 / 55
  assert str(found) == (
    "goodput 58.2 % of 0:00:55 in 1 start(s): steps 0:00:32, start 0:00:04,"
    " compile 0:00:16, evaluation 0:00:02, save 0:00:01"
  )


def test_what_is_done_again_is_lost(tmp_path):
  clock = _Clock()
  book = _life(tmp_path, clock, 0)
  clock.now += 12
  book.steps(12)  # never saved
  clock.now += 100  # killed
  book = _life(tmp_path, clock, 8)
  clock.now += 5
  book = _life(tmp_path, clock, 10)  # a checkpoint in the middle of a line
  found = book.account()
  # 4 steps of 12 s, then 6 of the 8 steps of 32 s.
  assert (found.lost_steps, found.lost_seconds) == (4 + 6, 12 + 24)
  assert found.seconds["steps"] == 32 + 8 + 32
  assert found.total == 3 * 55 + 12
  assert found.away == 105
  assert found.starts == 3
  text = str(found)
  assert "10 step(s) done again 0:00:36" in text
  assert text.endswith("; away 0:01:45")


def test_a_line_that_was_cut_off_costs_nothing_else(tmp_path):
  clock = _Clock()
  wanted = _life(tmp_path, clock, 0).account()
  with (tmp_path / ledger.FILE).open("a") as file:
    file.write('{"time": 10')
  book = ledger.Ledger(tmp_path, clock)
  assert book.account() == wanted
  clock.now += 4
  book.start(8)
  again = ledger.Ledger(tmp_path, clock).account()
  assert (again.starts, again.total) == (2, 59)


def test_long_stretches_are_written_in_parts(tmp_path):
  clock = _Clock()
  book = ledger.Ledger(tmp_path, clock)
  book.start(0)
  for step in range(1, 150):
    clock.now += 1
    book.steps(step, now=False)
  events = ledger.read((tmp_path / ledger.FILE).read_text())
  assert [(e["first"], e["end"]) for e in events[1:]] == [(0, 60), (60, 120)]


def test_the_end_is_written_and_told(tmp_path):
  clock, said = _Clock(), []
  book = _life(tmp_path, clock, 0)
  with pytest.raises(OSError), book.telling(said.append):
    clock.now += 3
    raise OSError("the disk is full")
  last = ledger.read((tmp_path / ledger.FILE).read_text())[-1]
  assert last["reason"] == "OSError: the disk is full"
  assert (last["event"], last["seconds"], last["step"]) == ("stop", 3, 8)
  assert len(said) == 2
  assert said[0].startswith("so far: goodput 58.2 % of 0:00:55 ")
  assert said[1].startswith("goodput 55.2 % of 0:00:58 ")


def test_what_cannot_be_written_waits(tmp_path):
  """A full disk ends no run, and no time is lost from the account."""
  clock, folder = _Clock(), tmp_path / "run"
  folder.write_text("in the way")
  book = _life(folder, clock, 0)
  folder.unlink()
  clock.now += 1
  book.spent("save", 8)
  assert ledger.Ledger(folder, clock).account() == book.account()
  assert book.account().total == 56


def test_a_refused_start_is_no_part_of_it(tmp_path):
  clock, said = _Clock(), []
  book = ledger.Ledger(tmp_path, clock)
  with pytest.raises(ValueError), book.telling(said.append):
    raise ValueError("another model")
  assert not said
  assert not (tmp_path / ledger.FILE).exists()
