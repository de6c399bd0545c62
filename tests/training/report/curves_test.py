"""From lines of metrics to lines on paper."""

import itertools
import json
import re

from kosmos2_jax.training.report import curves
from tests.training.report import made_up_run


def test_numbers_by_name_and_step():
  given = [
    {"step": 20, "time": 1.0, "train/loss": 2.0, "train/mfu": None},
    {"step": 10, "time": 1.0, "train/loss": 3, "x": True, "y": "1"},
    {"step": 20, "time": 2.0, "train/loss": 2.5},
  ]
  assert curves.collect(given) == {"train/loss": ((10, 3.0), (20, 2.5))}


def test_few_points_are_all_drawn():
  points = tuple((i, float(i % 7)) for i in range(50))
  assert curves.thin(points, 50) is points


def test_of_many_points_extremes_and_ends_are_drawn():
  points = [(i, float(i % 7)) for i in range(10_000)]
  points[1234] = (1234, 99.0)
  points[4321] = (4321, -99.0)
  found = curves.thin(tuple(points), 100)
  assert len(found) <= 100
  assert set(found) <= set(points)
  assert list(found) == sorted(found)
  assert (found[0], found[-1]) == (points[0], points[-1])
  assert {(1234, 99.0), (4321, -99.0)} < set(found)
  # No stretch is left out.
  assert max(b[0] - a[0] for a, b in itertools.pairwise(found)) < 410


def _points(path):
  numbers = re.findall(r"[ML](\S+) (\S+?)(?=[ML]|h0|$)", path)
  return [(float(x), float(y)) for x, y in numbers]


def test_points_lie_where_they_are():
  given = {"a": ((0, 1.0), (50, 0.0), (100, 0.5))}
  chart = curves.make_chart("A", given, 100, [25, 200])
  (line,) = chart.lines
  assert _points(line.path) == [(0, 0), (500, 1000), (1000, 500)]
  assert line.dots == "M0 0h0M500 1000h0M1000 500h0"
  assert [place for place, _ in chart.across] == [0, 25, 50, 75, 100]
  assert [label for _, label in chart.across] == ["0", "25", "50", "75", "100"]
  assert chart.up[0] == (100, "0.0") and chart.up[-1] == (0, "1.0")
  assert chart.starts == (25,)
  assert (chart.newest, chart.scale) == ("0.5", "")
  assert json.loads(chart.data) == [
    {
      "name": "a",
      "steps": [0, 50, 100],
      "x": [0, 50, 100],
      "y": [0, 100, 50],
      "values": ["1", "0", "0.5"],
    }
  ]


def test_a_log_scale_is_said():
  chart = curves.make_chart(
    "A", {"a": ((1, 1.0), (2, 10.0), (3, 100.0))}, 4, may_be_log=True
  )
  assert chart.scale == "log scale"
  ys = [y for _, y in _points(chart.lines[0].path)]
  assert ys == [1000, 500, 0]


def test_a_line_is_told_in_words():
  chart = curves.make_chart(
    "A", {"a": ((1, 3.0), (20, 1.5), (3000, 2.0))}, 3000
  )
  assert chart.lines[0].summary == (
    "a: 3 at step 1, 2 at step 3,000; least 1.5 at step 20, greatest 3 at"
    " step 1."
  )
  chart = curves.make_chart("A", {"a": ((7, 0.25),)}, 7)
  assert chart.lines[0].summary == "a: 0.25 at step 7."


def test_charts_of_training():
  numbers = curves.collect(made_up_run.rows())
  found = curves.training_charts(numbers, 100, [40])
  assert [chart.title for chart in found] == [
    "Loss",
    "Accuracy",
    "Learning rate",
    "Input wait, % of the time",
  ]
  loss, *_, wait = found
  assert [line.name for line in loss.lines] == ["loss", "caption", "referring"]
  assert loss.scale == "log scale"
  assert loss.starts == (40,)
  assert wait.newest == "25"
  # A single kind is the loss itself.
  del numbers["train/loss/caption"]
  loss, *_ = curves.training_charts(numbers, 100, [])
  assert [line.name for line in loss.lines] == ["loss"]


def test_charts_of_scores():
  numbers = curves.collect(made_up_run.rows())
  ((task, (chart,)),) = curves.score_charts(numbers, 100, []).items()
  assert (task, chart.title, chart.newest) == ("rec", "accuracy", "1")
  assert len(json.loads(chart.data)[0]["steps"]) == 5


def test_tables_have_the_ends():
  numbers = {
    "a": tuple((i, float(i)) for i in range(1, 101)),
    "b": ((100, 0.5),),
  }
  found = curves.table(numbers, ["a", "b"], 5)
  assert [step for step, _ in found] == ["1", "26", "51", "75", "100"]
  assert found[0][1] == ["1", ""]
  assert found[-1][1] == ["100", "0.5"]
