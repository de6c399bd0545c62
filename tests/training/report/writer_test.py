"""The report is written while a run goes, and can never end it."""

import io

import numpy as np
import pytest

from kosmos2_jax.training import metrics
from kosmos2_jax.training.report import page, writer
from tests.evals import made_up
from tests.training.report import made_up_run


@pytest.fixture
def told():
  return []


@pytest.fixture
def written(monkeypatch):
  """Instead of pages: whether the run was going, for each; takes 2 s."""
  found = []

  def write(folder, *, is_going):
    found.append(is_going)
    now[0] += 2.0

  now = found_now = [0.0]
  monkeypatch.setattr(page, "write", write)
  return found, found_now


def test_after_each_evaluation_and_at_the_end(tmp_path, told, written):
  found, now = written
  report = writer.ReportWriter(tmp_path, told.append, lambda: now[0])
  report.finish()
  assert found == []  # refused before it began
  report.start(0)
  report.write_scalars(10, {"train/loss": 1.0})
  assert found == []
  report.write_scalars(10, {"rec/accuracy": 1.0})
  assert found == [True]
  now[0] += 39.0  # of which 2 s are more than a twentieth
  report.write_scalars(20, {"rec/accuracy": 1.0})
  assert found == [True]
  now[0] += 1.0
  report.write_scalars(30, {"rec/accuracy": 1.0})
  assert found == [True, True]
  report.finish()
  assert found == [True, True, False]
  assert told == []


def test_a_failure_is_said_and_ends_nothing(tmp_path, told, monkeypatch):
  def fail(*args, **options):
    raise OSError("no space\nleft")

  monkeypatch.setattr(page, "write", fail)
  report = writer.ReportWriter(tmp_path / "run", told.append)
  (tmp_path / "run").write_text("in the way of every file")
  report.start(0)
  report.write_images(0, {writer.FIRST_BATCH: made_up.picture()})
  report.write_samples(10, {"rec": made_up_run.outcome(10)})
  report.write_scalars(10, {"rec/accuracy": 1.0})
  report.finish()
  whats = ("environment.json", "samples", "samples", "report.html")
  assert len(told) == 5
  for line, what in zip(told, whats, strict=False):
    assert line.startswith(f"WARNING: {what} could not be written, the run")
    assert "\n" not in line
  assert "(OSError: no space left)" in told[-1]


def test_what_of_a_later_step_was_kept_is_cut(tmp_path, told):
  made_up_run.make(tmp_path)
  writer.ReportWriter(tmp_path, told.append).start(60)
  files = {path.name for path in (tmp_path / "samples").iterdir()}
  assert files == {"20.json", "60.json", "pictures", "first_batch.png"}


def test_the_reporter_of_a_run_writes_it(tmp_path):
  out = io.StringIO()
  with (
    pytest.raises(RuntimeError),
    metrics.Reporter(tmp_path, 100, out) as reporter,
  ):
    reporter.start(0)
    sheet = np.zeros((20, 30, 3), np.uint8)
    reporter.write_images(0, {writer.FIRST_BATCH: sheet})
    reporter.write_scalars(10, {"train/loss": 0.125})
    reporter.write_samples(10, {"rec": made_up_run.outcome(10)})
    reporter.write_scalars(10, {"rec/accuracy": 0.5})
    assert "WARNING" not in out.getvalue()
    assert "Picture of r2" in (tmp_path / "report.html").read_text()
    reporter.write_scalars(20, {"train/loss": 0.0625})
    raise RuntimeError("a run that fails")
  assert "WARNING" not in out.getvalue()
  assert "0.0625" in (tmp_path / "report.html").read_text()


def test_a_quiet_reporter_keeps_nothing(tmp_path):
  with metrics.Reporter(tmp_path, 9, io.StringIO(), quiet=True) as reporter:
    reporter.start(0)
    reporter.write_samples(10, {"rec": made_up_run.outcome(10)})
  assert not list(tmp_path.iterdir())
