"""What each policy keeps of a layer, and what it computes again."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas.ops.tpu import splash_attention
from jax.interpreters import partial_eval

from kosmos2_jax import sharding
from kosmos2_jax.models import presets, rematerialisation

DEPTH, ROWS, LENGTH, WIDTH = 3, 5, 128, 16
# Numbers kept of a layer for every token, in widths; the MLP has 4 of them.
KEPT = {"dots": 9, "attention": 6, "offload": 6, "heads": 2, "full": 1}


@pytest.fixture(autouse=True)
def anywhere(monkeypatch):
  """Kernels can be traced and run on a CPU."""
  make = functools.partial(splash_attention.make_splash_mha, interpret=True)
  monkeypatch.setattr(splash_attention, "make_splash_mha", make)
  monkeypatch.setattr(
    "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version",
    lambda: 91000,
  )


def _model(remat, attention="xla", dtype="float32"):
  sizes = presets.preset("tiny")
  sizes["decoder"] |= {"depth": DEPTH, "mlp_dim": 4 * WIDTH}
  return presets.build(sizes, remat=remat, attention=attention, dtype=dtype)


TOKENS = jnp.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) % 600


def _params(model):
  return model.init(jax.random.key(0), TOKENS[:1, :4])["params"]


def _loss(model, params):
  return jnp.square(model.apply({"params": params}, TOKENS)[..., :600]).mean()


def _residuals(model):
  """Shapes of what all layers keep of every row."""

  def forward(params):
    return jax.tree.leaves(jax.vjp(lambda p: _loss(model, p), params)[1])

  abstract = jax.eval_shape(lambda: _params(model))
  kept = jax.eval_shape(forward, abstract)
  return [x for x in kept if x.shape[:2] == (DEPTH, ROWS)]


def _widths(kept):
  numbers = [x.size / (DEPTH * ROWS * LENGTH * WIDTH) for x in kept]
  # The statistics of splash are one number of a head, which has 8.
  return sum(number for number in numbers if number >= 1)


@pytest.mark.parametrize("remat", KEPT)
def test_as_much_is_kept_as_documented(remat):
  assert set(KEPT) == set(rematerialisation.POLICIES)
  assert _widths(_residuals(_model(remat))) == KEPT[remat]
  # A kernel's result is kept by "dots", too.
  with_kernel = KEPT[remat] + (remat == "dots")
  kept = _residuals(_model(remat, "splash"))
  assert _widths(kept) == with_kernel
  statistics = [x.shape for x in kept if x.shape == (DEPTH, ROWS, 2, LENGTH)]
  assert len(statistics) == (remat != "full")


def test_everything_is_more():
  assert _widths(_residuals(_model("none"))) > 2 * KEPT["dots"]
  # The weights of all heads, which a kernel does not hold.
  square = (DEPTH, ROWS, 2, LENGTH, LENGTH)
  assert square in [x.shape for x in _residuals(_model("none"))]
  for name in ("splash", "cudnn"):
    kept = _residuals(_model("none", name, "bfloat16"))
    assert kept
    assert not [x for x in kept if x.shape[-2:] == (LENGTH, LENGTH)]


def _count(jaxpr, is_kernel):
  """Forward kernels in a program, without those whose results nobody reads."""
  jaxpr, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
  total = 0
  for eqn in jaxpr.eqns:
    total += is_kernel(eqn)
    if eqn.primitive.name == "pallas_call":
      continue
    for value in eqn.params.values():
      inner = getattr(value, "jaxpr", value)
      if hasattr(inner, "eqns"):
        total += _count(inner, is_kernel)
  return total


def _is_splash(eqn):
  name = str(eqn.params.get("name"))
  return eqn.primitive.name == "pallas_call" and "_fwd_" in name


def _is_cudnn(eqn):
  return eqn.primitive.name == "dot_product_attention_fwd_wrapper"


@pytest.mark.parametrize("remat", ["none", *KEPT])
@pytest.mark.parametrize(
  ("name", "is_kernel"), [("splash", _is_splash), ("cudnn", _is_cudnn)]
)
def test_a_kernel_runs_again_only_if_nothing_is_kept(name, is_kernel, remat):
  model = _model(remat, name, "bfloat16")
  abstract = jax.eval_shape(lambda: _params(model))
  step = jax.make_jaxpr(jax.grad(functools.partial(_loss, model)))(abstract)
  assert _count(step.jaxpr, is_kernel) == (2 if remat == "full" else 1)


@pytest.mark.parametrize("remat", ["heads", "full"])
@pytest.mark.parametrize(
  ("name", "is_kernel"), [("splash", _is_splash), ("cudnn", _is_cudnn)]
)
def test_so_it_is_on_a_mesh(name, is_kernel, remat, monkeypatch):
  tokens = TOKENS[:1].repeat(8, 0)
  monkeypatch.setattr(f"{__name__}.TOKENS", tokens)
  with jax.set_mesh(sharding.make_mesh((2, 2, 2))):
    model = _model(remat, name, "bfloat16")
    abstract = jax.eval_shape(lambda: _params(model))
    step = jax.make_jaxpr(jax.grad(functools.partial(_loss, model)))(abstract)
  assert "shard_map" in str(step)
  assert _count(step.jaxpr, is_kernel) == (2 if remat == "full" else 1)


def test_offloaded_values_are_on_the_host():
  model = _model("offload")
  abstract = jax.eval_shape(lambda: _params(model))
  step = jax.make_jaxpr(jax.grad(functools.partial(_loss, model)))(abstract)
  forward = next(e for e in step.jaxpr.eqns if e.primitive.name == "scan")
  results = [v.aval for v in forward.outvars]
  on_host = [x for x in results if x.memory_space == jax.memory.Space.Host]
  assert _widths(on_host) == KEPT["offload"] - 1  # all but the layer's input


@pytest.mark.slow
def test_no_policy_changes_a_gradient():
  params = jax.jit(lambda: _params(_model("none")))()

  def gradient(remat):
    return jax.jit(jax.grad(functools.partial(_loss, _model(remat))))(params)

  expected = gradient("none")
  for remat in ("attention", "offload", "heads"):
    jax.tree.map(
      # The same sums, fused in other ways: float32 rounding.
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
      gradient(remat),
      expected,
    )


def test_an_unknown_name_is_refused_with_the_known():
  with pytest.raises(ValueError, match="'heads', 'full'; got 'some'"):
    _params(_model("some"))
