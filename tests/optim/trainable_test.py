"""What is trained is split from what is not, and put together again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax import optim, sharding
from kosmos2_jax.models import presets
from kosmos2_jax.optim import averaging, patterns, trainable
from kosmos2_jax.optim.trainable import Trainable
from kosmos2_jax.training import state as state_lib

DEPTH = 3


@pytest.fixture(scope="module")
def model():
  sizes = presets.preset("tiny")
  sizes["vision"]["depth"] = DEPTH
  return presets.build(sizes)


@pytest.fixture(scope="module")
def params(model):
  """Every entry another number."""
  shapes = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)


def _same(found, wanted):
  jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_the_last_layers_alone(params):
  rule = Trainable(vision_layers=1)
  trained = patterns.flatten(rule.select(params))
  rest = patterns.flatten(rule.rest(params))
  leaves = patterns.flatten(params)
  for path, leaf in leaves.items():
    if path.startswith("vision/layers/"):
      _same(trained[path], leaf[2:])
      below = path.replace("/layers/", "/frozen_layers/")
      _same(rest.pop(below), leaf[:2])
    elif path.startswith("vision/") and "post_norm" not in path:
      assert path not in trained
      _same(rest.pop(path), leaf)
    else:
      assert trained[path] is leaf
  assert not rest
  assert rule.frozen_depth(params) == 2
  # All layers are no stack of their own, but what is below them is frozen.
  rule = Trainable(vision_layers=DEPTH)
  assert rule.frozen_depth(params) == 0
  assert set(patterns.flatten(rule.rest(params))) == {
    "vision/stem/kernel",
    "vision/class_token",
    "vision/positions",
    "vision/pre_norm/scale",
    "vision/pre_norm/bias",
  }


def test_patterns_and_layers_together(params):
  rule = Trainable(("/mlp/", "^decoder/"), vision_layers=1)
  assert set(rule.select(params)) == {"vision", "resampler"}
  trained, rest = rule.select(params), rule.rest(params)
  assert "mlp" not in trained["vision"]["layers"]
  # Of a frozen MLP in a trained layer, each part is in its own stack.
  up = params["vision"]["layers"]["mlp"]["up"]["kernel"]
  _same(rest["vision"]["frozen_layers"]["mlp"]["up"]["kernel"], up[:2])
  _same(rest["vision"]["layers"]["mlp"]["up"]["kernel"], up[2:])
  joined = trainable.join(trained, rest)
  sizes = [
    sum(leaf.size for leaf in jax.tree.leaves(t)) for t in (joined, params)
  ]
  assert sizes[0] == sizes[1]


def test_what_is_taken_is_put_back(params):
  trained = Trainable(("^decoder/",), vision_layers=2).select(params)
  _same(trainable.take(params, trained), trained)
  changed = trainable.put(params, jax.tree.map(lambda x: x + 1, trained))
  _same(changed["decoder"], params["decoder"])
  assert changed["decoder"]["embedding"] is params["decoder"]["embedding"]
  layers, before = (
    tree["vision"]["layers"]["attn_norm"]["scale"] for tree in (changed, params)
  )
  _same(layers[:1], jnp.asarray(before[:1]))
  _same(layers[1:], jnp.asarray(before[1:] + 1))
  for wrong in (
    {"decoder": {"embedding": np.zeros((2, 16))}},
    {"x": np.ones(3)},
  ):
    with pytest.raises(
      ValueError, match="the model's has .*: it is of another"
    ):
      trainable.put(params, wrong)


@pytest.mark.parametrize(
  ("rule", "sentence"),
  [
    (
      Trainable(("^vision/layers/mpl/",)),
      r"optimizer\.frozen has '\^vision/layers/mpl/', which is found in the"
      r" path of no parameter; near it are .*vision/layers/mlp",
    ),
    (Trainable(("a(",)), r"'a\(', which is no regular expression: missing \)"),
    (Trainable((".",)), r"leave no parameter to train; found \('\.',\) and -1"),
    (
      Trainable(("^decoder/", "^resampler/"), 0),
      "leave no parameter to train",
    ),
    (Trainable(vision_layers=4), "last layers that are .* 0 to 3; found 4"),
    (Trainable(vision_layers=-2), "found -2"),
  ],
)
def test_wrong_rules_are_told(params, rule, sentence):
  with pytest.raises(ValueError, match=sentence):
    rule.select(params)


@pytest.mark.parametrize(
  ("rule", "parts"),
  [
    (Trainable(), ("vision", "resampler", "decoder")),
    (Trainable((), 1), ("vision", "resampler", "decoder")),
    (Trainable((), 0), ("resampler", "decoder")),
    (Trainable(("^decoder/",), 0), ("resampler",)),
  ],
)
def test_parts_of_which_something_is_trained(params, rule, parts):
  assert sorted(rule.parts(params)) == sorted(parts)


def test_what_is_trained_is_told(params):
  assert Trainable(("^decoder/",), 0).describe(params) == (
    "1,424 of 26,240 parameters (5.43 %) are trained: decoder 0 of 14,912,"
    " resampler 1,424 of 1,424, vision 0 of 9,904"
  )


@pytest.mark.parametrize("algorithm", optim.ALGORITHMS)
@pytest.mark.parametrize("vision_layers", [0, 1])
def test_frozen_parameters_have_no_state(model, algorithm, vision_layers):
  """Moments and averages of the rest lie where their parameters lie."""
  rule = optim.make_optimizer(
    num_steps=1,
    learning_rate=1.0,
    algorithm=algorithm,
    frozen=("^decoder/embedding$",),
    vision_layers=vision_layers,
  )
  mesh = sharding.make_mesh((2, 2, 2))
  state = state_lib.abstract_state(model, rule.tx, mesh, rule.trainable)
  trained = jax.eval_shape(rule.trainable.select, state.params)
  wanted = patterns.flatten(trained)
  places = patterns.flatten(sharding.param_shardings(mesh, trained))
  seen = {"ema": [], "moments": []}
  for path, leaf in jax.tree_util.tree_leaves_with_path(
    {"moments": state.opt_state, "ema": state.ema_params}
  ):
    path = sharding.param_path(path)
    name = next((n for n in wanted if path.endswith("/" + n)), None)
    if name is None:  # a counter, or a number of Muon
      assert leaf.sharding.is_fully_replicated, path
      continue
    assert (leaf.shape, leaf.dtype) == (wanted[name].shape, jnp.float32), path
    assert leaf.sharding == places[name], path
    seen[path.split("/")[0]].append(name)
  assert sorted(seen["ema"]) == sorted(wanted)
  assert set(seen["moments"]) == set(wanted)
  assert any("tensor" in place.spec for place in places.values())


def test_averages_by_hand():
  keep = averaging.make_ema_decay(0.9, warmup=True)
  np.testing.assert_allclose(keep(0), 0.1, rtol=1e-6)
  np.testing.assert_allclose(keep(8), 0.5, rtol=1e-6)
  np.testing.assert_allclose(keep(1000), 0.9, rtol=1e-6)
  np.testing.assert_allclose(averaging.make_ema_decay(0.9, False)(0), 0.9)
  assert averaging.make_ema_decay(0.0, warmup=True) is None
  found = averaging.average({"a": jnp.ones(2)}, {"a": jnp.full(2, 3.0)}, 0.75)
  np.testing.assert_array_equal(found["a"], [1.5, 1.5])
  for wrong in (1.0, -0.1):
    with pytest.raises(ValueError, match=rf"below 1; found {wrong}"):
      averaging.make_ema_decay(wrong, warmup=True)
