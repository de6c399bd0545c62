"""Reading tasks and running them."""

import dataclasses
import json

import pytest

from kosmos2_jax import evals
from tests.evals.samples import Counter, Echo, make_examples


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


@pytest.fixture
def echo(monkeypatch):
  monkeypatch.setitem(evals.EVALUATORS, "echo", Echo)


def echoes(*names, **changes):
  return evals.make_tasks(
    [entry(name, evaluator="echo", **changes) for name in names]
  )


def examples(count):
  return evals.Again(lambda: make_examples(count))


@pytest.mark.parametrize(
  ("wish", "limit", "count"),
  [(-1, None, 7), (-1, 3, 3), (5, None, 5), (5, 3, 3), (5, 9, 5), (9, 8, 7)],
)
def test_the_last_evaluation_asks_for_no_more_than_there_is(wish, limit, count):
  tasks = evals.make_tasks([entry(final_examples=wish)])
  assert tasks["rec"].final_count(7, limit) == count
  assert evals.final_counts(tasks, {"rec": range(7)}, limit) == {"rec": count}


@pytest.mark.parametrize(
  ("wish", "limit", "count"), [(-1, None, -1), (-1, 3, 3), (5, None, 5)]
)
def test_nobody_knows_how_many_questions_an_evaluator_brings(
  wish, limit, count
):
  tasks = evals.make_tasks([entry(final_examples=wish)])
  assert evals.final_counts(tasks, {}, limit) == {"rec": count}


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
    ([entry("a/b")], "named 'a/b', which is to be a folder"),
    ([entry("..")], "named '..', which is to be a folder"),
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


def test_run_gives_every_task_its_own_examples(echo):
  tasks = echoes("a", "b")
  progress = []
  results = evals.run(
    Counter(),
    tasks,
    {"a": examples(5), "b": make_examples(3)},
    batch_size=2,
    progress=lambda name, done: progress.append((name, done.examples)),
  )
  assert results.scores == {"a/accuracy": 1.0, "b/accuracy": 1.0}
  assert [outcome.scores.n for outcome in results.values()] == [5, 3]
  assert progress == [("a", 1), ("a", 3), ("a", 5), ("b", 2), ("b", 3)]
  assert list(results) == ["a", "b"]
  assert results["a"].evaluator is tasks["a"].evaluator
  assert not results.not_run


def test_limit_holds_for_each_task_and_reads_no_further(echo):
  first, second = make_examples(9), make_examples(9)
  predictor = Counter()
  results = evals.run(
    predictor, echoes("a", "b"), {"a": first, "b": second}, limit=4
  )
  assert [outcome.scores.n for outcome in results.values()] == [4, 4]
  assert predictor.asked == 8
  assert next(first)["id"] == "4"


def test_pictures_are_shared_out(echo):
  results = evals.run(
    Counter(),
    echoes("a", "b", "c"),
    {name: examples(9) for name in "abc"},
    num_pictures=8,
  )
  # Of each kind of case a third of the share, rounded up.
  kept = [len(outcome.cases["random"]) for outcome in results.values()]
  assert kept == [1, 1, 1]
  for outcome in results.values():
    assert set(outcome.pictures) == {
      index for indices in outcome.cases.values() for index in indices
    }
  assert not evals.run(Counter(), echoes("a"), {"a": examples(9)})["a"].pictures


def test_an_error_names_its_task(echo):
  with pytest.raises(ValueError, match="evaluation 'b': there is no question"):
    evals.run(Counter(), echoes("a", "b"), {"a": examples(1), "b": examples(0)})


class Files(Echo):
  """Brings its questions, from a file that is not there."""

  reads_examples = False

  def questions(self, given):
    raise FileNotFoundError("there is no\n  file")
    yield


def test_a_task_that_lacks_its_files_does_not_stop_the_others(echo):
  tasks = echoes("a", "b", "c")
  tasks["b"] = dataclasses.replace(tasks["b"], evaluator=Files())
  results = evals.run(
    Counter(),
    tasks,
    {name: examples(2) for name in "ac"},
    not_run={"d": "no data"},
  )
  assert list(results) == ["a", "c"]
  assert results.not_run == {"d": "no data", "b": "there is no file"}
  # Of examples that somebody prepared it is a mistake.
  Files.reads_examples = True
  try:
    with pytest.raises(FileNotFoundError):
      evals.run(Counter(), tasks, {name: examples(2) for name in "abc"})
  finally:
    Files.reads_examples = False


