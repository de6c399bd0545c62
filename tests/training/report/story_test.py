"""What the ledger says of a run."""

import pytest

from kosmos2_jax.training import ledger
from kosmos2_jax.training.report import story
from kosmos2_jax.training.report.reading import Run
from tests.training.report.made_up_run import EVENTS, event


def _run(events, num_steps=100):
  return Run("r", events=events, config={"num_steps": num_steps})


def test_states():
  def state(events, is_going=False, num_steps=100):
    return story.state(_run(events, num_steps), is_going=is_going)

  assert state([]) == ("not begun", "")
  assert state([], True) == ("running", "")
  assert state(EVENTS) == ("finished", "")
  assert state(EVENTS, num_steps=200) == ("finished", "before the last step")
  assert state(EVENTS[:3], True) == ("running", "")
  assert state(EVENTS[:3]) == (
    "running",
    "or killed: its ledger ends 1970-01-01 00:18 UTC without a stop.",
  )
  stopped = event("stop", 1.0, 0.0, step=3, reason="Preempted: SIGTERM")
  assert state([*EVENTS[:3], stopped]) == ("stopped", "Preempted: SIGTERM")


def test_starts_and_how_they_ended():
  first, second = story.processes(EVENTS)
  assert first[2:] == (0, 60, "killed: it left no word", 20)
  assert second[2:] == (40, 100, "finished", 0)
  assert second.when == "1970-01-01 00:33 UTC"
  assert story.steps_done(_run(EVENTS)) == 100
  rows = [{"step": 3, "time": 0.0}]
  assert story.steps_done(Run("r", rows=rows)) == 3


def test_of_many_starts_some_are_listed():
  events = [event("start", float(i), 0.0, step=i) for i in range(100)]
  starts = story.processes(events)
  listed, omitted = story.listed(starts)
  assert omitted == 70
  assert [s.number for s in listed] == [1, 2, 3, *range(74, 101)]
  assert story.listed(starts[:30]) == (starts[:30], 0)


def test_where_the_time_went():
  found = story.uses(ledger.account(EVENTS))
  assert [(use.kind, use.time, use.share) for use in found] == [
    ("steps", "1 min 40 s", 58.82),
    ("again", "20.0 s", 11.76),
    ("start", "20.0 s", 11.76),
    ("compile", "20.0 s", 11.76),
    ("evaluation", "10.0 s", 5.88),
  ]
  assert found[1].name == "20 steps done again"


@pytest.mark.parametrize(
  ("mode", "best"), [("max", (20, 0.7)), ("min", (10, 0.5))]
)
def test_the_best_score(mode, best):
  numbers = {"rec/iou": ((10, 0.5), (20, 0.7), (30, 0.7), (40, 0.5))}
  section = {"best_metric": "rec/iou", "best_mode": mode}
  step, value = best
  found = story.best(numbers, {"checkpoint": section})
  assert found == ("rec/iou", value, step)
  assert story.best({}, {"checkpoint": section}) is None
  assert story.best(numbers, {"checkpoint": {"best_metric": ""}}) is None
  assert story.best(numbers, {}) is None


def test_scores_at_the_end():
  metrics = {
    "accuracy": {"value": 0.5, "interval": [0.25, 0.75]},
    "CIDEr": {"value": 61.234, "interval": None},
    "none": {"value": None, "interval": None},
  }
  results = {"tasks": {"a": {"n": 1234, "metrics": metrics}}}
  assert story.final_scores(results) == [
    (
      "a",
      "1,234",
      [("accuracy", "0.5000", "0.2500 – 0.7500"), ("CIDEr", "61.23", "–")],
    )
  ]
  assert story.final_scores({}) == []


@pytest.mark.parametrize(
  ("seconds", "text"),
  [
    (0.04, "0.0 s"),
    (59.9, "59.9 s"),
    (185, "3 min 05 s"),
    (7380, "2 h 03 min"),
    (100 * 3600, "4 d 04 h"),
  ],
)
def test_times_in_words(seconds, text):
  assert story.clock(float(seconds)) == text
