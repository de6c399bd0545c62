"""bfloat16 computes products; everything delicate is float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.models import decoder, kosmos2, layers, presets

# A function of many numbers, or one that bfloat16 would ruin.
DELICATE = {
  "cos", "cumsum", "div", "erf", "erfc", "exp", "exp2", "integer_pow", "log",
  "log1p", "logistic", "pow", "reduce_sum", "rsqrt", "sin", "sqrt", "square",
  "tanh",
}  # fmt: skip


def _sizes(stem="patch"):
  sizes = presets.preset("tiny")
  sizes["vision"] |= {"stem": stem}
  return sizes


def _inputs():
  keys = jax.random.split(jax.random.key(1), 2)
  tokens = jax.random.randint(keys[0], (2, 12), 4, 600)
  images = jax.random.normal(keys[1], (2, 1, 16, 16, 3))
  image_mask = (jnp.arange(12) < 4)[None].repeat(2, 0)
  return tokens, images, image_mask


def _equations(jaxpr):
  for eqn in jaxpr.eqns:
    yield eqn
    for value in eqn.params.values():
      values = value if isinstance(value, (tuple, list)) else [value]
      for inner in values:
        inner = getattr(inner, "jaxpr", inner)
        if hasattr(inner, "eqns"):
          yield from _equations(inner)


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_nothing_delicate_is_computed_in_bfloat16(stem):
  model = presets.build(_sizes(stem), dtype="bfloat16")
  params = jax.eval_shape(lambda: model.init(jax.random.key(0), *_inputs()))
  forward = jax.make_jaxpr(lambda p: model.apply(p, *_inputs()))(params)
  found, seen = set(), set()
  for eqn in _equations(forward.jaxpr):
    name = eqn.primitive.name
    dtypes = {v.aval.dtype for v in eqn.invars if hasattr(v.aval, "dtype")}
    seen.add(name)
    if name in DELICATE and jnp.dtype("bfloat16") in dtypes:
      found.add(name)
    if name == "dot_general":
      # Weights are cast; no product is computed in float32 by oversight.
      assert dtypes == {jnp.dtype("bfloat16")}
  assert not found
  assert {"exp", "logistic", "rsqrt", "sin", "reduce_sum", "sqrt"} <= seen


def test_master_weights_and_their_gradients_are_float32():
  model = presets.build(_sizes(), dtype="bfloat16")
  params = jax.eval_shape(lambda: model.init(jax.random.key(0), *_inputs()))

  def loss(params):
    return jax.nn.logsumexp(model.apply(params, *_inputs())).mean()

  for tree in (params, jax.eval_shape(jax.grad(loss), params)):
    assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {
      jnp.dtype("float32")
    }
  logits = jax.eval_shape(lambda p: model.apply(p, *_inputs()), params)
  assert logits.dtype == jnp.float32


def _rounded(wide):
  return np.asarray(jnp.asarray(wide, jnp.bfloat16), np.float64)


def _assert_rounded_once(found, exact):
  """Off by half a unit of the last of 8 bits, and a hair for float32."""
  assert found.dtype == jnp.bfloat16
  np.testing.assert_allclose(
    np.asarray(found, np.float64), exact, rtol=2.0**-8 + 1e-5, atol=1e-6
  )


X = _rounded(np.random.default_rng(0).normal(size=(64, 1024)) * 3)


def test_activations_are_rounded_once():
  x = jnp.asarray(X, jnp.bfloat16)
  _assert_rounded_once(layers.quick_gelu(x), X / (1 + np.exp(-1.702 * X)))
  inner = np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)
  _assert_rounded_once(layers.tanh_gelu(x), X / 2 * (1 + np.tanh(inner)))


def test_norms_have_float32_statistics():
  # A large mean: in bfloat16 the variance would be gone.
  x = _rounded(X + 100)
  norm = layers.layer_norm("norm", jnp.dtype("bfloat16"))
  found, _ = norm.init_with_output(
    jax.random.key(0), jnp.asarray(x, jnp.bfloat16)
  )
  mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
  exact = (x - mean) / np.sqrt(variance + layers.LAYER_NORM_EPS)
  # float32: mean of squares less the square of the mean, about 1e4.
  np.testing.assert_allclose(
    np.asarray(found, np.float64), exact, rtol=2.0**-8, atol=2e-3
  )
  unit = kosmos2.l2_normalize(jnp.asarray(X, jnp.bfloat16))
  exact = X / np.sqrt((X**2).sum(-1, keepdims=True))
  _assert_rounded_once(unit, exact)


def test_positions_are_added_before_anything_is_rounded():
  width, length = 64, 512
  model = decoder.Decoder(600, 4, width, 1, 64, 2, dtype=jnp.dtype("bfloat16"))
  tokens = jnp.arange(length)[None] % 600
  variables = jax.jit(model.init)(jax.random.key(0), tokens[:, :4])
  # What enters the first layer, caught where the loop over layers begins.
  _, state = model.apply(
    variables,
    tokens,
    capture_intermediates=lambda module, _: module.name == "embed_dropout",
  )
  (found,) = state["intermediates"]["embed_dropout"]["__call__"]
  table = np.asarray(variables["params"]["embedding"])
  half = np.arange(width // 2) / (width // 2 - 1)
  angles = (np.arange(length) + 2)[:, None] * 10_000.0**-half
  codes = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
  exact = _rounded(table[tokens[0]]) * np.sqrt(width) + codes
  # Angles up to 514 in float32 are off by 3e-5.
  np.testing.assert_allclose(
    np.asarray(found[0], np.float64), exact, rtol=2.0**-8, atol=1e-4
  )


@pytest.mark.slow
def test_a_model_in_bfloat16_is_close_in_values_and_gradients():
  model = presets.build(_sizes())
  params = jax.jit(model.init)(jax.random.key(0), *_inputs())

  def run(dtype):
    model = presets.build(_sizes(), dtype=dtype)

    def loss(params):
      logits = model.apply(params, *_inputs())[..., :601]
      return -jax.nn.log_softmax(logits)[..., 7].mean()

    return jax.jit(jax.value_and_grad(loss))(params)

  (value, grads), (expected, exact) = run("bfloat16"), run("float32")
  # Products have 8 bits: 0.4 % each, and some ten of them follow each other.
  np.testing.assert_allclose(value, expected, rtol=2e-3)
  norm = lambda tree: np.sqrt(  # noqa: E731
    sum(float((x**2).sum()) for x in jax.tree.leaves(tree))
  )
  assert norm(jax.tree.map(jnp.subtract, grads, exact)) < 0.03 * norm(exact)
  assert value != expected
