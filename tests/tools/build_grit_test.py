"""The command that builds GrIT: its flags, its words, and that it goes on."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from data.building.drops import DropReport
from data.grit import shards
from kosmos2_jax.grit import flags as grit_flags
from kosmos2_jax.tools import build_grit

MISSING = [
  name
  for name in ("apache_beam", "spacy", "py3langid")
  if importlib.util.find_spec(name) is None
]
needs_all = pytest.mark.skipif(
  bool(MISSING), reason=f"needs {', '.join(MISSING)}"
)
ROOT = pathlib.Path(__file__).parents[2]
CAPTIONS = ("a dog in a field", "a red car", "two cats on a sofa", "a bus")
BOX = [0.125, 0.25, 0.5, 0.75]


@pytest.fixture
def make_pairs(tmp_path):
  """Writes so many pairs as JSONL, and boxes for most of their phrases."""

  def make(count):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(8):
      color = (30 * number, 90, 200 - 20 * number)
      Image.new("RGB", (64, 48), color).save(pictures / f"{number}.jpg")
    lines, boxes = [], []
    for number in range(count):
      caption = CAPTIONS[number % len(CAPTIONS)]
      lines.append(
        {"id": number, "caption": caption, "image": f"{number % 8}.jpg"}
      )
      phrase = {"phrase": caption.split(" in ")[0].split(" on ")[0]}
      phrase |= {"boxes": [BOX], "scores": [0.875]}
      boxes.append({"id": number, "phrases": [phrase]})
    for name, values in (("pairs", lines), ("boxes", boxes)):
      text = "".join(json.dumps(value) + "\n" for value in values)
      (tmp_path / f"{name}.jsonl").write_text(text)
    return [
      f"--pairs={tmp_path / 'pairs.jsonl'}",
      f"--images={pictures}",
      "--grounder=precomputed",
      f"--boxes={tmp_path / 'boxes.jsonl'}",
    ]

  return make


def command(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "kosmos2_jax.tools.build_grit", *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=500,
  )


def content(folder):
  return {path.name: path.read_bytes() for path in folder.glob("*.tar")}


@needs_all
@pytest.mark.slow
def test_builds_tells_and_draws(make_pairs, tmp_path):
  flags = make_pairs(10)
  out = tmp_path / "built"
  done = command(
    *flags, f"--output={out}", "--unit_size=4", "--contact_sheet=4"
  )
  assert (done.returncode, done.stderr) == (0, "")
  assert "images" in done.stdout
  assert "10 of 10 records" in done.stdout
  assert "3 shards: 0 were there, 3 built" in done.stdout
  summary = json.loads((out / "summary.json").read_text())
  assert (summary["units"], summary["failed"]) == (3, [])
  assert summary["statistics"]["images"] == 10
  assert summary["options"]["selection"]["min_score"] == 0.65
  # Boxes are of pictures as they are stored.
  assert summary["options"]["upright"] is False
  assert summary["grounder"]["kind"] == "precomputed"
  assert 0 <= summary["grounder_share"] <= 1
  assert summary["pairs_per_second_of_a_process"] > 0
  with Image.open(out / "contact_sheet.png") as sheet:
    assert min(sheet.size) > 100
  report = DropReport()
  found = list(shards.read_shards(shards.find_shards(out), report))
  assert [record.id for record in found] == [str(n) for n in range(10)]
  [dog] = found[0].ref_exps
  assert found[0].caption[dog.start : dog.end] == CAPTIONS[0]
  assert dog.box_xyxy == tuple(BOX)
  assert not report.counts
  again = command(*flags, f"--output={out}", "--unit_size=4")
  assert "3 shards: 3 were there, 0 built" in again.stdout
  other = command(*flags, f"--output={out}", "--unit_size=4", "--min_score=0.5")
  assert other.returncode == 2
  assert other.stderr.count("\n") == 1
  assert "selection.min_score 0.65 where this build has 0.5" in other.stderr


@needs_all
@pytest.mark.slow
def test_goes_on_after_it_was_killed(make_pairs, tmp_path):
  flags = [*make_pairs(400), "--unit_size=4"]
  killed = tmp_path / "killed"
  with subprocess.Popen(
    [
      *(sys.executable, "-m", "kosmos2_jax.tools.build_grit"),
      *(*flags, f"--output={killed}"),
    ],
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  ) as process:
    while not list(killed.glob("*_stats.json")):
      assert process.poll() is None
      time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
  # Its child ends by itself; until then it may finish what it was at.
  time.sleep(3)
  finished = len(list(killed.glob("*_stats.json")))
  assert 0 < finished < 100
  # What a kill at another moment leaves.
  (killed / ".00099.tar.ab.partial").write_bytes(b"half")
  (killed / "00098.tar").write_bytes(b"old")
  done = command(*flags, f"--output={killed}", "--workers=2")
  assert done.returncode == 0
  assert f"100 shards: {finished} were there" in done.stdout
  whole = tmp_path / "whole"
  command(*flags, f"--output={whole}")
  assert content(killed) == content(whole)
  assert len(content(whole)) == 100
  names = {path.name for path in killed.iterdir()}
  assert names == {path.name for path in whole.iterdir()}
  report = DropReport()
  ids = [r.id for r in shards.read_shards(shards.find_shards(killed), report)]
  assert ids == [str(number) for number in range(400)]


@needs_all
@pytest.mark.slow
def test_units_that_fail_are_told(make_pairs, tmp_path, capsys, monkeypatch):
  from data.grit.build import pairs

  found = pairs.find_units

  def find(*arguments, **options):
    units = found(*arguments, **options)
    gone = dataclasses.replace(units[1], path=str(tmp_path / "gone.jsonl"))
    return [units[0], gone]

  monkeypatch.setattr(pairs, "find_units", find)
  out = tmp_path / "built"
  status = build_grit.main(
    ["build_grit", *make_pairs(8), f"--output={out}", "--unit_size=4"]
  )
  told = capsys.readouterr()
  assert status == 1
  assert told.err.startswith("build_grit: 1 unit(s) failed, the first of them")
  assert "FileNotFoundError" in told.err
  assert "4 of 4 records" in told.out
  summary = json.loads((out / "summary.json").read_text())
  assert [unit["number"] for unit in summary["failed"]] == [1]


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ([], "--pairs is missing; for example: python -m"),
    (["--pairs=x", "--output=y"], "--grounder is missing"),
    (["more"], "'more' is no flag"),
    (["--grounder=glip"], "should be one of <kosmos2|transformers|precom"),
    (["--workers=0"], "workers"),
    (
      ["--pairs=x", "--output=y", "--grounder=kosmos2"],
      "--grounder=kosmos2 needs --checkpoint",
    ),
    (
      *(["--pairs=x", "--output=y", "--grounder=precomputed", "--boxes=b"],),
      "no pair file at 'x'",
    ),
    (
      [
        *("--pairs=x", "--output=y", "--grounder=precomputed", "--boxes=b"),
        "--model=m",
      ],
      "--model is of --grounder=transformers, found precomputed",
    ),
    (
      [
        *("--pairs=x", "--output=y", "--grounder=precomputed", "--boxes=b"),
        "--columns=caption",
      ],
      "--columns is name=value,…; found 'caption'",
    ),
    (
      [
        *("--pairs=x", "--output=y", "--grounder=precomputed", "--boxes=b"),
        "--min_score=2",
      ],
      "min_score within 0 and 1, found 2",
    ),
  ],
)
def test_mistakes_in_one_sentence(flags, message, capsys):
  assert build_grit.main(["build_grit", *flags]) == 2
  told = capsys.readouterr().err
  assert message in told
  assert told.startswith("build_grit: ")
  assert told.count("\n") == 1


def test_flags_say_what_is_built(tmp_path):
  read = grit_flags.define()
  read(
    [
      *("", "--pairs=a", "--output=b", "--grounder=transformers"),
      *("--model=m", "--batch_size=3"),
      "--grounder_options=threshold=0.25,device=cuda",
      *("--min_words=4", "--noenglish", "--nms_iou=0.5", "--nested=keep"),
      *("--min_box_side=0.01", "--max_box_area=0.5", "--min_side=64"),
    ]
  )
  options = grit_flags.build_options(read)
  assert (options.captions.min_words, options.captions.english) == (4, False)
  assert (options.selection.nms_iou, options.nested) == (0.5, "keep")
  assert (options.selection.min_side, options.selection.max_area) == (0.01, 0.5)
  assert (options.min_side, options.upright) == (64, True)
  made = grit_flags.make_grounder(read)
  assert made.args == (
    "transformers",
    {"model": "m", "batch_size": 3, "threshold": 0.25, "device": "cuda"},
  )
  assert json.loads(json.dumps(options.as_dict())) == options.as_dict()


def test_help(capsys):
  assert build_grit.main(["build_grit", "--help"]) == 0
  told = capsys.readouterr().out
  for name in ("pairs", "grounder", "min_words", "nms_iou", "beam_options"):
    assert f"--{name}" in told


@pytest.mark.slow
def test_the_processes_load_neither_beam_nor_tensorflow():
  # They load the module of the command.
  code = "from kosmos2_jax.tools import build_grit; import sys; "
  code += "from data.grit.build import worker; print(*sys.modules)"
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    env=os.environ,
    capture_output=True,
    text=True,
    check=True,
  )
  loaded = {name.split(".")[0] for name in done.stdout.split()}
  assert not loaded & {"apache_beam", "tensorflow", "jax", "torch"}
