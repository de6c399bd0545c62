"""All that takes the numbers of a run, and what TensorBoard reads of it."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util

from kosmos2_jax.training import metrics

ROW = {"train/loss": 1.23456, "train/learning_rate": 1e-3}


def test_the_console_alone():
  out = io.StringIO()
  with metrics.Reporter(None, 100, out) as reporter:
    reporter.say("hello [bold]")
    reporter.start(0)
    reporter.advance(3)
    reporter.write_scalars(20, {"rec/accuracy": 0.5})
    assert not reporter.takes_pictures
  assert out.getvalue().splitlines() == [
    "hello [bold]",
    "step 20/100  rec/accuracy 0.5",
  ]


def test_a_quiet_one_writes_nothing(tmp_path):
  out = io.StringIO()
  with metrics.Reporter(
    tmp_path, 100, out, project="none", quiet=True
  ) as reporter:
    reporter.start(0)
    reporter.say("hello")
    reporter.advance(3)
    reporter.write_scalars(20, ROW)
    reporter.flush()
    assert not reporter.takes_pictures
  assert not out.getvalue()
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_tensorboard(tmp_path):
  (tmp_path / "config.json").write_text(json.dumps({"seed": 7}, indent=2))
  picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
  with metrics.Reporter(tmp_path, 100, io.StringIO()) as reporter:
    assert reporter.takes_pictures
    reporter.start(10)
    reporter.write_scalars(20, ROW)
    reporter.write_scalars(40, {"train/loss": 0.5})
    reporter.write_images(40, {"rec/picture_00": picture})
  events = event_accumulator.EventAccumulator(str(tmp_path / "metrics"))
  events.Reload()

  def read(tag):
    return [
      (event.step, tensor_util.make_ndarray(event.tensor_proto))
      for event in events.Tensors(tag)
    ]

  values = [(step, float(value)) for step, value in read("train/loss")]
  assert values == [(20, pytest.approx(1.23456)), (40, 0.5)]
  [(step, (width, height, encoded))] = read("rec/picture_00")
  assert (step, width, height) == (40, b"30", b"20")
  np.testing.assert_array_equal(Image.open(io.BytesIO(encoded)), picture)
  [(step, config)] = read("config")
  # Markdown keeps indented text as it is.
  assert (step, config) == (10, b'    {\n      "seed": 7\n    }\n')
  [(_, command)] = read("command")
  assert "pytest" in str(command)
