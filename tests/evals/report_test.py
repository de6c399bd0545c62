"""The files and the tables that an evaluation leaves."""

import io
import json
import math

import numpy as np
import pytest
from etils import epath
from PIL import Image
from rich.console import Console

import kosmos2_jax
from kosmos2_jax import visualize
from kosmos2_jax.evals import bootstrap, report
from kosmos2_jax.evals.protocol import Metric, Published
from tests.evals import made_up
from tests.evals.made_up import PAPER, README

TASKS = {
  "rec": made_up.task(),
  "caption": made_up.task("grit", "train"),
}


def outcomes(**cases):
  """Two tasks; `cases` are those of the first."""
  records = [made_up.record(i) for i in range(9)]
  right = np.array([1.0, 0.0])
  return {
    "rec": made_up.outcome(
      records,
      {"accuracy": Metric(50.0, scale=100.0), "mean_iou": Metric(1 / 3)},
      published=(PAPER, README),
      cases=cases,
      counts={"right": 7},
      categories={"accuracy": {"dogs": np.float64(25.0), "cats": math.nan}},
    ),
    "caption": made_up.outcome(
      records[:2],
      {"f1": Metric(0.5, right)},
      cases={"random": (1,)} if cases else {},
      notes=("METEOR needs Java.",),
    ),
  }


def write(path, step=30, found=None):
  report.write_results(
    outcomes() if found is None else found,
    path,
    tasks=TASKS,
    config="shapes",
    checkpoint="runs/shapes",
    checkpoint_hash="sha256:0f",
    step=step,
    command=["eval.py", "--tasks=rec,caption"],
    not_run={"vqa": "it is not prepared"},
  )


def test_results_json_has_these_fields_and_no_others(tmp_path):
  path = tmp_path / "new" / "results.json"
  write(path)
  assert json.loads(path.read_text()) == {
    "format": 2,
    "kosmos2_jax": kosmos2_jax.__version__,
    "config": "shapes",
    "checkpoint": "runs/shapes",
    "checkpoint_hash": "sha256:0f",
    "step": 30,
    "command": ["eval.py", "--tasks=rec,caption"],
    "intervals": bootstrap.PROTOCOL,
    "tasks": {
      "rec": {
        "evaluator": "made_up",
        "version": "3",
        "protocol": "prompt <p>…</p>, greedy",
        "dataset": "shapes",
        "split": "test",
        "n": 9,
        "metrics": {
          "accuracy": {
            "value": 50.0,
            "interval": None,
            "published": [
              {"value": 52.3, "source": "paper, table 1"},
              {"value": 60.0, "source": "README"},
            ],
          },
          "mean_iou": {"value": 1 / 3, "interval": None},
        },
        "counts": {"right": 7},
        "categories": {"accuracy": {"dogs": 25.0, "cats": None}},
        "notes": [],
      },
      "caption": {
        "evaluator": "made_up",
        "version": "3",
        "protocol": "prompt <p>…</p>, greedy",
        "dataset": "grit",
        "split": "train",
        "n": 2,
        "metrics": {"f1": {"value": 0.5, "interval": [0.0, 1.0]}},
        "counts": {},
        "categories": {},
        "notes": ["METEOR needs Java."],
      },
    },
    "not_run": {"vqa": "it is not prepared"},
  }


def test_results_json_keeps_the_order(tmp_path):
  """Of tasks, and of metrics with the main one first."""
  path = tmp_path / "results.json"
  found = {"b": made_up.outcome(metrics={"z": Metric(1.0), "a": Metric(0.0)})}
  found["a"] = found["b"]
  report.write_results(
    found,
    path,
    tasks=dict.fromkeys("ab", made_up.task()),
    config="",
    checkpoint="",
    checkpoint_hash=None,
    step=None,
    command=[],
    not_run={},
  )
  tasks = json.loads(path.read_text())["tasks"]
  assert list(tasks) == ["b", "a"]
  assert list(tasks["b"]["metrics"]) == ["z", "a"]


def test_what_json_has_no_word_for_is_null(tmp_path):
  path = tmp_path / "results.json"
  write(path, found={"rec": made_up.outcome(metrics={"x": Metric(math.nan)})})
  task = json.loads(path.read_text())["tasks"]["rec"]
  assert task["metrics"] == {"x": {"value": None, "interval": None}}


def test_results_json_replaces_an_older_one_and_leaves_nothing_else(tmp_path):
  path = tmp_path / "results.json"
  write(path, step=30)
  write(path, step=60)
  assert json.loads(path.read_text())["step"] == 60
  assert list(tmp_path.iterdir()) == [path]


def test_the_same_results_are_the_same_bytes(tmp_path):
  for name in ("a.json", "b.json"):
    write(tmp_path / name)
  assert (tmp_path / "a.json").read_bytes() == (
    tmp_path / "b.json"
  ).read_bytes()


