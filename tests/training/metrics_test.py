"""What a run says, and what it writes for TensorBoard."""

import io

import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util

from kosmos2_jax.training import metrics

ROW = {
  "train/loss": 1.23456,
  "train/learning_rate": 1e-3,
  "train/steps_per_sec": 4.0,
}


class _Terminal(io.StringIO):
  def isatty(self):
    return True


def test_one_line_with_eta_where_there_is_no_terminal():
  out = io.StringIO()
  with metrics.Reporter(None, 100, out) as reporter:
    reporter.say("hello [bold]")
    reporter.advance(3)
    reporter.write_scalars(20, ROW | {"train/tokens/caption": 7.0})
    reporter.write_scalars(20, {"rec/accuracy": 0.5})
  assert out.getvalue().splitlines() == [
    "hello [bold]",
    "step 20/100  loss 1.235  learning_rate 0.001  steps_per_sec 4"
    "  ETA 0:00:20",
    "step 20/100  rec/accuracy 0.5",
  ]


def test_a_bar_with_eta_on_a_terminal(monkeypatch):
  monkeypatch.setenv("TERM", "xterm")
  monkeypatch.setenv("COLUMNS", "120")
  out = _Terminal()
  with metrics.Reporter(None, 100, out) as reporter:
    reporter.advance(20)
    reporter.write_scalars(20, ROW)
    reporter.write_scalars(20, {"rec/accuracy": 0.5})
  text = out.getvalue()
  assert "20/100" in text
  assert "loss 1.235" in text
  assert "ETA" in text
  # Scores stand above the bar; metrics of training are in it.
  assert "step 20/100  rec/accuracy 0.5" in text
  assert "step 20/100  loss" not in text


@pytest.mark.slow
def test_tensorboard(tmp_path):
  with metrics.Reporter(tmp_path, 100, io.StringIO()) as reporter:
    reporter.write_scalars(20, ROW)
    reporter.write_scalars(40, {"train/loss": 0.5})
  events = event_accumulator.EventAccumulator(str(tmp_path / "metrics"))
  events.Reload()
  values = [
    (event.step, float(tensor_util.make_ndarray(event.tensor_proto)))
    for event in events.Tensors("train/loss")
  ]
  assert values == [(20, pytest.approx(1.23456)), (40, 0.5)]
