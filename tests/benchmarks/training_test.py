"""Both make the same updates, by turns, and would be caught if they did not."""

import numpy as np
import pytest

from kosmos2_jax.batch import check_batch
from kosmos2_jax.benchmarks import training
from kosmos2_jax.benchmarks.worker import Update
from kosmos2_jax.convert import huggingface


@pytest.mark.parametrize(
  ("targets", "counted"), [("text", 128 - 66 - 1), ("all", 128 - 1)]
)
def test_rows_are_a_picture_and_words(targets, counted):
  batch = training.make_batch(training.SIZES["40m"], targets)
  check_batch(batch)
  assert batch["tokens"].shape == (4, 128)
  assert batch["images"].shape == (4, 1, 224, 224, 3)
  assert (batch["image_mask"].sum(1) == 64).all()
  assert (batch["loss_mask"].sum(1) == counted).all()
  # Labels of theirs are the row: what follows the last token is unknown.
  assert not batch["loss_mask"][:, -1].any()
  np.testing.assert_array_equal(
    batch["targets"][:, :-1], batch["tokens"][:, 1:]
  )


@pytest.mark.parametrize(("size", "millions"), [("40m", 39.7), ("160m", 163.3)])
def test_sizes_have_their_names(size, millions):
  sizes = training.SIZES[size]
  huggingface.config_of(sizes)  # theirs can have them
  decoder, vision = sizes["decoder"], sizes["vision"]
  width, edge = decoder["width"], vision["width"]
  matrices = (
    (sizes["vocab_size"] + 64) * width
    + decoder["depth"] * 12 * width**2
    + vision["depth"] * 12 * edge**2
    + (edge * 14**2 * 3 + 257 * edge)
    + (edge * width + 4 * width**2)
  )
  assert matrices / 1e6 == pytest.approx(millions, rel=5e-3)


class Counter:
  """Says when it was asked, as its loss."""

  calls: list[str]

  def __init__(self, name, calls):
    self.name, self.calls = name, calls

  def step(self):
    self.calls.append(self.name)
    number = len(self.calls)
    return Update(float(number), number / 10, number / 5)


def test_systems_take_turns_and_the_first_update_of_a_turn_is_not_timed():
  calls = []
  systems = {name: Counter(name, calls) for name in ("ours", "theirs")}
  losses, timed = training.measure_steps(systems, 2)
  assert calls == ["ours"] * 2 + ["theirs"] * 4 + ["ours"] * 2
  assert losses == {"ours": [1, 2, 7, 8], "theirs": [3, 4, 5, 6]}
  assert timed == {
    "step": {"ours": [0.2, 0.8], "theirs": [0.4, 0.6]},
    "step, processor time": {"ours": [0.4, 1.6], "theirs": [0.8, 1.2]},
  }


class Start:
  """Weights before the updates."""

  def names(self):
    return ["a", "b"]

  def read(self, name):
    return np.zeros(3, np.float32)


def agree(ours_loss=2.0, **ours):
  theirs = {"a": np.full(3, 3.0), "b": np.full(3, 4.0)}
  losses = {"ours": [1.0, ours_loss], "theirs": [1.0, 2.0]}
  return training.agree(losses, Start(), theirs | ours, theirs)


def test_equal_losses_and_weights_agree():
  assert agree() == training.Agreement(0.0, 0.0, True)


def test_another_loss_is_found():
  found = agree(ours_loss=2.001)
  assert found.loss == pytest.approx(5e-4)
  assert not found.same


def test_other_weights_are_found():
  found = agree(b=np.full(3, 4.0 + 0.25))
  # Against all that has moved: sqrt(3·3² + 3·4²) = 5·sqrt(3).
  assert found.update == pytest.approx(0.05)
  assert not found.same


def test_a_weight_that_theirs_lacks_is_named():
  with pytest.raises(ValueError, match="expected c in their weights"):
    agree(c=np.zeros(3))
