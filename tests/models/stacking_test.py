"""Layers in one loop and layers apart compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.generation import decode
from kosmos2_jax.models import presets, stacking

# The same products of kernels that lie otherwise: float32 sums in another
# order, of logits around 1.
ATOL = 2e-5


def copied(tree):
  """Another tree of the same arrays, to be taken apart."""
  return jax.tree.map(lambda leaf: leaf, tree)


@pytest.fixture(scope="module")
def pair(tiny):
  """A model with its parameters, stacked and separate."""
  model, variables = tiny[:2]
  rng = np.random.default_rng(0)
  # No two layers alike, and no norm or bias that does nothing.
  params = jax.tree.map(
    lambda x: x + 0.1 * rng.normal(size=x.shape).astype(np.float32),
    variables["params"],
  )
  apart = presets.build(presets.preset("tiny"), stacked=False)
  return (model, params), (apart, stacking.separate(copied(params)))


@pytest.mark.slow
@pytest.mark.parametrize("with_pictures", [True, False])
def test_logits_are_the_same(pair, tiny, with_pictures):
  _, _, tokens, images, image_mask = tiny
  pictures = (images, image_mask) if with_pictures else (None, None)
  stacked, separate = (
    np.asarray(jax.jit(model.apply)({"params": params}, tokens, *pictures))
    for model, params in pair
  )
  np.testing.assert_allclose(separate, stacked, rtol=0, atol=ATOL)
  assert np.ptp(stacked[..., :600]) > 1


def decoded(model, params, tiny, lengths):
  """Logits of a prefill and of two steps after it."""
  _, _, tokens, images, image_mask = tiny
  latents = decode.encode(model, params, images)
  cache = model.decoder.new_kv_cache(2, 14)
  logits, cache = decode.prefill(
    model, params, tokens, lengths, cache, latents, image_mask
  )
  found = [logits]
  for step in range(2):
    token = jnp.array([5, 9], jnp.int32) + step
    logits, cache = decode.decode_step(
      model, params, token, lengths + step, cache
    )
    found.append(logits)
  return jnp.stack(found), cache


@pytest.mark.slow
def test_cached_steps_are_the_same(pair, tiny):
  lengths = jnp.array([12, 11])
  (stacked, cache), (separate, caches) = (
    jax.jit(lambda params, model=model: decoded(model, params, tiny, lengths))(
      params
    )
    for model, params in pair
  )
  np.testing.assert_allclose(separate, stacked, rtol=0, atol=ATOL)
  assert len(caches) == 2
  for i, layer in enumerate(caches):
    for name, array in layer.items():
      np.testing.assert_allclose(array, cache[name][i], rtol=0, atol=ATOL)


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_separating_takes_the_stack_apart(pair, kind):
  params = jax.tree.map(kind, pair[0][1])
  stacks = {part: params[part]["layers"] for part in ("vision", "decoder")}
  kernel = np.asarray(stacks["decoder"]["mlp"]["up"]["kernel"])
  bias = np.asarray(stacks["decoder"]["mlp"]["up"]["bias"])
  query = np.asarray(stacks["decoder"]["attention"]["query"]["kernel"])
  apart = stacking.separate(params)
  # Nothing is left of the stacks, so memory does not hold both.
  assert stacks == {"vision": {}, "decoder": {}}
  layers = apart["decoder"]
  assert "layers" not in layers
  for i in range(2):
    layer = layers[f"layers_{i}"]
    np.testing.assert_array_equal(layer["mlp"]["up"]["kernel"], kernel[i].T)
    np.testing.assert_array_equal(layer["mlp"]["up"]["bias"], bias[i])
    np.testing.assert_array_equal(
      layer["attention"]["query"]["kernel"], np.moveaxis(query[i], 0, -1)
    )
  if kind is np.asarray:
    for leaf in jax.tree.leaves(layers["layers_1"]):
      # No view, which would keep the stack alive.
      assert leaf.base is None
      assert leaf.flags.c_contiguous


def caches():
  """A cache of three rows, stacked and separate."""
  values = np.arange(2 * 3 * 2 * 1 * 2, dtype=np.float32)
  key = jnp.asarray(values.reshape(2, 3, 2, 1, 2))
  stacked = {"key": key, "value": -key}
  return stacked, [{"key": key[i], "value": -key[i]} for i in range(2)]


def assert_alike(stacked, separate):
  for i, layer in enumerate(separate):
    assert set(layer) == set(stacked)
    for name, array in layer.items():
      np.testing.assert_array_equal(array, stacked[name][i])


def test_rows_of_a_cache_are_taken_in_order():
  stacked, separate = caches()
  rows = jnp.array([2, 0, 2, 1])
  taken = stacking.take_rows(stacked, rows)
  assert taken["key"].shape == (2, 4, 2, 1, 2)
  for new, old in enumerate(rows):
    for name, array in stacked.items():
      np.testing.assert_array_equal(taken[name][:, new], array[:, old])
  assert_alike(taken, stacking.take_rows(separate, rows))


def test_a_longer_cache_has_empty_slots_behind():
  stacked, separate = caches()
  longer = stacking.lengthen_cache(stacked, 3)
  for name, array in stacked.items():
    assert longer[name].shape == (2, 3, 5, 1, 2)
    np.testing.assert_array_equal(longer[name][:, :, :2], array)
    assert not longer[name][:, :, 2:].any()
  assert_alike(longer, stacking.lengthen_cache(separate, 3))


@pytest.mark.parametrize(
  ("path", "found"),
  [
    ("decoder/layers_3/mlp/up/bias", ("decoder/layers/mlp/up/bias", 3)),
    ("vision/layers_12/x", ("vision/layers/x", 12)),
    ("layers_0/x", ("layers/x", 0)),
    ("decoder/layers/x", ("decoder/layers/x", None)),
    ("decoder/final_norm/scale", ("decoder/final_norm/scale", None)),
    ("decoder/my_layers_3/x", ("decoder/my_layers_3/x", None)),
  ],
)
def test_where_a_parameter_is_in_the_stack(path, found):
  assert stacking.stacked_path(path) == found
