"""Reading tasks and running them."""

import numpy as np
import pytest

from kosmos2_jax import evals
from kosmos2_jax.text.markup import Box

WHOLE = (0.0, 0.0, 1.0, 1.0)


class FakePredictor:
  """Finds the whole picture wherever it is asked to."""

  def __init__(self):
    self.asked = 0

  def locate_batch(self, images, expressions, *, constrained):
    self.constrained = constrained
    self.asked += len(images)
    return [[Box(WHOLE)] for _ in images]


def entry(name="rec", **changes):
  return {
    "name": name,
    "dataset": "shapes",
    "split": "test",
    "evaluator": "referring",
    "num_examples": 10,
    "final_examples": -1,
    "options": {},
  } | changes


def examples(count, box=WHOLE):
  for i in range(count):
    yield {
      "id": str(i),
      "image": np.zeros((4, 4, 3), np.uint8),
      "expressions": [{"text": f"the {i}", "box_xyxy": box}],
    }


@pytest.mark.parametrize(
  ("wish", "limit", "count"),
  [(-1, None, 7), (-1, 3, 3), (5, None, 5), (5, 3, 3), (5, 9, 5), (9, 8, 7)],
)
def test_the_last_evaluation_asks_for_no_more_than_there_is(wish, limit, count):
  tasks = evals.make_tasks([entry(final_examples=wish)])
  assert tasks["rec"].final_count(7, limit) == count


def test_tasks_are_read_from_plain_dicts():
  tasks = evals.make_tasks(
    [entry(), entry("all", options={"expressions_per_image": None})]
  )
  assert list(tasks) == ["rec", "all"]
  assert (tasks["rec"].dataset, tasks["rec"].split) == ("shapes", "test")
  assert (tasks["rec"].num_examples, tasks["rec"].final_examples) == (10, -1)
  assert tasks["rec"].evaluator.expressions_per_image == 1
  assert tasks["all"].evaluator.expressions_per_image is None


def test_tasks_can_be_chosen_by_name():
  entries = [entry("a"), entry("b"), entry("c")]
  assert list(evals.make_tasks(entries, ["c", "a"])) == ["c", "a"]
  with pytest.raises(ValueError, match=r"no evaluation 'd'; it has \['a', 'b'"):
    evals.make_tasks(entries, ["a", "d"])


@pytest.mark.parametrize(
  ("entries", "message"),
  [
    ([entry(evaluator="rec")], r"evaluator 'rec'; there are \['grounded_cap"),
    ([entry(options={"tokens": 3})], "'rec' has wrong options.*'tokens'"),
    (
      [entry(evaluator="grounded_caption", options={"mode": "words"})],
      "'rec' has wrong options.*mode must be one of",
    ),
    ([entry(), entry()], "two evaluations of the config are named 'rec'"),
  ],
)
def test_wrong_tasks_are_named(entries, message):
  with pytest.raises(ValueError, match=message):
    evals.make_tasks(entries)


def test_every_evaluator_has_its_name_and_a_version():
  for name, evaluator in evals.EVALUATORS.items():
    assert evaluator.name == name
    assert evaluator.version
    assert evaluator().protocol


def test_run_gives_every_task_its_own_examples():
  tasks = evals.make_tasks([entry("a"), entry("b")])
  progress = []
  results = evals.run(
    FakePredictor(),
    tasks,
    {"a": examples(5), "b": examples(3, box=(0.0, 0.0, 0.1, 0.1))},
    batch_size=2,
    progress=lambda name, count: progress.append((name, count)),
  )
  assert results.scores["a/accuracy"] == 1.0
  assert results.scores["b/accuracy"] == 0.0
  assert [result.n for result in results.tasks.values()] == [5, 3]
  assert progress == [("a", 2), ("a", 4), ("a", 5), ("b", 2), ("b", 3)]


def test_limit_holds_for_each_task_and_reads_no_further():
  tasks = evals.make_tasks([entry("a"), entry("b")])
  first, second = examples(9), examples(9)
  predictor = FakePredictor()
  results = evals.run(
    predictor, tasks, {"a": first, "b": second}, limit=4, batch_size=3
  )
  assert [result.n for result in results.tasks.values()] == [4, 4]
  assert predictor.asked == 8
  assert next(first)["id"] == "4"


def test_pictures_are_shared_out():
  tasks = evals.make_tasks([entry("a"), entry("b"), entry("c")])
  results = evals.run(
    FakePredictor(),
    tasks,
    {name: examples(9) for name in tasks},
    num_pictures=8,
  )
  kept = [len(result.samples) for result in results.tasks.values()]
  assert kept == [3, 3, 2]


def test_an_error_names_its_task():
  tasks = evals.make_tasks([entry("a"), entry("b")])
  with pytest.raises(ValueError, match="evaluation 'b': none of the 0"):
    evals.run(FakePredictor(), tasks, {"a": examples(1), "b": examples(0)})
