"""The page: what is in it, and that nothing in it is more than text."""

import base64
import hashlib
import itertools
import json
import re

import pytest

from kosmos2_jax.training.report import page, reading, samples
from tests.evals.html_report_test import Page
from tests.training.report import made_up_run
from tests.training.report.made_up_run import EVIL

HEADINGS = {"h1", "h2", "h3", "h4", "h5"}


def render(folder, is_going=False):
  return page.render(reading.read(folder), is_going=is_going, now=3000.0)


@pytest.fixture
def folder(tmp_path):
  return made_up_run.make(tmp_path / "one")


def test_all_parts_are_there(folder):
  parsed = Page(render(folder))
  for part in (
    "one finished 100 of 100 steps trained for 2 min 50 s",
    "goodput 58.8 %",
    "starts 2",
    "devices 16 × TPU v5e on 4 hosts",
    "loss 0.08 at step 100",
    "best rec/accuracy 1 at step 100",
    "this page is of 1970-01-01 00:50 UTC",
    "train.py --config.optimizer.learning_rate=1e-4",
    "Loss log scale 0.08",
    "loss: 0.8 at step 10, 0.08 at step 100; least 0.08 at step 100",
    "A dotted line is a start that went on with the run.",
    "At the end, step 100 evaluation.html, beside this file",
    "rec accuracy 0.9500 0.9000 – 0.9700 1,000",
    "optimizer.learning_rate 0.0001 by the command",
    "git commit 0123abc-dirty",
    "jax 0.10.0",
    "20 steps done again 20.0 s",
    "killed: it left no word",
  ):
    assert part in parsed.words, part
  ids = {found.get("id") for _, found in parsed.elements}
  links = [found["href"] for found in parsed.all("a")]
  assert {link[1:] for link in links if link[0] == "#"} <= ids
  assert [link for link in links if link[0] != "#"] == ["evaluation.html"]


def test_samples_stand_side_by_side_by_step(folder):
  parsed = Page(render(folder))
  assert len(parsed.all("ul", **{"class": "strip"})) == 2
  steps = re.findall(r"step (20|60|100) quality", parsed.words)
  assert steps == ["20", "60", "100"] * 2
  # A picture is in the file once, the first batch beside it.
  assert render(folder).count("data:image/png;base64,") == 2
  assert len(parsed.all("div", **{"class": "shot p0 small"})) == 6


def test_a_task_that_was_asked_once_is_one_strip(folder):
  samples.Samples(folder).write(100, {"end": made_up_run.outcome(100)})
  parsed = Page(render(folder))
  assert len(parsed.all("ul", **{"class": "strip"})) == 3
  assert re.search(
    r"end Asked after step 100 alone\. r\d quality", parsed.words
  )
  levels = [int(tag[1]) for tag, _ in parsed.elements if tag in HEADINGS]
  assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_a_run_that_goes_and_one_without_anything(folder, tmp_path):
  (folder / "ledger.jsonl").unlink()
  assert "one running" in Page(render(folder, True)).words
  (tmp_path / "new").mkdir()
  (tmp_path / "new" / "config.json").write_text("{}")
  words = Page(render(tmp_path / "new")).words
  assert "new not begun 0 steps" in words
  assert "No numbers of training were written yet." in words


def test_what_cannot_be_read_is_told(folder):
  with (folder / "metrics.jsonl").open("a") as file:
    file.write('{"step": 110, "tr')
  words = Page(render(folder)).words
  assert "metrics.jsonl: the last line is cut off, and left out." in words


def test_what_people_and_models_wrote_is_no_markup(tmp_path):
  folder = made_up_run.make(
    tmp_path / "<b>",
    name=EVIL,
    words=EVIL,
    config={"num_steps": 100, EVIL: {EVIL: EVIL}},
  )
  row = {"step": 100, "time": 0.0, f"{EVIL}/{EVIL}": 0.5}
  row |= {f"train/loss/{EVIL}": 0.5}
  with (folder / "metrics.jsonl").open("a") as file:
    file.write(json.dumps(row) + "\n")
  stop = made_up_run.event("stop", 2090.0, 0.0, step=100, reason=EVIL)
  with (folder / "ledger.jsonl").open("a") as file:
    file.write(json.dumps(stop) + "\n")
  source = render(folder)
  parsed = Page(source)
  tags = [tag for tag, _ in parsed.elements]
  assert tags.count("script") == 1 and "b>" not in tags
  assert not {"iframe", "link", "object", "embed", "base"} & set(tags)
  assert len(parsed.all("img")) == 1
  assert not any(
    name.startswith("on") for _, attrs in parsed.elements for name in attrs
  )
  assert parsed.text.count(EVIL) >= 12
  frames = [found for _, found in parsed.elements if "data-lines" in found]
  names = {
    n["name"] for found in frames for n in json.loads(found["data-lines"])
  }
  assert EVIL in names


def test_nothing_is_outside_of_the_file_and_one_script_is_allowed(folder):
  source = render(folder)
  assert "@import" not in source and "@font-face" not in source
  assert set(re.findall(r"url\((\w+):", source)) == {"data"}
  assert not re.findall(r"https?:", source)
  (policy,) = Page(source).all(
    "meta", **{"http-equiv": "Content-Security-Policy"}
  )
  (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  assert policy["content"].split("; ")[:4] == [
    "default-src 'none'",
    "img-src data:",
    "style-src 'unsafe-inline'",
    f"script-src 'sha256-{digest}'",
  ]


def test_it_is_written_whole(folder):
  assert page.write(folder).name == "one"
  source = (folder / "report.html").read_text("utf-8")
  assert source.rstrip().endswith("</html>")
  assert not list(folder.glob("*.tmp"))
  assert (folder / "evaluation.html").read_text() == "the evaluation"


def test_an_older_page_of_the_evaluation_is_not_lost(folder):
  (folder / "evaluation.html").unlink()
  old = '<p class="kicker">Evaluation</p>'
  (folder / "report.html").write_text(old)
  page.write(folder)
  assert (folder / "evaluation.html").read_text() == old
  assert "evaluation.html" in (folder / "report.html").read_text()
  # The page itself is none.
  (folder / "evaluation.html").unlink()
  page.write(folder)
  assert not (folder / "evaluation.html").exists()


def test_a_long_run_stays_small(tmp_path):
  folder = made_up_run.make(tmp_path / "one")
  lines = [json.dumps(row) for row in made_up_run.rows(range(10, 50_001, 10))]
  (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
  assert len(render(folder)) < 600_000