def test_its_own_questions_are_limited(echo):
  class Own(Echo):
    reads_examples = False

    def questions(self, given):
      assert not list(given)
      yield from super().questions(make_examples(9))

  for wish, limit, count in (
    (-1, None, 9),
    (-1, 4, 4),
    (5, None, 5),
    (5, 2, 2),
  ):
    tasks = echoes("a", final_examples=wish)
    tasks["a"] = dataclasses.replace(tasks["a"], evaluator=Own())
    results = evals.run(Counter(), tasks, {}, limit=limit)
    assert results["a"].scores.n == count


class Shown(Echo):
  """Shows solved examples before its questions."""

  support = "train"

  def __init__(self, *, shots=0):
    super().__init__()
    self.shots = shots
    self.shown = None

  def with_support(self, given):
    found = [example["id"] for example in given]
    if not found:
      raise ValueError("there are too few")
    new = Shown(shots=self.shots)
    new.shown = found
    return new


def test_who_shows_solved_examples_is_given_some():
  tasks = {
    "no": evals.Task("no", Shown(), "d", "val"),
    "two": evals.Task("two", Shown(shots=2), "d", "val"),
    "bare": evals.Task("bare", Shown(shots=2), "empty", "val"),
    "echo": evals.Task("echo", Echo(), "d", "val"),
  }
  asked = []

  def read(dataset, split, count):
    asked.append((dataset, split))
    assert count > 64
    return make_examples(3 if dataset == "d" else 0)

  found, missing = evals.with_support(tasks, read)
  assert list(found) == ["no", "two", "echo"]
  assert found["two"].evaluator.shown == ["0", "1", "2"]
  assert found["no"].evaluator.shown is None
  assert asked == [("d", "train"), ("empty", "train")]
  assert str(missing["bare"]) == "there are too few"


def test_everything_is_written_and_goes_on(echo, tmp_path):
  tasks = echoes("a", "b")
  model = {"checkpoint": "runs/x", "checkpoint_hash": "abc", "step": 3}

  def evaluate(predictor):
    results = evals.run(
      predictor,
      tasks,
      {"a": examples(9), "b": examples(4)},
      num_pictures=6,
      stores=evals.open_stores(tmp_path, tasks, {"a": 9, "b": 4}, model),
      not_run={"c": "no data"},
    )
    evals.write_all(
      results, tmp_path, tasks=tasks, config="x", command=["eval.py"], **model
    )

  evaluate(Counter())
  files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
  assert {str(path.relative_to(tmp_path)) for path in files} == {
    "results.json",
    "results.md",
    "report.html",
    "predictions.png",
    "a/predictions.jsonl",
    "a/answers.txt",
    "b/predictions.jsonl",
    "b/answers.txt",
  }
  content = json.loads(files[tmp_path / "results.json"])
  assert content["tasks"]["a"]["metrics"]["accuracy"]["value"] == 1.0
  assert content["checkpoint_hash"] == "abc"
  assert content["not_run"] == {"c": "no data"}
  header, *lines = files[tmp_path / "b" / "predictions.jsonl"].splitlines()
  assert json.loads(header) == {
    "format": 1,
    "task": "b",
    "evaluator": "echo",
    "version": "1",
    "protocol": "says 1 words",
    "options": {},
    "dataset": "shapes",
    "split": "test",
    "where": "",
    "limit": 4,
    **model,
  }
  assert len(lines) == 4
  again = Counter()
  evaluate(again)
  assert again.asked == 0
  assert {p: p.read_bytes() for p in files} == files


def test_nothing_is_kept_where_no_line_can_be_added():
  assert evals.open_stores("gs://bucket/x", echoes_of("a"), {}, {}) == {}


def echoes_of(name):
  return {name: evals.Task(name, Echo(), "", "")}
