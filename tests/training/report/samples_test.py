"""Which answers are kept, of which steps, and how they come back."""

import json

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.evals import cases
from kosmos2_jax.training.report import samples
from kosmos2_jax.training.report.samples import Samples
from tests.evals import made_up
from tests.training.report import made_up_run


@pytest.mark.parametrize(
  ("steps", "kept"),
  [
    ([], []),
    ([7], [7]),
    ([1, 2, 3, 4], [1, 2, 3, 4]),
    ([1, 2, 3, 4, 5], [1, 3, 4, 5]),
    # The middle of the two closest neighbours goes first.
    ([10, 100, 110, 120, 500], [10, 100, 120, 500]),
    ([0, 1, 2, 3, 4, 100], [0, 2, 4, 100]),
  ],
)
def test_the_closest_steps_are_dropped(steps, kept):
  assert samples.spread(steps, 4) == kept


def test_a_long_run_keeps_even_steps():
  kept = []
  for step in range(1, 1001):
    kept = samples.spread([*kept, step], 12)
  gaps = np.diff(kept)
  assert (kept[0], kept[-1], len(kept)) == (1, 1000, 12)
  assert gaps[:-1].max() <= 2 * gaps[:-1].min()
  assert gaps.max() <= 128


def test_the_same_examples_whatever_became_best(tmp_path):
  records = [made_up.record(i) for i in range(30)]
  kept = Samples(tmp_path)
  for step, quality in ((1, np.arange(30.0)), (2, -np.arange(30.0))):
    given = made_up.outcome(records, quality=quality)
    chosen = cases.choose(given.scores, records, 3, seed=0)
    pictures = {i: (made_up.picture(),) for c in chosen.values() for i in c}
    given = made_up.outcome(
      records, cases=chosen, pictures=pictures, quality=quality
    )
    kept.write(step, {"rec": given})
  first, second = kept.read(1), kept.read(2)
  assert [s["id"] for s in first] == [s["id"] for s in second]
  assert len(first) == 3
  assert all(s["picture"] for s in first)
  order = cases.drawn_order(30)[:3]
  assert [s["quality"] for s in first] == order
  assert [s["quality"] for s in second] == [-i for i in order]


def test_a_longer_evaluation_shows_the_same_with_their_pictures(tmp_path):
  kept = Samples(tmp_path)
  kept.write(20, {"rec": made_up_run.outcome(20)})
  longer = made_up.outcome(
    [made_up.record(i) for i in range(9)], cases={"random": (7, 8)}
  )
  kept.write(20, {"rec": longer, "caption": longer})
  found = kept.read(20)
  ids = cases.drawn_order(4)[:2], cases.drawn_order(9)[:2]
  assert [(s["task"], s["id"]) for s in found] == [
    *(("rec", f"r{i}") for i in ids[0]),
    *(("caption", f"r{i}") for i in ids[1]),
  ]
  assert all(s["picture"] for s in found[:2])
  # The same pixels are one file.
  assert len(list((tmp_path / "samples" / "pictures").iterdir())) == 1


def test_a_task_that_was_not_asked_again_stays(tmp_path):
  kept = Samples(tmp_path)
  kept.write(20, {"rec": made_up_run.outcome(20)})
  kept.write(20, {"caption": made_up_run.outcome(20)})
  assert {s["task"] for s in kept.read(20)} == {"rec", "caption"}
  # Without anything to show there is no file.
  kept.write(40, {"rec": made_up.outcome()})
  assert kept.steps() == [20]


def test_what_is_kept_comes_back(tmp_path):
  record = made_up.record(0, {"a dog": [(0.1, 0.2, 0.3, 0.4)]}, ["x" * 5000])
  given = made_up.outcome([record], cases={"random": (0,)})
  Samples(tmp_path).write(3, {"rec": given})
  (entry,) = Samples(tmp_path).read(3)
  view, wanted = samples.view_of(entry), given.evaluator.view(record)
  for found, phrases in (
    (view.predicted, wanted.predicted),
    (view.annotated, wanted.annotated),
  ):
    assert [(p.text, p.boxes) for p in found] == [
      (p.text, p.boxes) for p in phrases
    ]
  assert view.lines == ("x" * 1000 + " …",)
  assert entry["quality"] is None
  picture = Samples(tmp_path).picture(entry["picture"]["file"])
  assert picture.startswith(b"\x89PNG")


def test_files_are_of_bounded_size(tmp_path):
  noise = np.random.default_rng(0).integers(
    256, size=(300, 400, 3), dtype=np.uint8
  )
  given = made_up.outcome(
    [made_up.record(0)], cases={"random": (0,)}, pictures={0: (noise,)}
  )
  kept = Samples(tmp_path)
  for step in range(1, 40):
    kept.write(step, {"rec": given})
  assert len(kept.steps()) == samples.MAX_STEPS
  assert {1, 39} < set(kept.steps())
  (picture,) = (tmp_path / "samples" / "pictures").iterdir()
  with Image.open(picture) as small:
    assert small.size == (320, 240)
  kept.write_first_batch(np.repeat(noise, 10, axis=0))
  with Image.open(tmp_path / "samples" / "first_batch.png") as sheet:
    assert max(sheet.size) == 2400


def test_what_will_be_done_again_is_cut(tmp_path):
  kept = Samples(tmp_path)
  kept.cut(0)  # nothing there yet
  for step in (20, 40, 60):
    kept.write(step, {"rec": made_up_run.outcome(step)})
  kept.cut(40)
  assert kept.steps() == [20, 40]


@pytest.mark.parametrize("text", ["", "[]", '{"samples": [{"task": "rec"}]}'])
def test_a_file_of_something_else(tmp_path, text):
  (tmp_path / "samples").mkdir()
  (tmp_path / "samples" / "3.json").write_text(text)
  with pytest.raises(ValueError, match="3.json is no file of samples"):
    Samples(tmp_path).read(3)


def test_nothing_but_json_is_kept(tmp_path):
  Samples(tmp_path).write(20, {"rec": made_up_run.outcome(20)})
  text = (tmp_path / "samples" / "20.json").read_text()
  assert "NaN" not in text
  assert json.loads(text)["step"] == 20
