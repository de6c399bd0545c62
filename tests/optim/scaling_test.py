"""What AdamW and Muon make of gradients, against numbers computed by hand."""

import math

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.models import presets
from kosmos2_jax.optim import patterns, scaling
from kosmos2_jax.training import state as state_lib


def test_first_adam_update_by_hand():
  """m = 0.1 g, v = 0.02 g², so the update is g / (|g| + eps / sqrt(0.02))."""
  tx = scaling.scale_by_adam(0.9, 0.98, 1e-6)
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
  axes = flax.traverse_util.flatten_dict(scaling.kernel_axes(nested), sep="/")

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
  tx = scaling.scale_by_muon(0.9, 0.98, 1e-6)
  updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)
  ups = updates["up"]["kernel"]
  queries = updates["query"]["kernel"].reshape(2, 16, 16)
  for update, wider in ((ups, 32), (queries, 16)):
    values = np.linalg.svd(update, compute_uv=False)
    unit = 0.2 * math.sqrt(wider)
    assert values.min() > 0.3 * unit, values
    assert values.max() < 1.3 * unit, values
  adam = scaling.scale_by_adam(0.9, 0.98, 1e-6)
  expected, _ = jax.jit(adam.update)(grads, adam.init(params))
  for name in ("embedding", "norm"):
    jax.tree.map(np.testing.assert_array_equal, updates[name], expected[name])


def test_adapters_are_matrices_of_their_own():
  """Of A inputs and rank, of B rank and what the kernel gives; all layers."""
  lead = "lora/decoder/layers/attention"
  shapes = {
    f"{lead}/query/kernel/a": (2, 16, 3),
    f"{lead}/query/kernel/b": (2, 3, 4, 5),
    f"{lead}/out/kernel/a": (2, 16, 3),
    f"{lead}/out/kernel/b": (2, 3, 16),
    "lora/vision/stem/kernel/a": (12, 3),
    "lora/vision/stem/kernel/b": (3, 16),
    "vision/stem/kernel": (2, 2, 3, 16),
  }
  tree = patterns.unflatten(
    {path: jnp.zeros(shape) for path, shape in shapes.items()}
  )
  axes = scaling.kernel_axes(tree)
  found = {
    path: (
      patterns.flatten(axes)[path].reduction_axis,
      patterns.flatten(axes)[path].output_axis,
    )
    for path in shapes
  }
  assert list(found.values()) == [
    ((1,), (2,)),
    ((1,), (2, 3)),
    ((1,), (2,)),
    ((1,), (2,)),
    ((0,), (1,)),
    ((0,), (1,)),
    ((0, 1, 2), (3,)),
  ]
