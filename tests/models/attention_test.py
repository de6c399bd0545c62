"""Every implementation of attention computes what "xla" does.

Kernels for TPUs run in Pallas's interpreter. cuDNN's is replaced by the form
that jax has of the same call for any device; what is tested is the call.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas.ops.tpu import splash_attention

from kosmos2_jax import sharding
from kosmos2_jax.benchmarks import random_rows
from kosmos2_jax.benchmarks.kernels import make_inputs
from kosmos2_jax.compiling.jobs import Job
from kosmos2_jax.models import attention, presets
from kosmos2_jax.models.masks import CausalMask
from kosmos2_jax.training import objective, state

# float32: sums of some 100 terms of about 1, in another order. bfloat16 has 8
# bits, and what is compared is up to about 4: one or two units of the last bit.
TOLERANCES = {"float32": 2e-5, "bfloat16": 3e-2}
KERNELS = ["splash", "cudnn"]


@pytest.fixture(autouse=True)
def anywhere(monkeypatch):
  """Kernels run on a CPU."""
  original = jax.nn.dot_product_attention

  def call(*args, implementation, **kwargs):
    assert implementation == "cudnn"
    return original(*args, **kwargs, implementation="xla")

  monkeypatch.setattr(jax.nn, "dot_product_attention", call)
  make = functools.partial(splash_attention.make_splash_mha, interpret=True)
  monkeypatch.setattr(splash_attention, "make_splash_mha", make)
  monkeypatch.setattr(attention, "BLOCKS", (128,))  # several of a short row


def _value_and_grads(name, arrays, ids, mesh=None):
  *inputs, weights = arrays

  def loss(query, key, value):
    out = attention.attend(
      query, key, value, CausalMask(ids), implementation=name
    )
    wide = out.astype(jnp.float32) * weights.astype(jnp.float32)
    return wide.sum(), out

  run = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
  if mesh is None:
    grads, out = run(*inputs)
  else:
    with jax.set_mesh(mesh):
      grads, out = run(*inputs)
  assert all(x.dtype == inputs[0].dtype for x in (*grads, out))
  return [np.asarray(x, np.float32) for x in (out, *grads)]


def _assert_equal(found, expected, dtype):
  for ours, theirs, name in zip(found, expected, "oqkv", strict=True):
    scale = max(1.0, np.abs(theirs).max())
    np.testing.assert_allclose(
      ours, theirs, atol=TOLERANCES[dtype] * scale, err_msg=name
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("length", [13, 256])
@pytest.mark.parametrize("name", KERNELS)
def test_values_and_gradients_are_those_of_xla(name, length, dtype):
  arrays, ids = make_inputs(3, length, 2, 64, dtype)
  found = _value_and_grads(name, arrays, ids)
  _assert_equal(found, _value_and_grads("xla", arrays, ids), dtype)


def test_xla_is_the_formula():
  (query, key, value, _), ids = make_inputs(2, 12, 2, 8)
  found = attention.attend(query, key, value, CausalMask(ids))
  query, key, value, ids = (np.asarray(x) for x in (query, key, value, ids))
  for b, t, n in np.ndindex(2, 12, 2):
    seen = [s for s in range(t + 1) if ids[b, s] == ids[b, t]]
    logits = key[b, seen, n].astype(np.float64) @ query[b, t, n] / np.sqrt(8)
    weights = np.exp(logits) / np.exp(logits).sum()
    # float32 rounding of sums over 8 and 12 terms.
    np.testing.assert_allclose(
      found[b, t, n], weights @ value[b, seen, n], atol=2e-6
    )


@pytest.mark.parametrize(
  "shape", [(2, 2, 2), (1, 8, 1), (1, 2, 4)], ids=["2x2x2", "fsdp", "tensor"]
)
@pytest.mark.parametrize("name", KERNELS)
def test_devices_share_rows_and_heads(name, shape):
  # Four heads and eight rows divide; nothing may change.
  arrays, ids = make_inputs(8, 128, 4, 8)
  mesh = sharding.make_mesh(shape)
  found = _value_and_grads(name, arrays, ids, mesh)
  _assert_equal(found, _value_and_grads("xla", arrays, ids), "float32")


@pytest.mark.parametrize("name", KERNELS)
def test_what_does_not_divide_is_whole_on_every_device(name):
  arrays, ids = make_inputs(3, 128, 3, 8)
  mesh = sharding.make_mesh((2, 2, 2))
  found = _value_and_grads(name, arrays, ids, mesh)
  _assert_equal(found, _value_and_grads("xla", arrays, ids), "float32")


def test_each_device_runs_the_kernel_on_its_part():
  (query, key, value, _), ids = make_inputs(8, 128, 4, 8)

  def run(query, key, value):
    return attention.attend(
      query, key, value, CausalMask(ids), implementation="splash"
    )

  with jax.set_mesh(sharding.make_mesh((2, 2, 2))):
    text = str(jax.make_jaxpr(run)(query, key, value))
  # Two of eight rows, two of four heads, each of 128 tokens and 8 channels.
  assert "f32[2,2,128,8]" in text
  assert "f32[8,4,128,8]" not in text


@pytest.mark.parametrize("name", KERNELS)
def test_no_weights_of_all_tokens_are_held(name):
  (query, key, value, _), ids = make_inputs(2, 256, 4, 8)

  def shapes(name):
    def run(query, key, value):
      return attention.attend(
        query, key, value, CausalMask(ids), implementation=name
      )

    jaxpr = jax.make_jaxpr(run)(query, key, value)
    return {var.aval.shape for eqn in jaxpr.eqns for var in eqn.outvars}

  assert (2, 4, 256, 256) in shapes("xla")
  assert not {s for s in shapes("splash") if s[-2:] == (256, 256)}


def test_what_a_kernel_does_not_take_is_written_out():
  (query, key, value, _), ids = make_inputs(2, 16, 2, 8)
  mask = CausalMask(ids).written_out()

  def of(name, attn_mask, dropout=None):
    return attention.attend(query, key, value, attn_mask, dropout, name)

  for name in KERNELS:
    np.testing.assert_array_equal(of(name, mask), of("xla", mask))
    double = functools.partial(jnp.multiply, 2.0)
    np.testing.assert_array_equal(
      of(name, CausalMask(ids), double), of("xla", mask, double)
    )
  np.testing.assert_array_equal(of("splash", None), of("xla", None))
  # cuDNN takes attention without a mask: the vision encoder's.
  np.testing.assert_allclose(of("cudnn", None), of("xla", None), atol=1e-6)
  assert (np.asarray(of("cudnn", None)) != np.asarray(of("xla", None))).any()


def test_cudnn_is_called_forward_and_backward(monkeypatch):
  monkeypatch.undo()  # the call as it is
  monkeypatch.setattr(
    "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version",
    lambda: 91000,
  )
  (query, key, value, _), ids = make_inputs(2, 13, 4, 64, "bfloat16")

  def loss(query, key, value):
    out = attention.attend(
      query, key, value, CausalMask(ids), implementation="cudnn"
    )
    return out.astype(jnp.float32).sum()

  program = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).trace(query, key, value)
  text = program.lower(lowering_platforms=("cuda",)).as_text()
  assert text.count("@__cudnn$fmhaScaleBiasSoftmax(") == 1
  assert text.count("@__cudnn$fmhaScaleBiasSoftmaxBackward(") == 1
  assert "CAUSAL" in text
  # One bias for all heads, of an even length.
  assert "2x1x14x14x" in text
  assert "2x4x14x14x" not in text


def test_a_model_with_pictures_trains_by_cudnn(monkeypatch):
  """With its class token the vision encoder's length is odd."""
  monkeypatch.undo()  # the call as it is
  monkeypatch.setattr(
    "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version",
    lambda: 91000,
  )
  job = Job(presets.preset("tiny"), {}, {}, 2, 16, 1)
  model = presets.build(job.sizes, dtype="bfloat16", attention="cudnn")
  batch = random_rows.make_rows(job)
  inputs = [jnp.asarray(batch[key]) for key in objective.MODEL_INPUTS]
  params = jax.eval_shape(lambda: state.init_params(model, jax.random.key(0)))

  def loss(params):
    logits = model.apply({"params": params}, *inputs)
    return logits.astype(jnp.float32).sum()

  program = jax.jit(jax.grad(loss)).trace(params)
  text = program.lower(lowering_platforms=("cuda",)).as_text()
  # In a loop over the decoder's layers; the encoder's 5 tokens are xla's.
  assert text.count("@__cudnn$fmhaScaleBiasSoftmaxBackward(") == 1
  assert "@__cudnn$fmhaSoftmax" not in text


