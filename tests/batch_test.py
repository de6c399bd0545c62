"""The batch: what is checked, and what changes its hash."""

import numpy as np
import pytest

from kosmos2_jax import batch as batch_lib


def make_batch(num_images=1):
  spec = batch_lib.batch_spec(2, 5, num_images=num_images, image_size=4)
  rng = np.random.default_rng(0)
  return {
    key: rng.integers(0, 2, shape).astype(dtype)
    for key, (shape, dtype) in spec.items()
  }


@pytest.mark.parametrize("num_images", [0, 1, 3])
def test_what_the_spec_says_is_a_batch(num_images):
  batch = make_batch(num_images)
  batch_lib.check_batch(batch)
  assert tuple(batch) == batch_lib.BATCH_KEYS
  assert batch["images"].shape == (2, num_images, 4, 4, 3)
  assert batch["example_index"].shape == (2,)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda b: b.pop("targets"), r"missing here: \['targets'\]"),
    (lambda b: b.update(labels=b["targets"]), r"unknown: \['labels'\]"),
    (
      lambda b: b.update(loss_mask=b["loss_mask"].astype(np.int32)),
      "'loss_mask'.* is bool, found int32",
    ),
    (
      lambda b: b.update(positions=b["positions"][:, 1:]),
      r"'positions'.* \[2, 5\] .* found \[2, 4\]",
    ),
    (
      lambda b: b.update(images=b["images"][:, 0]),
      r"'images'.* \[2, M, height, width, 3\] .* found \[2, 4, 4, 3\]",
    ),
    (lambda b: b.update(tokens=b["tokens"][0]), r"is \[B, T\]"),
  ],
)
def test_what_is_no_batch_is_named(change, message):
  batch = make_batch()
  change(batch)
  with pytest.raises(ValueError, match=message):
    batch_lib.check_batch(batch)


def test_hash_sees_every_array_and_not_the_memory_layout():
  batch = make_batch()
  expected = batch_lib.batch_hash(batch)
  reordered = {key: batch[key] for key in reversed(batch)}
  reordered["tokens"] = np.asfortranarray(batch["tokens"])
  assert batch_lib.batch_hash(reordered) == expected
  for key in batch_lib.BATCH_KEYS:
    changed = dict(batch)
    changed[key] = batch[key].copy()
    flat = changed[key].reshape(-1)
    flat[-1] = not flat[-1]
    assert batch_lib.batch_hash(changed) != expected, key
