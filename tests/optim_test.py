"""Schedules and updates, against numbers computed by hand."""

import math

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kosmos2_jax import optim
from kosmos2_jax.models import presets
from kosmos2_jax.training import state as state_lib

PUBLISHED = {"learning_rate": 2e-4, "num_steps": 60_000, "warmup_steps": 375}


@pytest.mark.parametrize(
  ("finished", "rate"),
  [
    (0, 0.0),  # the first update moves nothing
    (1, 2e-4 / 375),
    (187, 2e-4 * 187 / 375),
    (375, 2e-4),
    (376, 2e-4 * (1 - 1 / 59_625)),
    (30_000, 2e-4 * (1 - 29_625 / 59_625)),
    (59_999, 2e-4 / 59_625),
    (60_000, 0.0),
    (70_000, 0.0),
  ],
)
def test_published_schedule(finished, rate):
  schedule = optim.make_schedule(**PUBLISHED)
  # float32 near the end of the run: t has 16 bits, 1 - t / n keeps 8 digits
  # of the whole, so the last step is known to about 1e-7 of the peak.
  np.testing.assert_allclose(schedule(finished), rate, rtol=1e-6, atol=3e-11)


def test_other_schedules():
  cosine = optim.make_schedule(
    learning_rate=1.0,
    num_steps=110,
    warmup_steps=10,
    schedule="cosine",
    end_learning_rate=0.1,
  )
  expected = {5: 0.5, 10: 1.0, 60: 0.55, 110: 0.1, 200: 0.1}
  expected[35] = 0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2
  for step, rate in expected.items():
    np.testing.assert_allclose(cosine(step), rate, rtol=1e-6)
  constant = optim.make_schedule(
    learning_rate=0.5, num_steps=10, warmup_steps=2, schedule="constant"
  )
  assert [float(constant(t)) for t in (0, 1, 2, 9)] == [0, 0.25, 0.5, 0.5]
  square = optim.make_schedule(
    learning_rate=1.0, num_steps=10, warmup_steps=0, power=2.0
  )
  np.testing.assert_allclose(square(0), 1.0)
  np.testing.assert_allclose(square(5), 0.25)


def test_schedule_under_jit_is_the_same():
  schedule = optim.make_schedule(**PUBLISHED)
  assert jax.jit(schedule)(jnp.int32(500)) == schedule(500)


def _reference(grads, rates, params, b1, b2, eps, decay, clip):
  """REFERENCE section 4 in plain Python floats."""
  m = np.zeros_like(params)
  v = np.zeros_like(params)
  for t, (grad, rate) in enumerate(zip(grads, rates, strict=True), start=1):
    norm = math.sqrt(float(np.sum(grad**2)))
    grad = grad * min(1.0, clip / norm)
    m = b1 * m + (1 - b1) * grad
    v = b2 * v + (1 - b2) * grad**2
    size = rate * math.sqrt(1 - b2**t) / (1 - b1**t)
    params = params - decay * rate * params
    params = params - size * m / (np.sqrt(v) + eps)
  return params


def test_updates_as_published():
  start = np.array([1.0, -2.0, 0.5])
  grads = [
    np.array([3.0, -4.0, 1e-6]),  # norm 5: clipped to 2
    np.array([0.1, 0.2, -1e-6]),
    np.array([-0.3, 0.0, 2e-6]),
  ]
  schedule = optim.make_schedule(
    learning_rate=1e-2, num_steps=10, warmup_steps=2
  )
  tx = optim.make_transformation(schedule)
  params = {"kernel": jnp.asarray(start, jnp.float32)}
  state = tx.init(params)
  for i, grad in enumerate(grads):
    updates, state = tx.update(
      {"kernel": jnp.asarray(grad, jnp.float32)}, state, params
    )
    params = optax.apply_updates(params, updates)
    if i == 0:
      np.testing.assert_array_equal(params["kernel"], start)  # rate 0
  rates = [0.0, 5e-3, 1e-2]
  expected = _reference(grads, rates, start, 0.9, 0.98, 1e-6, 0.01, 2.0)
  # float32 against float64. The tiny third gradient makes eps count: optax's
  # own Adam differs from this by 1e-3 there.
  np.testing.assert_allclose(params["kernel"], expected, rtol=0, atol=3e-7)


def test_first_adam_update_by_hand():
  """m = 0.1 g, v = 0.02 g², so the update is g / (|g| + eps / sqrt(0.02))."""
  tx = optim.scale_by_adam(0.9, 0.98, 1e-6)
  grad = jnp.array([1e-5])
  update, _ = tx.update(grad, tx.init(grad))
  expected = 1e-5 / (1e-5 + 1e-6 / math.sqrt(0.02))  # 0.586; optax gives 0.909
  np.testing.assert_allclose(update, expected, rtol=1e-5)


@pytest.fixture(scope="module")
def tiny_params():
  """Shapes and names of a whole small model."""
  model = presets.build(presets.preset("tiny"))
  return jax.eval_shape(lambda: state_lib.init_params(model, jax.random.key(0)))


