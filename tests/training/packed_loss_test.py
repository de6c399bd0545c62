"""Packed or not, an example is read the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax import losses
from kosmos2_jax.input import documents, packing
from kosmos2_jax.models import presets
from kosmos2_jax.text.vocab import Vocab
from kosmos2_jax.training import objective
from kosmos2_jax.training import state as state_lib

# Compiles whole models.
pytestmark = pytest.mark.slow

VOCAB = Vocab(num_pieces=400, num_bins=4)
SEQ_LEN, MAX_PICTURES, NUM_LATENTS = 64, 5, 4

# Losses are around 6. Keys of other segments add exact zeros to the softmax,
# but matrices of other shapes add up in another order: measured 2e-6.
ATOL = 2e-5


@pytest.fixture(scope="module")
def model():
  return presets.build(presets.preset("tiny"))


@pytest.fixture(scope="module")
def params(model):
  return state_lib.init_params(model, jax.random.key(1))


@pytest.fixture(scope="module")
def examples():
  """Nine documents of no to three pictures, and their pictures."""
  rng = np.random.default_rng(0)
  made = []
  for count in (1, 0, 2, 1, 3, 0, 1, 0, 1):
    writer = documents.Writer(VOCAB, NUM_LATENTS)
    for _ in range(count):
      writer.text(rng.integers(4, 400, rng.integers(1, 5)).tolist())
      writer.picture(b"picture")
    writer.text(rng.integers(4, 400, rng.integers(2, 9)).tolist())
    pictures = rng.normal(size=(count, 16, 16, 3)).astype(np.float32)
    made.append((writer.document(), pictures))
  return made


def token_losses(model, params, examples, rows):
  """Losses of every segment of the rows, by the number of its example."""
  batch = packing.pad_rows(
    [
      packing.join_rows([packing.make_row(examples[i][0]) for i in row])
      for row in rows
    ],
    SEQ_LEN,
    VOCAB.pad_id,
  )
  images = np.zeros((len(rows), MAX_PICTURES, 16, 16, 3), np.float32)
  for row, chosen in enumerate(rows):
    pictures = np.concatenate([examples[i][1] for i in chosen])
    images[row, : len(pictures)] = pictures
  batch["images"] = images

  @jax.jit
  def compute(params, inputs, targets):
    logits = model.apply({"params": params}, **inputs)
    return losses.token_losses(logits, targets)

  inputs = {key: jnp.asarray(batch[key]) for key in objective.MODEL_INPUTS}
  found = np.asarray(compute(params, inputs, jnp.asarray(batch["targets"])))
  return {
    example: found[row, batch["segment_ids"][row] == number]
    for row, chosen in enumerate(rows)
    for number, example in enumerate(chosen, 1)
  }


@pytest.fixture(scope="module")
def packed_rows(examples):
  rows = packing.pack(
    [document.num_tokens for document, _ in examples],
    [len(pictures) for _, pictures in examples],
    3,
    SEQ_LEN,
    MAX_PICTURES,
  )
  assert sorted(i for row in rows for i in row) == list(range(9))
  return rows


@pytest.fixture(scope="module")
def packed(model, params, examples, packed_rows):
  return token_losses(model, params, examples, packed_rows)


def test_packed_examples_have_the_losses_of_unpacked_ones(
  model, params, examples, packed
):
  alone = token_losses(model, params, examples, [[i] for i in range(9)])
  for i, (document, _) in enumerate(examples):
    assert packed[i].shape == (document.num_tokens,)
    np.testing.assert_allclose(packed[i], alone[i], rtol=0, atol=ATOL)
  # The order of things would be seen.
  assert np.ptp(np.concatenate(list(alone.values()))) > 1


@pytest.mark.parametrize("changed", [0, 2, 4, 8])
def test_a_picture_reaches_its_own_segment_and_no_other(
  model, params, examples, packed_rows, packed, changed
):
  others = list(examples)
  document, pictures = examples[changed]
  others[changed] = (document, pictures[::-1] * -2)
  found = token_losses(model, params, others, packed_rows)
  [row] = [row for row in packed_rows if changed in row]
  assert len(row) > 1
  for i in range(9):
    if i == changed:
      assert np.abs(found[i] - packed[i]).max() > 1e-3
    else:
      np.testing.assert_array_equal(found[i], packed[i])