def test_a_model_is_given_another_implementation():
  sizes = presets.preset("tiny")
  model = presets.build(sizes, attention="splash")
  assert model.decoder.attention == model.vision.attention == "splash"
  model = model.with_attention("xla")
  assert model.decoder.attention == model.vision.attention == "xla"


@pytest.mark.parametrize(
  ("name", "platform", "dtype", "expected"),
  [
    ("auto", "tpu", "bfloat16", "splash"),
    ("auto", "tpu", "float32", "splash"),
    ("auto", "gpu", "bfloat16", "cudnn"),
    ("auto", "gpu", "float32", "xla"),
    ("auto", "cpu", "bfloat16", "xla"),
    ("xla", "tpu", "bfloat16", "xla"),
    ("splash", "tpu", "float32", "splash"),
    ("cudnn", "gpu", "bfloat16", "cudnn"),
  ],
)
def test_auto_is_the_kernel_of_the_platform(name, platform, dtype, expected):
  assert attention.choose(name, platform, dtype) == expected


def test_what_cannot_run_is_refused_in_a_sentence():
  with pytest.raises(ValueError, match='runs on platform "tpu".*are "cpu"'):
    attention.choose("splash", "cpu", "float32")
  with pytest.raises(ValueError, match='runs on platform "gpu".*are "tpu"'):
    attention.choose("cudnn", "tpu", "bfloat16")
  with pytest.raises(ValueError, match="computes in bfloat16.* in float32"):
    attention.choose("cudnn", "gpu", "float32")
  for build in (
    lambda: attention.choose("flash", "cpu", "float32"),
    lambda: presets.build(presets.preset("tiny"), attention="flash"),
  ):
    with pytest.raises(ValueError, match="must be one of .*got 'flash'"):
      build()