def test_a_file_that_cannot_be_written_leaves_the_older_one(
  tmp_path, monkeypatch
):
  path = tmp_path / "results.json"
  write(path, step=30)

  def half(self, text, **options):
    self.write_bytes(text[: len(text) // 2].encode())
    raise OSError("the disk is full")

  monkeypatch.setattr(type(epath.Path(path)), "write_text", half)
  with pytest.raises(OSError, match="full"):
    write(path, step=60)
  assert json.loads(path.read_text())["step"] == 30
  assert list(tmp_path.iterdir()) == [path]


def cells(table):
  console = Console(width=120, file=io.StringIO())
  console.print(table)
  return [
    [cell.strip() for cell in line.strip("│").split("│")]
    for line in console.file.getvalue().splitlines()
    if line.startswith("│")
  ]


def test_table_has_every_metric_and_count():
  assert cells(report.make_table(outcomes(), TASKS)) == [
    ["rec", "accuracy", "50.00", "–", "52.3 / 60.0", "9"],
    ["", "mean_iou", "0.3333", "–", "", ""],
    ["caption", "f1", "0.5000", "0.0000 – 1.0000", "", "2"],
  ]


def test_table_without_tasks_has_no_published_numbers():
  table = cells(report.make_table(outcomes()))
  assert table[0] == ["rec", "accuracy", "50.00", "–", "", "9"]


def test_names_in_the_table_are_no_markup():
  found = {"[red]rec": made_up.outcome(metrics={"[b]x": Metric(0.5)})}
  assert cells(report.make_table(found))[0][:2] == ["[red]rec", "[b]x"]


def test_markdown_has_the_papers_numbers_beside_ours():
  found = outcomes()
  found["a|b"] = made_up.outcome(
    published=(Published("bleu|4", 1.0, "a\nb"),), notes=("x|y",)
  )
  tasks = TASKS | {"a|b": made_up.task()}
  assert report.markdown_table(found, tasks).splitlines() == [
    "| task | metric | ours | 95 % interval | published | difference | n"
    " | published by |",
    "|---|---|--:|:-:|--:|--:|--:|---|",
    "| rec | accuracy | 50.00 | – | 52.3 | −2.30 | 9 | paper, table 1 |",
    "| rec | accuracy | 50.00 | – | 60.0 | −10.00 | 9 | README |",
    "| caption | f1 | 0.5000 | 0.0000 – 1.0000 | – | – | 2 |  |",
    "| a\\|b | accuracy | 0.5000 | – | – | – | 0 |  |",
    "| a\\|b | bleu\\|4 | – | – | 1.0 | – | 0 | a b |",
    "",
    "- caption: METEOR needs Java.",
    "- a\\|b: x\\|y",
  ]


@pytest.mark.parametrize(
  ("count", "columns", "rows"),
  # One row of each task; eight are too many for a row, so two of four.
  [(1, 1, 1 + 1), (5, 5, 1 + 1), (8, 4, 2 + 1)],
)
def test_predictions_png_is_a_picture_of_every_case(
  tmp_path, count, columns, rows
):
  path = tmp_path / "new" / "predictions.png"
  report.draw_predictions(outcomes(random=tuple(range(count))), path)
  with Image.open(path) as drawn:
    drawn.load()
    side = 256 + 100  # A case: the picture, and room for text and margins.
    assert columns * 256 <= drawn.width < columns * side
    assert rows * 256 <= drawn.height < rows * side
    assert len(drawn.getcolors(maxcolors=1 << 24)) > 2


@pytest.mark.parametrize(
  ("cases", "columns", "rows"),
  [
    ({"worst": (0, 1), "best": (2,), "random": (3,)}, 4, 1 + 1),
    # Seven are too many for one row.
    ({"worst": (0, 1, 2, 3, 4), "best": (5,), "random": (6,)}, 5, 3 + 1),
  ],
)
def test_kinds_of_cases_share_a_row_if_they_fit(tmp_path, cases, columns, rows):
  path = tmp_path / "predictions.png"
  report.draw_predictions(outcomes(**cases), path)
  with Image.open(path) as drawn:
    assert columns * 256 <= drawn.width < (columns + 1) * 256
    assert rows * 256 <= drawn.height < rows * (256 + 100)


def test_boxes_a_model_may_give_can_be_drawn(tmp_path):
  path = tmp_path / "predictions.png"
  odd = [(0.9, 0.9, 0.1, 0.1), (0.0, 0.0, 0.0, 0.0), (math.nan, 0, 1, 1)]
  records = [made_up.record(0, {"a dog": odd})]
  report.draw_predictions(
    {"rec": made_up.outcome(records, cases={"random": (0,)})}, path
  )
  assert path.stat().st_size > 0


def test_a_task_of_text_alone_is_drawn_as_text():
  records = [made_up.record(0, {}, ["word " * 99])]
  found = made_up.outcome(records, cases={"worst": (0,)}, pictures={})
  (drawn,) = report.sample_pictures({"text": found}).values()
  assert drawn.shape[1] == 512
  assert drawn.min() < 100 < drawn.mean()


def test_no_case_is_an_error(tmp_path):
  with pytest.raises(ValueError, match="num_pictures"):
    report.draw_predictions(outcomes(), tmp_path / "predictions.png")


def test_pictures_of_training_keep_their_names():
  """Each by itself: the same record has the same name next time."""
  records = [
    made_up.record(0),
    made_up.record(1, {"a dog": [(0.1, 0.1, 0.2, 0.2)]}, ["a dog", "no box"]),
  ]
  cases = {"best": (1,), "random": (0, 1)}
  found = report.sample_pictures({"rec": made_up.outcome(records, cases=cases)})
  assert list(found) == ["rec/best_00", "rec/random_00", "rec/random_01"]
  for drawn in found.values():
    assert drawn.dtype == np.uint8
    assert drawn.shape[0] > drawn.shape[1] == 256  # with its words
  assert (found["rec/random_00"] != found["rec/random_01"]).any()
  # The predicted box is solid, in the first colour there is.
  drawn = (found["rec/random_00"] == visualize.COLORS[0]).all(axis=-1)
  assert drawn[60:68, 70:185].all(axis=1).any()


def test_the_last_of_several_pictures_is_the_one_asked_about():
  shots = (made_up.picture(value=0), made_up.picture(value=200))
  found = made_up.outcome(
    [made_up.record(0)], cases={"random": (0,)}, pictures={0: shots}
  )
  (drawn,) = report.sample_pictures({"rec": found}).values()
  assert (drawn[250, 250] == 200).all()
