"""What is asked together: one picture's questions, then like ones."""

import itertools

import numpy as np
import pytest

from kosmos2_jax.evals import batching
from kosmos2_jax.evals.protocol import Question

PICTURE = np.zeros((10, 10, 3), np.uint8)


ONE = object()


def question(name, group, cost=1, images=ONE):
  """About a picture of its own, unless told otherwise."""
  images = (PICTURE.copy(),) if images is ONE else images
  return Question(name, group, images, {"cost": cost}, None)


def batches(questions, size, **options):
  windows = batching.make_batches(
    questions, size, lambda q: q.ask["cost"], **options
  )
  return [
    [[item.question.id for item in batch] for batch in window]
    for window in windows
  ]


def test_questions_about_a_picture_are_one_batch():
  given = [question(f"{p}{i}", p) for i in range(2) for p in "abc"]
  assert batches(given, 4) == [[["a0", "a1", "b0", "b1"], ["c0", "c1"]]]
  # Those of a picture that has more than fit are not shared out.
  given = [question(f"{i}", "a") for i in range(6)] + [question("b", "b")]
  assert batches(given, 4) == [[["0", "1", "2", "3", "4", "5"], ["b"]]]


def test_the_same_arrays_are_the_same_picture():
  one, two = PICTURE.copy(), PICTURE.copy()
  given = [
    question(str(i), str(i), images=(two if i % 2 else one,)) for i in range(6)
  ]
  assert batches(given, 3) == [[["0", "2", "4"], ["1", "3", "5"]]]


def test_like_lengths_are_asked_together():
  costs = [1, 9, 2, 8, 1, 9]
  given = [question(str(i), str(i), cost) for i, cost in enumerate(costs)]
  assert batches(given, 2) == [[["1", "5"], ["3", "2"], ["0", "4"]]]


def test_texts_alone_are_batches_of_their_own():
  given = [
    question("a", "p"),
    question("b", "p", images=()),
    question("c", "q", images=(PICTURE, PICTURE.copy())),
    question("d", "r"),
  ]
  assert batches(given, 8) == [[["b"], ["a", "d"], ["c"]]]


def test_no_more_is_read_than_a_window():
  taken = []

  def endless():
    for i in itertools.count():
      taken.append(i)
      yield question(str(i), str(i))

  windows = batching.make_batches(endless(), 2, lambda q: 1)
  next(windows)
  assert len(taken) <= 2 * batching.WINDOW + 1
  next(windows)
  assert len(taken) <= 4 * batching.WINDOW + 1


def test_pictures_fill_a_window_by_their_bytes():
  def fresh(i):
    return question(str(i), str(i), images=(PICTURE.copy(),))

  found = batches(map(fresh, range(8)), 4, window_bytes=3 * PICTURE.nbytes)
  assert [sum(map(len, window)) for window in found] == [3, 3, 2]
  # The same array counts once.
  found = batches(
    (question(str(i), str(i), images=(PICTURE,)) for i in range(8)),
    4,
    window_bytes=3 * PICTURE.nbytes,
  )
  assert len(found) == 1


@pytest.mark.parametrize("size", [1, 3])
def test_a_window_does_not_cut_a_picture_but_ends(size):
  full = batching.WINDOW * size
  given = [question(str(i), str(i)) for i in range(full - 1)]
  given += [question(f"a{i}", "a") for i in range(size + 1)]
  given += [question("b", "b")]
  found = batches(given, size)
  assert len(found) == 2
  assert [f"a{i}" for i in range(size + 1)] in found[0]
  # One picture for ever is no reason to read for ever.
  found = batches((question(str(i), "a") for i in range(5 * full)), size)
  assert [sum(map(len, window)) for window in found] == [
    2 * full,
    2 * full,
    full,
  ]


def test_all_are_there_once_whatever_their_order():
  rng = np.random.default_rng(0)
  given = [
    question(str(i), str(rng.integers(40)), int(rng.integers(30)))
    for i in range(500)
  ]
  windows = batching.make_batches(given, 7, lambda q: q.ask["cost"])
  numbers = [
    item.index for window in windows for batch in window for item in batch
  ]
  assert sorted(numbers) == list(range(500))
