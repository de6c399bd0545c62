"""Questions that are shared out: the same batches, the same answers."""

import threading

import pytest

from kosmos2_jax.training.division import DividedPredictor
from kosmos2_jax.training.processes import Group


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