def test_muon_axes_cover_every_kernel_as_its_layer_uses_it(tiny_params):
  kernels = {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tiny_params)
    if path[-1].key == "kernel"
  }
  nested = flax.traverse_util.unflatten_dict(kernels, sep="/")
  axes = flax.traverse_util.flatten_dict(optim.kernel_axes(nested), sep="/")

  def shape(name):
    inputs, outputs = axes[name]
    sizes = kernels[name].shape
    return [tuple(sizes[a] for a in side) for side in (inputs, outputs)]

  # Width 16, two heads of 8, MLP 32, patches of 8 x 8 pixels; every layer has
  # two of them on the axis in front.
  assert shape("decoder/layers/attention/query/kernel") == [(16,), (2, 8)]
  assert shape("decoder/layers/attention/out/kernel") == [(16,), (16,)]
  assert shape("vision/layers/mlp/up/kernel") == [(16,), (32,)]
  assert shape("resampler/attention/value/kernel") == [(16,), (2, 8)]
  assert shape("resampler/project/kernel") == [(16,), (16,)]
  assert shape("vision/stem/kernel") == [(8, 8, 3), (16,)]
  for name in axes:
    inputs, outputs = shape(name)
    depth = 2 if "/layers/" in name else 1
    assert math.prod(inputs + outputs) * depth == kernels[name].size, name


def test_muon_makes_every_direction_of_every_layer_equally_large():
  """Newton-Schulz of five rounds leaves singular values of 0.7 to 1.2."""
  shapes = {
    "up": {"kernel": (2, 16, 32)},
    "query": {"kernel": (2, 16, 2, 8)},
    "embedding": (40, 16),
    "norm": {"scale": (16,)},
  }
  rng = np.random.default_rng(0)

  def grad(shape):
    # Layers of very different size: no layer's may matter for another's.
    sizes = 10.0 ** np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    noise = rng.normal(size=shape)
    return jnp.float32(noise * sizes if len(shape) > 2 else noise)

  grads = jax.tree.map(grad, shapes, is_leaf=lambda x: isinstance(x, tuple))
  params = jax.tree.map(jnp.zeros_like, grads)
  tx = optim.scale_by_muon(0.9, 0.98, 1e-6)
  updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)
  ups = updates["up"]["kernel"]
  queries = updates["query"]["kernel"].reshape(2, 16, 16)
  for update, wider in ((ups, 32), (queries, 16)):
    values = np.linalg.svd(update, compute_uv=False)
    unit = 0.2 * math.sqrt(wider)
    assert values.min() > 0.3 * unit, values
    assert values.max() < 1.3 * unit, values
  adam = optim.scale_by_adam(0.9, 0.98, 1e-6)
  expected, _ = jax.jit(adam.update)(grads, adam.init(params))
  for name in ("embedding", "norm"):
    jax.tree.map(np.testing.assert_array_equal, updates[name], expected[name])


def _decayed(mask):
  params = {
    "kernel": jnp.ones((2, 2)),
    "bias": jnp.ones((2, 2)),  # two axes, as biases of heads have
    "norm": {"scale": jnp.ones(2)},
    "class_token": jnp.ones(2),
    "embedding": jnp.ones((2, 2)),
  }
  tx = optim.make_transformation(
    lambda _: 1.0, weight_decay=0.5, decay_mask=mask, clip_norm=0.0
  )
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = tx.update(zeros, tx.init(params), params)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): float(leaf.min())
    for path, leaf in jax.tree_util.tree_leaves_with_path(updates)
  }


def test_decay_masks():
  assert set(_decayed("all").values()) == {-0.5}
  assert _decayed("matrices") == {
    "kernel": -0.5,
    "embedding": -0.5,
    "bias": 0.0,
    "norm/scale": 0.0,
    "class_token": 0.0,
  }


def test_wrong_names_are_told():
  with pytest.raises(ValueError, match=r"algorithm is one of .*'lion'"):
    optim.make_transformation(lambda _: 1.0, algorithm="lion")
  with pytest.raises(ValueError, match=r"decay_mask is one of .*'biases'"):
    optim.make_transformation(lambda _: 1.0, decay_mask="biases")
  with pytest.raises(ValueError, match=r"schedule is one of .*'linear'"):
    optim.make_schedule(learning_rate=1.0, num_steps=1, schedule="linear")
  with pytest.raises(ValueError, match=r"between 0 and num_steps \(10\)"):
    optim.make_schedule(learning_rate=1.0, num_steps=10, warmup_steps=11)


def test_one_call_for_a_whole_section():
  tx, schedule = optim.make_optimizer(
    num_steps=4, learning_rate=0.1, warmup_steps=2, eps=1e-3
  )
  assert schedule(2) == np.float32(0.1)
  grad = {"kernel": jnp.ones(2)}
  state = tx.init(grad)
  _, state = tx.update(grad, state, grad)
  update, _ = tx.update(grad, state, grad)
  # Adam gives 1 / (1 + eps / sqrt(1 - b2²)) here, decay 0.01, rate 0.05.
  eps = 1e-3 / math.sqrt(1 - 0.98**2)
  np.testing.assert_allclose(
    update["kernel"], -0.05 * (1 / (1 + eps) + 0.01), rtol=1e-5
  )
