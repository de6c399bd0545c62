"""A task from its examples to its scores, and again after a kill."""

import json

import numpy as np
import pytest

from kosmos2_jax.evals import engine
from kosmos2_jax.evals.examples import Again
from kosmos2_jax.evals.store import Store
from tests.evals.samples import Counter, Echo, make_examples


def examples(count=23, **options):
  return Again(lambda: make_examples(count, **options))


def run(given=None, evaluator=None, predictor=None, **options):
  evaluator = evaluator or Echo()
  return engine.run(
    predictor or Counter(),
    evaluator,
    examples() if given is None else given,
    **{"batch_size": 4, **options},
  )


def choose(scores, records, count):
  assert scores.n == len(records)
  return {"best": (0, len(records) - 1)[:count], "random": (3,)}


class Killed(Exception):
  pass


class Mortal(Counter):
  """Is killed before it answers the n-th batch."""

  def __init__(self, lives):
    super().__init__()
    self.lives = lives

  def generate(self, prompts, images):
    if not self.lives:
      raise Killed
    self.lives -= 1
    return super().generate(prompts, images)


def test_records_are_in_the_order_of_the_questions():
  evaluator = Echo()
  outcome = run(examples(texts=2), evaluator)
  wanted = list(Echo().questions(make_examples(23, texts=2)))
  assert [r.id for r in outcome.records] == [q.id for q in wanted]
  assert all(r.answer["length"] == r.truth["length"] for r in outcome.records)
  # As JSON gives it back, killed or not.
  assert outcome.records[0].truth["numbers"] == [0.1, 1e-17]
  assert outcome.scores.metrics["accuracy"].value == 1.0
  # They were asked in another order, and both of a picture together.
  asked = [name for batch in evaluator.batches for name in batch]
  assert asked != [q.id for q in wanted]
  for batch in evaluator.batches:
    assert {f"{name[:-1]}{i}" for name in batch for i in "01"} == set(batch)


def test_limit_reads_no_further():
  given = make_examples(9)
  outcome = run(given, limit=4)
  assert len(outcome.records) == 4
  assert next(given)["id"] == "4"


def test_a_task_without_examples_is_given_none():
  class Own(Echo):
    reads_examples = False

    def questions(self, given):
      assert list(given) == []
      yield from super().questions(make_examples(3))

  outcome = run(make_examples(9), Own())
  assert len(outcome.records) == 3


@pytest.mark.parametrize("texts", [1, 3])
def test_killed_anywhere_it_goes_on_to_the_same_end(tmp_path, texts):
  whole = run(
    examples(texts=texts), store=Store(tmp_path / "whole.jsonl", {"a": 1})
  )
  content = (tmp_path / "whole.jsonl").read_bytes()
  lines = content.split(b"\n")
  for lives in range(0, 6):
    path = tmp_path / f"{lives}.jsonl"
    mortal = Mortal(lives)
    with pytest.raises(Killed):
      run(examples(texts=texts), predictor=mortal, store=Store(path, {"a": 1}))
    # What was answered is in the file; a half-written line is there, too.
    assert path.read_bytes() == b"\n".join(lines[: mortal.asked + 1]) + b"\n"
    with path.open("ab") as file:
      file.write(lines[mortal.asked + 1][:7])
    second, evaluator = Counter(), Echo()
    outcome = run(
      examples(texts=texts),
      evaluator,
      second,
      store=Store(path, {"a": 1}),
    )
    assert outcome.records == whole.records
    assert second.asked == 23 * texts - mortal.asked
    assert path.read_bytes() == content


def test_half_a_batch_is_asked_as_a_whole_again(tmp_path):
  """In another batch the last digits might be others."""
  path, first = tmp_path / "p.jsonl", Echo()
  whole = run(evaluator=first, store=Store(path, {}))
  content = path.read_bytes()
  lines = content.split(b"\n")
  path.write_bytes(b"\n".join(lines[:7]) + b"\n")  # six answers, of 4 and 4
  evaluator = Echo()
  outcome = run(evaluator=evaluator, store=Store(path, {}))
  assert evaluator.batches == first.batches[1:]
  assert outcome.records == whole.records
  assert path.read_bytes() == content


def test_everything_answered_nothing_is_asked(tmp_path):
  wanted = run(store=Store(tmp_path / "p.jsonl", {}))
  outcome = run(predictor=Mortal(0), store=Store(tmp_path / "p.jsonl", {}))
  assert outcome.records == wanted.records


def test_data_that_changed_is_refused(tmp_path):
  run(store=Store(tmp_path / "p.jsonl", {}))
  changed = [*make_examples(23)]
  changed[22]["texts"] = ["other"]
  with pytest.raises(ValueError, match="question '22/0' has another 'ask'"):
    run(changed, store=Store(tmp_path / "p.jsonl", {}))
  with pytest.raises(ValueError, match="answers '20/0' and 2 more that nobody"):
    run(examples(20), store=Store(tmp_path / "p.jsonl", {}))


def test_ids_are_unique_and_answers_as_many_as_questions():
  with pytest.raises(ValueError, match="two questions have the id '0/0'"):
    run([*make_examples(2), *make_examples(1)])

  class Short(Echo):
    def ask(self, predictor, questions):
      return super().ask(predictor, questions)[1:]

  with pytest.raises(ValueError, match="'echo' was asked 4 .* gave 3 answers"):
    run(evaluator=Short())


def test_pictures_of_the_chosen_cases_come_at_the_end():
  outcome = run(examples(), choose=choose, num_pictures=2)
  assert outcome.cases == {"best": (0, 22), "random": (3,)}
  assert set(outcome.pictures) == {0, 22, 3}
  for index, (picture,) in outcome.pictures.items():
    np.testing.assert_array_equal(picture, np.full((4, 6, 3), index))
  # Nobody wants any: examples are read once.
  assert not run(iter(examples()), choose=choose).pictures
  with pytest.raises(ValueError, match="examples that can be read twice"):
    run(iter(examples()), choose=choose, num_pictures=1)


def test_progress_comes_to_an_end(tmp_path):
  seen = []
  run(examples(23, texts=2), progress=seen.append)
  assert seen[-1] == engine.Progress(23, 46, 23, 0)
  assert seen == sorted(seen)
  assert len(seen) == 12
  store = Store(tmp_path / "p.jsonl", {})
  with pytest.raises(Killed):
    run(predictor=Mortal(2), store=store)
  seen.clear()
  run(store=Store(tmp_path / "p.jsonl", {}), progress=seen.append)
  assert [p.kept for p in seen] == [4, 8, 8, 8, 8, 8]


def test_windows_let_go_of_their_pictures():
  """A hundred windows, and no more pictures alive than a window has."""
  alive, most = set(), 0

  class Picture(np.ndarray):
    def __del__(self):
      alive.discard(id(self))

  def many():
    nonlocal most
    for example in make_examples(2000):
      image = example["image"].view(Picture)
      alive.add(id(image))
      most = max(most, len(alive))
      yield example | {"image": image}

  outcome = run(many(), batch_size=2)
  assert len(outcome.records) == 2000
  assert most <= engine.batching.WINDOW * 2 + 3
  assert json.dumps(outcome.records[0])
