"""The files and the table that an evaluation leaves."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import kosmos2_jax
from kosmos2_jax import evals, visualize
from kosmos2_jax.text.markup import Box, Phrase

TASKS = {
  "rec": evals.Task("rec", None, "shapes", "test"),
  "caption": evals.Task("caption", None, "grit", "train"),
}


def sample(box_xyxy=(0.25, 0.25, 0.75, 0.75), lines=("a dog", "IoU 0.50")):
  return evals.Sample(
    image=np.full((64, 64, 3), 255, np.uint8),
    predicted=(Phrase("a dog", (0, 5), (Box(box_xyxy),)),),
    annotated=(Phrase("a dog", (0, 5), (Box((0.0, 0.0, 0.5, 0.5)),)),),
    lines=lines,
  )


def results(*samples):
  return evals.Results(
    {
      "rec": evals.TaskResult(
        evaluator="referring",
        version="1",
        protocol="prompt …",
        n=8,
        metrics={"accuracy": 0.875, "mean_iou": 1 / 3},
        counts={"right": 7},
        samples=samples,
      ),
      "caption": evals.TaskResult(
        evaluator="grounded_caption",
        version="1",
        protocol="prompt …",
        n=2,
        metrics={"f1": 0.0},
        counts={},
        samples=samples[:1],
      ),
    }
  )


def write(path, step=30):
  evals.write_results(
    results(),
    path,
    tasks=TASKS,
    config="shapes",
    checkpoint="runs/shapes",
    step=step,
  )


def test_results_json_has_these_fields_and_no_others(tmp_path):
  path = tmp_path / "new" / "results.json"
  write(path)
  content = json.loads(path.read_text())
  assert content == {
    "format": 1,
    "kosmos2_jax": kosmos2_jax.__version__,
    "config": "shapes",
    "checkpoint": "runs/shapes",
    "step": 30,
    "tasks": {
      "rec": {
        "evaluator": "referring",
        "version": "1",
        "dataset": "shapes",
        "split": "test",
        "n": 8,
        "metrics": {"accuracy": 0.875, "mean_iou": 1 / 3},
        "counts": {"right": 7},
        "protocol": "prompt …",
      },
      "caption": {
        "evaluator": "grounded_caption",
        "version": "1",
        "dataset": "grit",
        "split": "train",
        "n": 2,
        "metrics": {"f1": 0.0},
        "counts": {},
        "protocol": "prompt …",
      },
    },
  }


def test_results_json_replaces_an_older_one_and_leaves_nothing_else(tmp_path):
  path = tmp_path / "results.json"
  write(path, step=30)
  write(path, step=60)
  assert json.loads(path.read_text())["step"] == 60
  assert list(tmp_path.iterdir()) == [path]


def test_table_has_every_metric_and_count():
  console = Console(width=80, file=io.StringIO())
  console.print(evals.make_table(results()))
  cells = [
    [cell.strip() for cell in line.strip("│").split("│")]
    for line in console.file.getvalue().splitlines()
    if line.startswith("│")
  ]
  assert cells == [
    ["rec", "accuracy", "0.8750", "8"],
    ["", "mean_iou", "0.3333", ""],
    ["caption", "f1", "0.0000", "2"],
  ]


@pytest.mark.parametrize(
  ("count", "columns", "rows"),
  # One row of each task; eight are too many for a row, so two of four.
  [(1, 1, 1 + 1), (5, 5, 1 + 1), (8, 4, 2 + 1)],
)
def test_predictions_png_is_a_picture_of_every_sample(
  tmp_path, count, columns, rows
):
  path = tmp_path / "new" / "predictions.png"
  evals.draw_predictions(results(*[sample()] * count), path)
  with Image.open(path) as picture:
    picture.load()
    side = 256 + 100  # A sample: the picture, and room for text and margins.
    assert columns * 256 <= picture.width < columns * side
    assert rows * 256 <= picture.height < rows * side
    assert len(picture.getcolors(maxcolors=1 << 24)) > 2


def test_boxes_a_model_may_give_can_be_drawn(tmp_path):
  path = tmp_path / "predictions.png"
  odd = [sample((0.9, 0.9, 0.1, 0.1)), sample((0.0, 0.0, 0.0, 0.0))]
  evals.draw_predictions(results(*odd), path)
  assert path.stat().st_size > 0


def test_no_sample_is_an_error(tmp_path):
  with pytest.raises(ValueError, match="num_pictures"):
    evals.draw_predictions(results(), tmp_path / "predictions.png")


def test_scores_are_named_by_task_and_metric():
  assert results().scores == {
    "rec/accuracy": 0.875,
    "rec/mean_iou": 1 / 3,
    "caption/f1": 0.0,
  }


def test_pictures_of_training_keep_their_names():
  """Each by itself: the same example has the same name next time."""
  samples = [sample(), sample((0.1, 0.1, 0.2, 0.2), ("a dog", "no box"))]
  found = evals.sample_pictures(results(*samples))
  assert list(found) == [
    "rec/picture_00",
    "rec/picture_01",
    "caption/picture_00",
  ]
  for picture in found.values():
    assert picture.dtype == np.uint8
    assert picture.shape[0] > picture.shape[1] == 256  # with its words
  assert (found["rec/picture_00"] != found["rec/picture_01"]).any()
  # The predicted box is solid, in the first colour there is.
  drawn = (found["rec/picture_00"] == visualize.COLORS[0]).all(axis=-1)
  assert drawn[60:68, 70:185].all(axis=1).any()
