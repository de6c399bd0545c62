"""Checkpoints in another size: what is kept, what is between, what is new."""

import jax
import numpy as np
import pytest

from kosmos2_jax.convert import resizing
from kosmos2_jax.convert.resizing import Resize
from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.convert.samples import random_params

TOKENIZER = Tokenizer.small(4)


@pytest.fixture(scope="module")
def model():
  """Sizes, tokenizer and parameters, every entry another number."""
  sizes = presets.preset("tiny") | {"vocab_size": TOKENIZER.vocab.size}
  return sizes, TOKENIZER, random_params(sizes)[1]


def _resized(model, **changes):
  sizes, tokenizer, params = model
  new = resizing.describe(sizes, tokenizer, Resize(**changes))
  return new, resizing.parameters(params, (sizes, tokenizer), new)


def test_the_same_size_is_the_same_bits(model):
  sizes, _, params = model
  new, found = _resized(model, num_bins=4, image_size=16)
  assert new[0] == sizes
  jax.tree.map(np.testing.assert_array_equal, found, params)
  # The weights say so, too, not only the shortcut.
  np.testing.assert_array_equal(resizing.cubic_weights(5, 5), np.eye(5))


@pytest.mark.parametrize("new", [2, 3, 7, 8, 12])
def test_a_linear_function_is_reproduced_up_to_the_border(new):
  def plane(side):
    y, x = np.mgrid[:side, :side] + 0.5
    y, x = (axis.ravel() / side for axis in (y, x))
    return np.stack([3 * x - 2 * y + 1, y], axis=1)

  found = resizing.interpolate(plane(4), new)
  np.testing.assert_allclose(found, plane(new), atol=1e-12)


def test_weights_are_those_of_keys_inside():
  """Half-way between cells: -1/16, 9/16, 9/16, -1/16."""
  # A grid of three times as many cells has its cells 3 i + 1 at old centres.
  weights = resizing.cubic_weights(6, 6 * 3)
  np.testing.assert_allclose(weights[1::3], np.eye(6), atol=1e-15)
  weights = resizing.cubic_weights(6, 3)
  np.testing.assert_allclose(
    weights[1], [0, -1 / 16, 9 / 16, 9 / 16, -1 / 16, 0], atol=1e-15
  )
  np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_larger_pictures(model):
  _, _, params = model
  (sizes, tokenizer), found = _resized(model, image_size=32)
  assert sizes["vision"]["image_size"] == 32
  assert tokenizer is TOKENIZER
  old = params["vision"].pop("positions")
  new = found["vision"].pop("positions")
  jax.tree.map(np.testing.assert_array_equal, found, params)
  params["vision"]["positions"] = old
  assert new.shape == (17, 16)
  np.testing.assert_array_equal(new[0], old[0])
  np.testing.assert_array_equal(new[1:], resizing.interpolate(old[1:], 4))


def test_more_bins_and_new_words(model):
  _, _, params = model
  (sizes, tokenizer), found = _resized(model, num_bins=6, words=("wug",))
  old, new = TOKENIZER.vocab, tokenizer.vocab
  assert sizes["num_bins"] == new.num_bins == 6
  assert sizes["vocab_size"] == new.size == old.size + 1 + 36 - 16
  before = params["decoder"]["embedding"]
  rows = found["decoder"]["embedding"]
  assert len(rows) % 128 == 0
  assert not rows[new.size :].any()
  for text in ("the red circle", "<grounding><phrase></phrase>", "<image>"):
    for was, now in zip(
      TOKENIZER.encode(text), tokenizer.encode(text), strict=True
    ):
      np.testing.assert_array_equal(rows[now], before[was])
  [wug] = tokenizer.encode("wug")
  np.testing.assert_array_equal(
    rows[wug], before[TOKENIZER.encode("wug")].mean(axis=0)
  )
  np.testing.assert_array_equal(
    rows[new.first_location_id : new.size],
    resizing.interpolate(before[old.first_location_id : old.size], 6),
  )


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    (
      {"image_size": 20},
      "multiple of the checkpoint's patch_size, 8; found 20",
    ),
    ({"num_bins": -1}, "found -1 and 0"),
    ({"words": ("circle",)}, "found 'circle'"),
  ],
)
def test_mistakes_are_told(model, changes, sentence):
  with pytest.raises(ValueError, match=sentence):
    resizing.describe(*model[:2], Resize(**changes))


def test_rows_without_tokens_are_not_guessed_at(model):
  sizes = model[0] | {"vocab_size": TOKENIZER.vocab.size + 1}
  with pytest.raises(ValueError, match="a row for each token"):
    resizing.describe(sizes, TOKENIZER, Resize(num_bins=8))
  found = resizing.describe(sizes, TOKENIZER, Resize(image_size=32))
  assert found[0]["vocab_size"] == sizes["vocab_size"]
