"""`metrics.jsonl`: a line for each set of numbers, none twice."""

import io
import json

import pytest

from kosmos2_jax.training import metrics, writers


def _rows(folder):
  text = (folder / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_a_line_for_each_set_of_numbers(tmp_path):
  writer = writers.MetricsFile(tmp_path)
  writer.write_scalars(10, {"train/loss": 0.1, "train/other": float("nan")})
  writer.write_scalars(10, {"rec/accuracy": 1.0})
  first, second = _rows(tmp_path)
  assert first.pop("time") <= second.pop("time")
  # Every digit, and JSON that anybody reads.
  assert first == {"step": 10, "train/loss": 0.1, "train/other": None}
  assert second == {"step": 10, "rec/accuracy": 1.0}


@pytest.mark.parametrize("torn", ["", '{"step": 30, "lo', '{"step": 20}'])
def test_what_will_be_done_again_is_cut(tmp_path, torn):
  writer = writers.MetricsFile(tmp_path)
  assert writer.cut(5) == 0  # no file yet
  for step in (10, 20, 20, 30):
    writer.write_scalars(step, {"loss": step / 10})
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write(torn)
  assert writer.cut(20) == 1 + bool(torn)
  assert writer.cut(20) == 0
  writer.write_scalars(30, {"loss": 7.0})
  assert [row["step"] for row in _rows(tmp_path)] == [10, 20, 20, 30]
  assert _rows(tmp_path)[-1]["loss"] == 7.0
  assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.slow
def test_a_start_cuts_and_says_so(tmp_path):
  out = io.StringIO()
  for start in (0, 10, 10):
    with metrics.Reporter(tmp_path, 100, out) as reporter:
      reporter.start(start)
      for step in range(start + 1, 16):
        reporter.write_scalars(step, {"loss": float(step)})
  assert [row["step"] for row in _rows(tmp_path)] == [*range(1, 16)]
  said = "metrics.jsonl: cut 5 line(s) of what is trained again"
  assert out.getvalue().splitlines().count(said) == 2
