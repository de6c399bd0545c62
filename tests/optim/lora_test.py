"""Adapters: their shapes, where they start, and what merging makes of them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax import sharding
from kosmos2_jax.models import presets
from kosmos2_jax.optim import lora, make_optimizer, patterns, trainable
from kosmos2_jax.optim.lora import Lora
from kosmos2_jax.training import state as state_lib

EVERYTHING = ("",)


@pytest.fixture(scope="module", params=["patch", "conv"])
def params(request):
  """Every entry another number; float32."""
  sizes = presets.preset("tiny")
  sizes["vision"]["stem"] = request.param
  model = presets.build(sizes)
  shapes = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes
  )


def _adapted(rule, params, seed=0):
  adapters = rule.shapes(params)
  rng = np.random.default_rng(seed)
  drawn = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), adapters
  )
  return {**params, "lora": drawn}


def test_fresh_adapters_change_nothing(params):
  rule = Lora(3, 12.0, EVERYTHING)
  fresh = lora.init(rule.shapes(params), jax.random.key(0))
  merged = rule.merge({**params, "lora": fresh})
  jax.tree.map(np.testing.assert_array_equal, merged, params)
  leaves = patterns.flatten(fresh)
  for path, leaf in leaves.items():
    # The half that a word without gradient leaves at zero is its own.
    if path.endswith("embedding/a" if "embedding" in path else "/b"):
      assert not leaf.any()
    else:
      bound = leaf.shape[-2] ** -0.5
      assert 0.5 * bound < np.abs(leaf).max() <= bound
  firsts = [leaf for leaf in leaves.values() if leaf.any()]
  assert len({float(leaf.ravel()[0]) for leaf in firsts}) == len(firsts)


def test_a_merged_kernel_computes_what_kernel_and_adapter_do(params):
  """Layer by layer, with the formula of the paper and nothing of ours."""
  rule = Lora(3, 6.0, EVERYTHING)
  whole = _adapted(rule, params)
  merged = patterns.flatten(rule.merge(whole))
  flat = patterns.flatten(whole)
  kernels = [path for path in patterns.flatten(params) if "/kernel" in path]
  kernels.append("decoder/embedding")
  assert len(kernels) > 15
  for path in kernels:
    stacked = "/layers/" in path
    a, b = flat[f"lora/{path}/a"], flat[f"lora/{path}/b"]
    for layer in range(len(flat[path]) if stacked else 1):
      one = [x[layer] if stacked else x for x in (a, b, flat[path])]
      down, up, kernel = (np.asarray(x, np.float64) for x in one)
      up = up.reshape(3, -1)
      kernel = kernel.reshape(down.shape[0], up.shape[1])
      x = np.random.default_rng(layer).normal(size=(5, len(kernel)))
      wanted = x @ kernel + 2.0 * ((x @ down) @ up)
      found = merged[path][layer] if stacked else merged[path]
      found = x @ np.asarray(found, np.float64).reshape(kernel.shape)
      # Merged in float32.
      np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
  for path in set(patterns.flatten(params)) - set(kernels):
    assert merged[path] is flat[path]


def test_targets_and_what_is_trained_beside_them(params):
  rule = trainable.Trainable(
    adapters=Lora(
      2, 4.0, ("attention/(query|value)/kernel$",), ("^decoder/embedding$",)
    )
  )
  whole = _adapted(rule.adapters, params)
  trained = patterns.flatten(rule.select(whole))
  kernels = [
    f"{part}/attention/{name}/kernel"
    for part in ("decoder/layers", "vision/layers", "resampler")
    for name in ("query", "value")
  ]
  assert set(trained) == {"decoder/embedding"} | {
    f"lora/{kernel}/{side}" for kernel in kernels for side in "ab"
  }
  joined = trainable.join(rule.select(whole), rule.rest(whole))
  jax.tree.map(np.testing.assert_array_equal, joined, whole)
  assert rule.parts(whole) == ("decoder", "vision", "resampler") or set(
    rule.parts(whole)
  ) == {"decoder", "vision", "resampler"}
  alone = trainable.Trainable(adapters=Lora(1, 4.0, ("^decoder/.*value",)))
  whole = _adapted(alone.adapters, params)
  assert alone.parts(whole) == ("decoder",)
  assert "64 of " in alone.describe(whole)
  assert "%) are trained" in alone.describe(whole)


def test_every_adapter_has_a_place(params):
  adapters = {"lora": Lora(2, 4.0, EVERYTHING).shapes(params)}
  mesh = sharding.make_mesh((1, 2, 2), jax.devices()[:4])
  places = patterns.flatten(sharding.param_shardings(mesh, adapters))
  kernels = patterns.flatten(sharding.param_shardings(mesh, params))
  for path, place in places.items():
    leaf = patterns.flatten(adapters)[path]
    own = list(place.spec) + [None] * (leaf.ndim - len(place.spec))
    kernel = path.removeprefix("lora/").rpartition("/")[0]
    shape = patterns.flatten(params)[kernel].shape
    wanted = list(kernels[kernel].spec)
    wanted += [None] * (len(shape) - len(wanted))
    # A's inputs and B's outputs lie as those of the kernel; the rank is whole.
    if path.endswith("/b"):
      outputs = 2 if kernel.split("/")[-2] in ("query", "key", "value") else 1
      assert own[-outputs:] == wanted[-outputs:], path
      assert own[:-outputs] == [None] * (leaf.ndim - outputs)
    elif "stem" not in path:
      outputs = 2 if kernel.split("/")[-2] in ("query", "key", "value") else 1
      assert own[-2] == wanted[-outputs - 1], path
      assert own[-1] is None


def test_what_is_described_is_read_again(params):
  rule = Lora(3, 12.0, ("^decoder/",), ("^resampler/",))
  written = json.loads(json.dumps(rule.description()))
  read = lora.described(written)
  # What is trained beside adapters is of no interest to who merges.
  assert read == Lora(3, 12.0, ("^decoder/",))
  whole = _adapted(rule, params)
  jax.tree.map(
    np.testing.assert_array_equal, read.merge(whole), rule.merge(whole)
  )
  assert lora.described(None) is None
  with pytest.raises(ValueError, match=r"found \['rank'\]"):
    lora.described({"rank": 3})


def test_other_adapters_are_refused(params):
  rule = Lora(3, 12.0, ("^decoder/",))
  whole = _adapted(rule, params)
  for other in (
    Lora(2, 12.0, ("^decoder/",)),
    Lora(3, 12.0, ("^resampler/",)),
    Lora(3, 12.0, EVERYTHING),
  ):
    with pytest.raises(ValueError, match="they are of another run"):
      other.merge(whole)
  with pytest.raises(ValueError, match="found 0 other arrays"):
    rule.merge(params)


@pytest.mark.parametrize(
  ("section", "sentence"),
  [
    ({"rank": -1}, "whole number, 0 for no adapters; found -1"),
    ({"alpha": 0.0}, r"lora\.alpha is above 0; found 0\.0"),
    ({"targets": ()}, r"lora\.targets is empty"),
    ({"targets": ("final_norm",)}, "found in the path of no parameter"),
    ({"targets": ("^decodr/",)}, "near it are decoder"),
    ({"rank": 16}, "less than the sides of every adapted kernel; found 16"),
  ],
)
def test_mistakes_are_told(params, section, sentence):
  given = {"rank": 2, "alpha": 4.0, "targets": ("^decoder/",), "whole": ()}
  with pytest.raises(ValueError, match=sentence):
    lora.make_lora(given | section).shapes(params)


def test_rank_0_is_no_adapter():
  section = {"rank": 0, "alpha": 1.0, "targets": (), "whole": ()}
  assert lora.make_lora(section) is None
  assert lora.make_lora(None) is None


def test_adapters_and_other_rules_exclude_each_other():
  section = {"rank": 2, "alpha": 4.0, "targets": EVERYTHING, "whole": ()}
  for other in ({"frozen": ("^vision/",)}, {"vision_layers": 0}):
    with pytest.raises(ValueError, match="leave them"):
      make_optimizer(num_steps=1, learning_rate=1.0, lora=section, **other)


def test_moments_are_of_adapters_alone(params):
  section = {"rank": 2, "alpha": 4.0, "targets": EVERYTHING, "whole": ()}
  for algorithm in ("adamw", "muon"):
    rule = make_optimizer(
      num_steps=1, learning_rate=1.0, lora=section, algorithm=algorithm
    )
    whole = _adapted(rule.trainable.adapters, params)
    state = rule.tx.init(whole)
    sizes = {p: x.size for p, x in patterns.flatten(whole["lora"]).items()}
    # Muon has one momentum of a matrix, and Adam's two of an embedding's.
    once = sum(size for path, size in sizes.items() if "/kernel/" in path)
    expected = 2 * sum(sizes.values()) - once * (algorithm == "muon")
    moments = sum(x.size for x in jax.tree.leaves(state) if jnp.ndim(x) > 1)
    assert moments == expected
