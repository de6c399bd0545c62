"""Questions that are shared out: the same batches, the same answers."""

import threading

import pytest

from kosmos2_jax import evals
from kosmos2_jax.training.division import DividedPredictor, divided
from kosmos2_jax.training.processes import Group
from tests.evals.samples import Counter, Echo, make_examples


class Room:
  """Where the threads of a test meet, as processes do."""

  def __init__(self, count):
    self.values = [b""] * count
    self.barrier = threading.Barrier(count, timeout=30)


class ThreadGroup(Group):
  """A group whose processes are threads."""

  def __init__(self, index, room):
    super().__init__(index, len(room.values))
    self._room = room

  def gather(self, name, value, seconds=1.0):
    self._room.values[self.index] = value
    self._room.barrier.wait()
    found = list(self._room.values)
    self._room.barrier.wait()
    return found


class Asked:
  """A predictor that remembers its batches."""

  tokenizer = "a tokenizer"

  def __init__(self, batch_size):
    self.batch_size = batch_size
    self.batches = []

  def locate_batch(self, images, texts, *, constrained=False):
    self.batches.append(list(texts))
    pairs = zip(images, texts, strict=True)
    return [f"{image}{text}{constrained}" for image, text in pairs]

  def describe(self, image):
    return f"described {image}"


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("number", [1, 4, 7, 12])
def test_the_batches_are_those_of_one_process(count, number):
  room = Room(count)
  asked = [Asked(2) for _ in range(count)]
  found = [None] * count
  images, texts = list(range(number)), list("abcdefghijklm"[:number])

  def ask(index):
    divided = DividedPredictor(asked[index], ThreadGroup(index, room))
    found[index] = divided.locate_batch(images, texts, constrained=True)
    # What is no list of questions is answered by each.
    assert divided.describe(3) == "described 3"
    assert divided.tokenizer == "a tokenizer"

  threads = [threading.Thread(target=ask, args=[i]) for i in range(count)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  alone = Asked(2)
  wanted = [
    answer
    for start in range(0, number, 2)
    for answer in alone.locate_batch(
      images[start : start + 2], texts[start : start + 2], constrained=True
    )
  ]
  assert found == [wanted] * count
  # Each batch was asked once, and by another process than the one before.
  for index, predictor in enumerate(asked):
    assert predictor.batches == alone.batches[index::count]


def test_an_evaluation_of_several_processes_is_that_of_one(tmp_path):
  def evaluate(folder, predictor, group):
    tasks = {"echo": evals.Task("echo", Echo(), "d", "s")}
    return evals.run(
      divided(predictor, group),
      tasks,
      {"echo": list(make_examples(23))},
      batch_size=4 * group.count,
      stores=evals.open_stores(folder, tasks, {}, {}, group=group),
    )["echo"]

  alone = evaluate(tmp_path / "alone", Counter(), Group())
  for count in (2, 3):
    room = Room(count)
    asked = [Counter() for _ in range(count)]
    found = [None] * count

    def work(index, room=room, asked=asked, found=found, count=count):
      group = ThreadGroup(index, room)
      # The others' disks have nothing, and nothing is written there.
      folder = tmp_path / f"{count}_{index}"
      found[index] = evaluate(folder, asked[index], group)

    for _ in range(2):  # the second time everything is answered already
      threads = [threading.Thread(target=work, args=[i]) for i in range(count)]
      for thread in threads:
        thread.start()
      for thread in threads:
        thread.join()
      assert [outcome.records for outcome in found] == [alone.records] * count
    assert sum(predictor.asked for predictor in asked) == 23
    assert all(predictor.asked for predictor in asked)
    assert {path.name for path in tmp_path.glob(f"{count}_*")} == {f"{count}_0"}
