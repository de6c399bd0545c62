"""The model against the formulas of the published system, in plain numpy.

The forward pass is written out here a second time, loop by loop, with the
names and the order of the original's description, and float64 throughout.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.models import presets
from kosmos2_jax.models.decoder import sinusoidal_positions


def _layer_norm(x, p):
  mean = x.mean(-1, keepdims=True)
  variance = ((x - mean) ** 2).mean(-1, keepdims=True)
  return (x - mean) / np.sqrt(variance + 1e-5) * p["scale"] + p["bias"]


def _linear(x, p):
  kernel = p["kernel"].reshape(x.shape[-1], -1)
  return x @ kernel + p["bias"].reshape(-1)


def _attention(x, source, p, num_heads, causal):
  q, k, v = (
    _linear(s, p[name])
    for s, name in ((x, "query"), (source, "key"), (source, "value"))
  )
  head_dim = q.shape[-1] // num_heads
  heads = []
  for h in range(num_heads):
    part = slice(h * head_dim, (h + 1) * head_dim)
    scores = q[:, part] @ k[:, part].T / math.sqrt(head_dim)
    if causal:
      scores[np.triu_indices(len(x), 1)] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    heads.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
  merged = np.concatenate(heads, -1)
  if "inner_norm" in p:
    merged = _layer_norm(merged, p["inner_norm"])
  return _linear(merged, p["out"])


def _gelu(x):
  return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def _layers(p):
  depth = len(jax.tree.leaves(p)[0])
  return [jax.tree.map(lambda x, i=i: x[i], p) for i in range(depth)]


def _vision(image, p, sizes):
  patch = sizes["patch_size"]
  side = sizes["image_size"] // patch
  tokens = [p["class_token"]]
  for row in range(side):
    for column in range(side):
      pixels = image[
        row * patch : (row + 1) * patch, column * patch : (column + 1) * patch
      ]
      tokens.append(np.einsum("ijc,ijce->e", pixels, p["stem"]["kernel"]))
  x = _layer_norm(np.stack(tokens) + p["positions"], p["pre_norm"])
  for layer in _layers(p["layers"]):
    h = _layer_norm(x, layer["attn_norm"])
    x = x + _attention(h, h, layer["attention"], sizes["num_heads"], False)
    h = _linear(_layer_norm(x, layer["mlp_norm"]), layer["mlp"]["up"])
    h = h / (1 + np.exp(-1.702 * h))
    x = x + _linear(h, layer["mlp"]["down"])
  x = _layer_norm(x, p["post_norm"])
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _forward(tokens, image, slots, params, sizes):
  features = _vision(image, params["vision"], sizes["vision"])
  resampler = params["resampler"]
  projected = _linear(features, resampler["project"])
  latents = resampler["latents"]
  image_latents = _attention(
    latents,
    np.concatenate([projected, latents]),
    resampler["attention"],
    sizes["resampler"]["num_heads"],
    False,
  )
  decoder, width = params["decoder"], sizes["decoder"]["width"]
  x = decoder["embedding"][tokens].copy()
  x[slots] = image_latents
  x *= math.sqrt(width)
  half = width // 2
  for t in range(len(tokens)):
    for i in range(half):
      angle = (t + 2) * math.exp(-i * math.log(10000) / (half - 1))
      x[t, i] += math.sin(angle)
      x[t, half + i] += math.cos(angle)
  for layer in _layers(decoder["layers"]):
    h = _layer_norm(x, layer["attn_norm"])
    x = x + _attention(
      h, h, layer["attention"], sizes["decoder"]["num_heads"], True
    )
    h = _linear(_layer_norm(x, layer["mlp_norm"]), layer["mlp"]["up"])
    h = _layer_norm(_gelu(h), layer["mlp"]["inner_norm"])
    x = x + _linear(h, layer["mlp"]["down"])
  x = _layer_norm(x, decoder["final_norm"])
  return x @ decoder["embedding"].T


@pytest.mark.parametrize("seed", [0, 1])
def test_logits_equal_the_formulas(seed):
  sizes = presets.preset("tiny")
  model = presets.build(sizes)
  rng = np.random.default_rng(seed)
  tokens = jnp.asarray(rng.integers(4, 600, (1, 10)), jnp.int32)
  image = jnp.asarray(rng.normal(size=(1, 1, 16, 16, 3)), jnp.float32)
  image_mask = jnp.zeros((1, 10), bool).at[0, 2:6].set(True)
  variables = jax.jit(model.init)(
    jax.random.key(seed), tokens, image, image_mask
  )
  # Norms start at (1, 0) and would hide a norm that is skipped.
  params = jax.tree.map(
    lambda x: np.asarray(x, np.float64) + 0.05 * rng.normal(size=x.shape),
    variables["params"],
  )
  logits = jax.jit(model.apply)(
    {"params": jax.tree.map(jnp.float32, params)}, tokens, image, image_mask
  )
  expected = _forward(
    np.asarray(tokens[0]),
    np.asarray(image[0, 0], np.float64),
    np.asarray(image_mask[0]),
    params,
    sizes,
  )
  # float32 against float64: rounding of four layers, relative to the spread.
  error = np.abs(logits[0, :, :601] - expected[:, :601]).max()
  assert error < 2e-5 * expected.std()


def test_positions_are_rows_of_the_original_table():
  code = np.asarray(sinusoidal_positions(jnp.array([[0, 1]]), 2048))
  # Row 2 of the published table: sin(2·f_i), then cos(2·f_i).
  f = np.exp(-np.arange(1024) * math.log(10000) / 1023)
  np.testing.assert_allclose(code[0, 0, :1024], np.sin(2 * f), atol=2e-7)
  np.testing.assert_allclose(code[0, 0, 1024:], np.cos(2 * f), atol=2e-7)
  np.testing.assert_allclose(code[0, 1, :1024], np.sin(3 * f), atol=4e-7)


def test_sub_ln_initialisation_has_the_published_bounds():
  sizes = presets.preset("tiny")
  sizes["decoder"].update(depth=24, width=64, mlp_dim=128)
  model = presets.build(sizes)
  tokens = jnp.zeros((1, 8), jnp.int32)
  images = jnp.zeros((1, 1, 16, 16, 3))
  mask = jnp.zeros((1, 8), bool)
  params = jax.jit(model.init)(jax.random.key(0), tokens, images, mask)[
    "params"
  ]
  layer = params["decoder"]["layers"]
  gain = 1.9675367876885788  # sqrt(ln 48), published for 24 layers
  for leaf, fan_in, factor in (
    (layer["attention"]["query"], 64, 1),
    (layer["attention"]["key"], 64, 1),
    (layer["attention"]["value"], 64, gain),
    (layer["attention"]["out"], 64, gain),
    (layer["mlp"]["up"], 64, gain),
    (layer["mlp"]["down"], 128, gain),
  ):
    for part in ("kernel", "bias"):
      bound = factor / math.sqrt(fan_in)
      largest = np.abs(leaf[part]).max()
      assert 0.97 * bound < largest <= bound * (1 + 1e-6)
  table = np.asarray(params["decoder"]["embedding"])
  assert not table[1].any()  # padding
  assert not table[601:].any()
  np.testing.assert_allclose(table[4:601].std(), 64**-0.5, rtol=0.05)
