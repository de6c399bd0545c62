"""What a run looks like: lines, and a bar with lines below it."""

import io

import pytest
import rich.console

from kosmos2_jax.training import console

ROW = {
  "train/loss": 5.12345,
  "train/accuracy": 0.1234,
  "train/grad_norm": 2.1312,
  "train/learning_rate": 2e-4,
  "train/tokens_per_step": 100.0,
  "train/targets_per_sec": 3.0,
  "train/tokens_per_sec": 1_234_567.0,
  "train/examples_per_sec": 1034.1,
  "train/steps_per_sec": 0.5123,
  "train/mfu": 0.412,
  "train/input_wait": 0.031,
  "train/device_memory_gib": 12.3,
  "train/eta_seconds": 3725.0,
}
KINDS = {f"train/loss/a_kind_with_a_name_{n:02d}": n / 4 for n in range(16)}
KINDS |= {name.replace("loss/", "targets/"): 9.0 for name in KINDS}


class _Terminal(io.StringIO):
  def isatty(self):
    return True


def _lines(row):
  out = io.StringIO()
  with console.Console(10_000, out) as shown:
    shown.write_scalars(50, row)
  return out.getvalue().splitlines()


def test_lines_where_there_is_no_terminal():
  assert _lines(ROW) == [
    "step 50/10000     loss  5.1235  accuracy 0.123  grad_norm 2.13    lr"
    " 2.00e-04  1,234,567 tokens/s  ETA 1:02:05",
    "  1,034 examples/s  0.512 steps/s  MFU 41.2%  input wait 3%"
    "  device memory 12.3 GiB",
  ]


def test_first_lines_are_aligned():
  later = ROW | {"train/loss": 12.5, "train/tokens_per_sec": 98.0}
  later |= {"train/grad_norm": 0.0213}
  first, second = (_lines(row)[0] for row in (ROW, later))
  for word in ("accuracy", "lr", "tokens/s", "ETA"):
    assert first.index(word) == second.index(word)


def test_many_kinds_are_folded():
  first, second, *kinds = _lines(ROW | KINDS)
  assert [first, second] == _lines(ROW)
  assert kinds == [
    "  highest of 16 kinds: a_kind_with_a_name_15 3.750"
    "  a_kind_with_a_name_14 3.500",
    "  a_kind_with_a_name_13 3.250  a_kind_with_a_name_12 3.000",
  ]
  few = dict(list(KINDS.items())[:2])
  assert _lines(ROW | few)[-1] == (
    "  loss by kind: a_kind_with_a_name_01 0.250  a_kind_with_a_name_00 0.000"
  )


def test_numbers_that_it_does_not_know_are_shown():
  assert "num_skipped 3" in "\n".join(_lines(ROW | {"train/num_skipped": 3.0}))


def test_scores_are_one_line():
  assert _lines({"rec/accuracy": 0.5, "rec/mean_iou": 0.25}) == [
    "step 50/10000  rec/accuracy 0.5  rec/mean_iou 0.25"
  ]


@pytest.mark.parametrize(
  ("seconds", "text"), [(59.6, "0:01:00"), (2 * 86_400 + 3661.0, "2d 1:01")]
)
def test_days_are_short(seconds, text):
  assert _lines(ROW | {"train/eta_seconds": seconds})[0].endswith(f"ETA {text}")


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_breaks_on_a_terminal(monkeypatch, width):
  monkeypatch.setenv("TERM", "xterm")
  monkeypatch.setenv("COLUMNS", str(width))
  shown = console.Console(10_000, _Terminal())
  shown.advance(50)
  shown.write_scalars(50, ROW | KINDS)
  paper = rich.console.Console(width=width, file=io.StringIO(), record=True)
  paper.print(shown._progress.get_renderable())
  lines = [line.rstrip() for line in paper.export_text().splitlines()]
  assert lines[0].startswith("step    50/10000")
  assert lines[0].endswith("ETA 1:02:05")
  # A line holds whole fields; none was broken or cut off.
  assert lines[1].startswith("loss  5.1235  accuracy 0.123")
  shown_fields = "  ".join(lines[1:])
  for field in ("MFU 41.2%", "device memory 12.3 GiB", "highest of 16 kinds:"):
    assert field in shown_fields
  assert max(map(len, lines)) <= width
  assert "…" not in shown_fields


def test_above_the_bar_and_in_it(monkeypatch):
  monkeypatch.setenv("TERM", "xterm")
  monkeypatch.setenv("COLUMNS", "100")
  out = _Terminal()
  with console.Console(100, out) as shown:
    shown.advance(20)
    shown.write_scalars(20, ROW)
    shown.write_scalars(20, {"rec/accuracy": 0.5})
  text = out.getvalue()
  assert "20/100" in text
  assert "loss  5.1235" in text
  # Scores stand above the bar; metrics of training are below it.
  assert "step 20/100  rec/accuracy 0.5" in text
  assert "step 20/100  loss" not in text
