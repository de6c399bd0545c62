"""The loss in chunks is the plain loss: sums, gradients, devices, kinds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kosmos2_jax import chunked_loss, losses, sharding

ROWS, LENGTH, WIDTH, VOCAB, PADDED = 8, 6, 16, 120, 128


def _inputs(dtype, share=0.6):
  rng = np.random.default_rng(0)
  shape = (ROWS, LENGTH)
  mask = rng.random(shape) < share
  mask[3] = False  # a row without targets
  table = rng.normal(size=(PADDED, WIDTH))
  return (
    jnp.asarray(rng.normal(size=(*shape, WIDTH)), dtype),
    jnp.asarray(table, jnp.promote_types(dtype, jnp.float32)),
    jnp.asarray(rng.integers(0, VOCAB, shape), jnp.int32),
    jnp.asarray(mask),
    jnp.asarray(mask * rng.integers(1, 4, shape), jnp.int32),
  )


def _plain(hidden, table, targets, mask, kinds):
  """The same by logits of everything, in float64 where the inputs are."""
  logits = jnp.einsum("btd,vd->btv", hidden, table.astype(hidden.dtype))
  logits = jnp.where(jnp.arange(PADDED) < VOCAB, logits, -1e30)
  log_probs = jax.nn.log_softmax(logits)
  picked = jnp.take_along_axis(log_probs, targets[..., None], -1)[..., 0]
  of_tokens = jnp.where(mask, -picked, 0)
  right = (jnp.argmax(logits, -1) == targets) & mask
  of_kinds = [jnp.sum(of_tokens * (kinds == kind)) for kind in (1, 2, 3)]
  return jnp.sum(of_tokens), (jnp.sum(right), jnp.stack(of_kinds))


def _chunked(hidden, table, *of_tokens, chunk):
  found = chunked_loss.chunked_cross_entropy(
    hidden, table, *of_tokens, vocab_size=VOCAB, num_kinds=3, chunk=chunk
  )
  return found.loss, (found.correct, found.kind_losses)


def _with_grads(function, inputs):
  grad = jax.value_and_grad(function, argnums=(0, 1), has_aux=True)
  return jax.jit(grad)(*inputs)


def _assert_close(found, wanted, **tolerance):
  jax.tree.map(
    lambda one, other: np.testing.assert_allclose(
      np.asarray(one, np.float64), np.asarray(other, np.float64), **tolerance
    ),
    found,
    wanted,
  )


# Chunks that divide the tokens, do not, and are more than there are.
@pytest.mark.parametrize("chunk", [1, 16, 7, 1000])
def test_sums_and_gradients_are_exact(chunk):
  with jax.enable_x64(True):
    inputs = _inputs(jnp.float64)
    found = _with_grads(functools.partial(_chunked, chunk=chunk), inputs)
    # float64 sums of a hundred numbers, in another order.
    _assert_close(found, _with_grads(_plain, inputs), rtol=1e-12, atol=1e-12)
    assert found[0][0] > 0 and found[0][1][0] >= 0


def test_without_gradients_the_sums_are_the_same():
  inputs = _inputs(jnp.float32)
  alone = jax.jit(functools.partial(_chunked, chunk=7))(*inputs)
  with_grads, _ = _with_grads(functools.partial(_chunked, chunk=7), inputs)
  jax.tree.map(np.testing.assert_array_equal, alone, with_grads)


def test_equals_the_losses_of_logits():
  hidden, table, targets, mask, kinds = _inputs(jnp.float32)
  # Half of the targets are what the model would say.
  logits = jnp.einsum("btd,vd->btv", hidden, table)
  logits = jnp.where(jnp.arange(PADDED) < VOCAB, logits, -1e30)
  says = jnp.argmax(logits, -1).astype(jnp.int32)
  targets = targets.at[::2].set(says[::2])
  loss, (correct, _) = _chunked(hidden, table, targets, mask, kinds, chunk=7)
  np.testing.assert_allclose(
    loss, losses.cross_entropy(logits, targets, mask)[0], rtol=1e-6
  )
  assert correct == losses.accuracy(logits, targets, mask)[0] > 5


@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 4, 1), (2, 2, 2), (1, 1, 8)])
def test_a_mesh_has_the_sums_and_gradients_of_one_device(shape):
  inputs = _inputs(jnp.float32)
  function = functools.partial(_chunked, chunk=4)
  wanted = _with_grads(function, inputs)
  mesh = sharding.make_mesh(shape)
  with jax.sharding.set_mesh(mesh):
    table = jax.device_put(inputs[1], jax.NamedSharding(mesh, P("tensor")))
    found = _with_grads(function, (inputs[0], table, *inputs[2:]))
  # float32 sums in another order; gradients are of size 1.
  _assert_close(found, wanted, rtol=2e-6, atol=2e-6)
  place = jax.NamedSharding(mesh, sharding.table_spec(mesh, table.shape))
  assert found[1][1].sharding.is_equivalent_to(place, 2)


def test_half_precision_is_added_up_in_float32():
  inputs = _inputs(jnp.bfloat16)
  function = functools.partial(_chunked, chunk=7)
  (loss, stats), (of_hidden, of_table) = _with_grads(function, inputs)
  assert {x.dtype for x in (loss, *stats)} == {jnp.dtype("float32")}
  assert of_hidden.dtype == jnp.bfloat16 and of_table.dtype == jnp.float32
  wide = [x.astype(jnp.float32) for x in inputs[:2]]
  wide[1] = inputs[1].astype(jnp.bfloat16).astype(jnp.float32)
  (wanted, _), (_, wanted_table) = _with_grads(function, (*wide, *inputs[2:]))
  # Products of bfloat16 numbers are exact in float32.
  np.testing.assert_allclose(loss, wanted, rtol=1e-6)
  # Probabilities are rounded to 8 bits before they are multiplied, once.
  np.testing.assert_allclose(of_table, wanted_table, rtol=0, atol=2e-2)


def test_no_target_gives_zero_everywhere():
  hidden, table, targets, mask, kinds = _inputs(jnp.float32)
  found = _with_grads(
    functools.partial(_chunked, chunk=7),
    (hidden, table, targets, jnp.zeros_like(mask), kinds),
  )
  jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), found)


def test_what_does_not_count_is_not_computed():
  """Positions behind the last chunk with a target may hold anything."""
  hidden, table, targets, mask, kinds = _inputs(jnp.float32, share=0.2)
  assert 0 < mask.sum() < 16
  poisoned = jnp.where(mask[..., None], hidden, jnp.nan)
  function = functools.partial(_chunked, chunk=int(mask.sum()))
  (loss, _), grads = _with_grads(
    function, (poisoned, table, targets, mask, kinds)
  )
  wanted = _with_grads(function, (hidden, table, targets, mask, kinds))
  _assert_close((loss, grads), (wanted[0][0], wanted[1]), rtol=0)
  np.testing.assert_array_equal(grads[0][~mask], 0)


def test_logits_are_made_for_one_chunk_only():
  inputs = _inputs(jnp.float32)
  function = jax.grad(
    lambda *inputs: _chunked(*inputs, chunk=4)[0], argnums=(0, 1)
  )
  text = jax.jit(function).lower(*inputs).compile().as_text()
  assert f"f32[4,{PADDED}]" in text
  for tokens in (ROWS * LENGTH, f"{ROWS},{LENGTH}"):
    assert f"[{tokens},{PADDED}]" not in text


def test_a_chunk_is_a_positive_number():
  with pytest.raises(ValueError, match="positive number of targets; found 0"):
    _chunked(*_inputs(jnp.float32), chunk=0)
