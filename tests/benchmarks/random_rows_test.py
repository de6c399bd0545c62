import numpy as np
import pytest

from kosmos2_jax.batch import check_batch
from kosmos2_jax.benchmarks import random_rows
from kosmos2_jax.compiling.jobs import Job
from kosmos2_jax.models import presets


def make(rows=2, length=40, images=2, text_only=False, kinds=("a", "b")):
  sizes = presets.preset("tiny")  # 4 latents a picture
  if text_only:
    sizes["text_only"] = True
  job = Job(sizes, {}, {"kind_names": kinds}, rows, length, images)
  batch = random_rows.make_rows(job)
  check_batch(batch)
  return batch


def test_each_picture_has_its_slots_at_the_beginning_of_a_segment():
  batch = make()
  assert batch["images"].shape == (2, 2, 16, 16, 3)
  assert (batch["images"] != 0).all(axis=(2, 3, 4)).all()
  for row in range(2):
    np.testing.assert_array_equal(
      np.flatnonzero(batch["image_mask"][row]), [2, 3, 4, 5, 22, 23, 24, 25]
    )
    np.testing.assert_array_equal(
      batch["segment_ids"][row], np.repeat([1, 2], 20)
    )
    np.testing.assert_array_equal(
      batch["positions"][row], np.tile(np.arange(20), 2)
    )
    # Words behind the slots, but for the last of a segment.
    counted = np.flatnonzero(batch["loss_mask"][row])
    np.testing.assert_array_equal(counted, [*range(6, 19), *range(26, 39)])
    np.testing.assert_array_equal(batch["kinds"][row], np.repeat([1, 2], 20))


def test_places_for_which_there_is_no_room_stay_empty():
  batch = make(length=40, images=6)  # 10 tokens are the least of a picture
  assert batch["image_mask"].sum() == 2 * 4 * 4
  empty = (batch["images"] == 0).all(axis=(2, 3, 4))
  np.testing.assert_array_equal(empty[0], [False] * 4 + [True] * 2)


@pytest.mark.parametrize("length", [40, 42, 3])
def test_rows_of_text_are_full(length):
  batch = make(length=length, images=0, text_only=True)
  assert not batch["image_mask"].any()
  assert (batch["segment_ids"] > 0).all()
  segments = min(4, length)
  assert set(batch["segment_ids"][0]) == set(range(1, segments + 1))
  assert batch["loss_mask"].sum() == 2 * (length - segments)


def test_the_seed_decides():
  job = Job(presets.preset("tiny"), {}, {}, 2, 40, 1)
  one, same, other = (random_rows.make_rows(job, seed) for seed in (0, 0, 1))
  for key in ("tokens", "images"):
    np.testing.assert_array_equal(one[key], same[key])
    assert (one[key] != other[key]).any()
