"""A workdir is read as far as it can be, and what cannot be is told."""

import json

import pytest

from kosmos2_jax.training.report import reading
from tests.training.report import made_up_run


def test_a_whole_workdir(tmp_path):
  run = reading.read(made_up_run.make(tmp_path / "one"))
  assert run.name == "one"
  assert run.num_steps == 100
  assert len(run.rows) == 15 and len(run.events) == len(made_up_run.EVENTS)
  assert list(run.samples) == [20, 60, 100]
  assert run.has_evaluation and run.first_batch.startswith(b"\x89PNG")
  assert len(run.pictures) == 1
  assert list(run.complaints) == []


def test_no_run(tmp_path):
  with pytest.raises(FileNotFoundError, match="there is no folder"):
    reading.read(tmp_path / "none")
  with pytest.raises(FileNotFoundError, match="holds no run of train.py"):
    reading.read(tmp_path)


def test_a_run_that_just_began(tmp_path):
  (tmp_path / "config.json").write_text("{}")
  run = reading.read(tmp_path)
  assert (run.rows, run.events, run.num_steps) == ([], [], None)
  assert not run.complaints


@pytest.mark.parametrize(
  ("file", "text", "said"),
  [
    (
      "metrics.jsonl",
      '{"step": 1, "a": 1.0}\n{"step": 2, "a"',
      "metrics.jsonl: the last line is cut off, and left out.",
    ),
    (
      "metrics.jsonl",
      '{"step": 1, "a": 1.0}\n[]\n{"step": "x"}\n',
      "metrics.jsonl: 2 line(s) cannot be read and are left out, the first is"
      " line 2.",
    ),
    (
      "ledger.jsonl",
      '{"event": "steps", "time": 1, "seconds": 1}\n',
      "ledger.jsonl: 1 line(s) cannot be read and are left out, the first is"
      " line 1.",
    ),
    ("config.json", "[]", "config.json is left out: it holds no object."),
    (
      "results.json",
      '{"format": 1}',
      "results.json is left out: expected format 2, found 1.",
    ),
    (
      "samples/60.json",
      "{}",
      "The samples of step 60 are left out: 60.json is no file of samples"
      " (KeyError: 'samples').",
    ),
  ],
)
def test_what_cannot_be_read_is_told(tmp_path, file, text, said):
  folder = made_up_run.make(tmp_path)
  (folder / file).write_text(text)
  run = reading.read(folder)
  assert run.complaints == [said]
  if "cut off" in said:
    assert run.rows == [{"step": 1, "a": 1.0}]


def test_a_last_line_without_its_end_counts_if_it_is_whole(tmp_path):
  (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "a": 2}))
  run = reading.read(tmp_path)
  assert len(run.rows) == 1 and not run.complaints


def test_a_picture_that_is_gone(tmp_path):
  folder = made_up_run.make(tmp_path)
  (picture,) = (folder / "samples" / "pictures").iterdir()
  picture.unlink()
  run = reading.read(folder)
  assert run.pictures == {}
  assert "A picture of the samples is missing" in run.complaints[0]
