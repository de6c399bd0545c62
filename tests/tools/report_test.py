"""The command that makes the report of a run anew."""

import pytest

from kosmos2_jax.tools import report
from tests.training.report import made_up_run


def test_a_report_is_made_anew(tmp_path, capsys):
  folder = made_up_run.make(tmp_path / "one")
  assert report.main(["report", f"--workdir={folder}"]) == 0
  printed = capsys.readouterr()
  assert printed.out == f"wrote {folder}/report.html\n"
  assert printed.err == ""
  assert "Training run" in (folder / "report.html").read_text()


def test_a_line_that_is_cut_off_is_told(tmp_path, capsys):
  folder = made_up_run.make(tmp_path)
  with (folder / "metrics.jsonl").open("a") as file:
    file.write('{"step": 110')
  assert report.main(["report", f"--workdir={folder}"]) == 0
  said = "report: metrics.jsonl: the last line is cut off, and left out.\n"
  assert capsys.readouterr().err == said


@pytest.mark.parametrize(
  ("arguments", "sentence"),
  [
    ([], "--workdir is missing"),
    (["--workdir=no/such"], "no/such'; --workdir is the folder"),
    (["--workdir=tests"], "tests' holds no run of train.py"),
    (["--workdir=x", "more"], "'more' is no flag"),
    (["--folder=x"], "folder"),
  ],
)
def test_mistakes_end_with_a_sentence(arguments, sentence, capsys):
  assert report.main(["report", *arguments]) == 2
  printed = capsys.readouterr().err
  assert sentence in printed
  assert len(printed.splitlines()) == 1


def test_help(capsys):
  assert report.main(["report", "--help"]) == 0
  assert "--workdir" in capsys.readouterr().out
