"""A picture is encoded once, and its latents are those of the picture."""

import jax
import numpy as np
import pytest

from kosmos2_jax.generation import decode, latents
from kosmos2_jax.generation.latents import Latents
from kosmos2_jax.generation.placement import DEFAULT
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.generation.samples import small_model, small_sizes

SIZES = small_sizes(Tokenizer.small(num_bins=4))
SIZE = SIZES["vision"]["image_size"]
PICTURES = list(
  np.random.default_rng(0).normal(size=(9, SIZE, SIZE, 3)).astype(np.float32)
)


@pytest.fixture(scope="module")
def model():
  return small_model(SIZES)


def made(model, capacity=4):
  return Latents(*model, capacity, DEFAULT)


def pictures(*groups):
  return [[PICTURES[i] for i in group] for group in groups]


def check(found, model, *groups):
  """The latents are those of the pictures, each encoded by itself."""
  assert len(found) == len(groups)
  for row, group in zip(np.asarray(found), groups, strict=True):
    for one, i in zip(row, group, strict=False):
      [[wanted]] = decode.encode(
        *model, jax.device_put(PICTURES[i][None, None])
      )
      # Other shapes, other orders of float32 sums.
      np.testing.assert_allclose(one, wanted, atol=1e-5)


def test_every_picture_is_encoded_once(model):
  remembered = made(model)
  groups = [0], [1], [0], [0]
  check(remembered.of(pictures(*groups)), model, *groups)
  assert remembered.num_encoded == 2
  # And not again in the next batch.
  groups = [1], [0], [2]
  check(remembered.of(pictures(*groups)), model, *groups)
  assert remembered.num_encoded == 3


def test_an_equal_picture_is_the_same_only_as_the_same_array(model):
  remembered = made(model)
  remembered.of([[PICTURES[0]], [PICTURES[0].copy()]])
  assert remembered.num_encoded == 2


def test_what_was_asked_for_the_longest_time_ago_is_forgotten(model):
  remembered = made(model, capacity=2)
  for i in (0, 1, 0, 2, 0, 1):
    check(remembered.of(pictures([i])), model, [i])
  assert remembered.num_encoded == 4  # 0, 1, 2, and 1 again
  check(remembered.of(pictures([0], [1])), model, [0], [1])
  assert remembered.num_encoded == 4


def test_a_batch_may_need_more_than_are_remembered(model):
  remembered = made(model, capacity=2)
  check(remembered.of(pictures([3])), model, [3])
  groups = [0, 1, 2], [3, 4, 5], [0, 4]
  check(remembered.of(pictures(*groups)), model, *groups)
  assert remembered.num_encoded == 6
  check(remembered.of(pictures([5, 0])), model, [5, 0])
  assert remembered.num_encoded == 6


def test_as_many_at_once_as_a_batch_has_rows(model, monkeypatch):
  shapes = []
  encode = latents._encode

  def watched(model, params, images):
    shapes.append(images.shape[0])
    return encode(model, params, images)

  monkeypatch.setattr(latents, "_encode", watched)
  remembered = made(model, capacity=2)
  remembered.of(pictures([0, 1, 2, 3, 4]))
  assert shapes == [2, 2, 1]


def test_rows_without_pictures(model):
  remembered = made(model)
  assert remembered.of([[], []]) is None
  found = remembered.of(pictures([0], [], [1, 0]))
  assert found.shape[:2] == (3, 2)
  check(found, model, [0], [], [1, 0])


def test_nothing_is_moved_unasked(model):
  with jax.transfer_guard("disallow"):
    made(model).of(pictures([0], [1]))
