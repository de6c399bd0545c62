"""Which parameters decay, and at which rate each of them learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax import optim
from kosmos2_jax.models import presets
from kosmos2_jax.optim import patterns
from kosmos2_jax.training import state as state_lib


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


@pytest.fixture(scope="module")
def ones():
  """A whole small model with three vision layers, all ones."""
  sizes = presets.preset("tiny")
  sizes["vision"]["depth"] = 3
  model = presets.build(sizes)
  shapes = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  return jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)


def _updates(params, *, grad=1.0, **options):
  """What the first update adds at rate 1, by path."""
  rule = optim.make_optimizer(
    num_steps=1,
    learning_rate=1.0,
    schedule="constant",
    **{"weight_decay": 0.0, "eps": 1e-12, "clip_norm": 0.0} | options,
  )
  trained = rule.trainable.select(params)
  grads = jax.tree.map(lambda leaf: jnp.full_like(leaf, grad), trained)
  updates, _ = rule.tx.update(grads, rule.tx.init(params), trained)
  return patterns.flatten(updates)


def _of_layers(updates):
  """The update of each vision layer, which is the same in all its parts."""
  rows = {
    tuple(np.round(np.unique(row.reshape(len(row), -1), axis=1).ravel(), 6))
    for path, row in updates.items()
    if path.startswith("vision/layers/")
  }
  assert len(rows) == 1
  return rows.pop()


@pytest.mark.slow
def test_layers_near_the_pixels_learn_slowly(ones):
  updates = _updates(ones, vision_layer_decay=0.5)
  # Adam's first update of any gradient is 1, at rate 1.
  assert _of_layers(updates) == (-0.25, -0.5, -1.0)
  for path, update in updates.items():
    if path.startswith("vision/layers/"):
      continue
    below = path.startswith("vision/") and "post_norm" not in path
    np.testing.assert_allclose(
      update, -0.125 if below else -1.0, rtol=1e-5, err_msg=path
    )
  # Of the last two layers alone, each has the rate it had.
  updates = _updates(ones, vision_layer_decay=0.5, vision_layers=2)
  assert _of_layers(updates) == (-0.5, -1.0)


def test_decay_of_weights_has_the_rate_of_its_layer(ones):
  updates = _updates(ones, vision_layer_decay=0.5, grad=0.0, weight_decay=0.25)
  assert _of_layers(updates) == (-0.0625, -0.125, -0.25)


def test_layers_under_muon_too(ones):
  every = _updates(ones, algorithm="muon")
  slow = _updates(ones, algorithm="muon", vision_layer_decay=0.5)
  kernel = "vision/layers/mlp/up/kernel"
  factors = np.array([0.25, 0.5, 1.0]).reshape(3, 1, 1)
  np.testing.assert_array_equal(slow[kernel], every[kernel] * factors)
  kernel = "decoder/layers/mlp/up/kernel"
  np.testing.assert_array_equal(slow[kernel], every[kernel])


def test_the_first_group_counts(ones):
  groups = (
    {"pattern": "^resampler/.*/bias$", "scale": 0.5, "weight_decay": 0.0},
    {"pattern": "^resampler/", "scale": 0.25},
    {"pattern": "^decoder/embedding$", "weight_decay": 0.5},
  )
  updates = _updates(ones, groups=groups, weight_decay=0.125)
  for path, update in updates.items():
    # scale · (1 + decay)
    wanted = 1.125
    if path.startswith("resampler/"):
      wanted = 0.5 if path.endswith("/bias") else 0.25 * 1.125
    elif path == "decoder/embedding":
      wanted = 1.5
    np.testing.assert_allclose(update, -wanted, rtol=1e-5, err_msg=path)


def test_a_group_decays_what_the_mask_leaves_out(ones):
  groups = ({"pattern": "/post_norm/scale$", "weight_decay": 0.5},)
  updates = _updates(
    ones, groups=groups, weight_decay=0.25, decay_mask="matrices", grad=0.0
  )
  assert float(updates["vision/post_norm/scale"][0]) == -0.5
  assert float(updates["vision/pre_norm/scale"][0]) == 0.0
  assert float(updates["decoder/embedding"][0, 0]) == -0.25


def test_a_group_multiplies_the_rate_of_a_layer(ones):
  groups = ({"pattern": "^vision/layers/", "scale": 0.5},)
  updates = _updates(ones, groups=groups, vision_layer_decay=0.5)
  assert _of_layers(updates) == (-0.125, -0.25, -0.5)


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    (
      {"groups": ({"pattern": "^decodr/embedding"},)},
      r"optimizer\.groups\[0\]\.pattern has '\^decodr/embedding', which is"
      r" found in .* no parameter; near it are .*decoder/embedding",
    ),
    (
      {"groups": ({"pattern": "("},)},
      r"groups\[0\]\.pattern has '\(', which is no regular expression",
    ),
    (
      {"groups": ({"pattern": "^vision/"}, {"pattern": "^vision/stem"})},
      r"groups\[1\]\.pattern '\^vision/stem' is found in vision/stem/kernel"
      " and others, which are all in earlier groups",
    ),
    (
      {"groups": ({"pattern": "^vision/"},), "vision_layers": 0},
      r"'\^vision/', which is found in the path of no parameter",
    ),
    ({"groups": ({"scale": 0.1},)}, r"has a pattern.* found \['scale'\]"),
    (
      {"groups": ({"pattern": "x", "rate": 0.1},)},
      r"found \['pattern', 'rate'\]",
    ),
    (
      {"groups": ({"pattern": "bias", "scale": 0.0},)},
      r"groups\[0\]\.scale is a number above 0; found 0\.0.*optimizer\.frozen",
    ),
    (
      {"vision_layer_decay": 0.0},
      r"vision_layer_decay is above 0 and at most 1 .*found 0\.0",
    ),
    (
      {"vision_layer_decay": 0.5, "vision_layers": 0},
      "vision_layer_decay needs layers of the vision encoder that are trained",
    ),
  ],
)
def test_wrong_groups_are_told(ones, options, sentence):
  with pytest.raises(ValueError, match=sentence):
    _updates(ones, **options)
