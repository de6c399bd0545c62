"""The joined model: sizes, causality, packing, pictures, dropout, types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kosmos2_jax.models import presets
from kosmos2_jax.models.decoder import padded_size

# Compiles whole models, many times.
pytestmark = pytest.mark.slow

NUM_PARAMS_RELEASED = 1_664_485_376  # REFERENCE: 1.34 B text, 0.30 B vision, …


def _abstract_params(name):
  sizes = presets.preset(name)
  model = presets.build(sizes)
  side = sizes["vision"]["image_size"]
  length = sizes["resampler"]["num_latents"] + 4
  return jax.eval_shape(
    model.init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, length), jnp.int32),
    jax.ShapeDtypeStruct((1, 1, side, side, 3), jnp.float32),
    jax.ShapeDtypeStruct((1, length), jnp.bool_),
  )["params"]


def test_released_preset_has_the_published_number_of_parameters():
  params = _abstract_params("kosmos2")
  total = sum(x.size for x in jax.tree.leaves(params))
  padding_rows = padded_size(65_037) - 65_037
  assert total - padding_rows * 2048 == NUM_PARAMS_RELEASED
  assert params["decoder"]["embedding"].shape == (65_152, 2048)


@pytest.mark.parametrize("part", ["vision", "decoder"])
def test_layers_are_stacked_on_a_leading_axis(part):
  params = _abstract_params("kosmos2")
  for leaf in jax.tree.leaves(params[part]["layers"]):
    assert leaf.shape[0] == 24


def test_unknown_preset_and_wrong_fields_are_named():
  with pytest.raises(ValueError, match="no model preset 'kosmos3'"):
    presets.preset("kosmos3")
  sizes = presets.preset("tiny")
  sizes["decoder"]["depht"] = 3
  with pytest.raises(ValueError, match="depht"):
    presets.build(sizes)
  with pytest.raises(ValueError, match="float16"):
    presets.build(presets.preset("tiny"), dtype="float16")
  with pytest.raises(ValueError, match="remat must be"):
    sizes = presets.preset("tiny")
    model = presets.build(sizes, remat="some")
    model.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))


def test_logits_depend_on_the_past_only(tiny):
  model, variables, tokens, images, image_mask = tiny

  def logit_sum(noise, row, position):
    # The embedding of each position, disturbed one by one through the table.
    embedding = variables["params"]["decoder"]["embedding"]
    extended = jnp.concatenate([embedding, noise])
    ids = jnp.arange(12) + embedding.shape[0]
    params = {
      **variables["params"],
      "decoder": {**variables["params"]["decoder"], "embedding": extended},
    }
    wide = model.clone(
      decoder=model.decoder.clone(vocab_size=extended.shape[0])
    )
    logits = wide.apply(
      {"params": params},
      jnp.broadcast_to(ids, tokens.shape),
      images,
      image_mask,
    )
    return logits[row, position, : embedding.shape[0]].sum()

  noise = jax.random.normal(jax.random.key(3), (128, 16))  # keeps 128 | rows
  gradient = jax.jit(jax.grad(logit_sum))
  for position in (0, 5, 11):
    grads = np.asarray(gradient(noise, 0, position))[:12]
    reaches = np.abs(grads).sum(-1) > 0
    expected = (np.arange(12) <= position) & ~np.asarray(image_mask[0])
    np.testing.assert_array_equal(reaches, expected)


def test_a_picture_reaches_only_what_stands_behind_its_first_slot(tiny):
  model, variables, tokens, images, image_mask = tiny

  def logit_sum(images, position):
    return model.apply(variables, tokens, images, image_mask)[
      1, position, :600
    ].sum()

  # Row 1: slots 2-5 hold its first picture, slots 7-10 its second.
  gradient = jax.jit(jax.grad(logit_sum))
  for position, sees_first, sees_second in (
    (1, False, False),
    (2, True, False),
    (6, True, False),
    (7, True, True),
    (11, True, True),
  ):
    grads = np.abs(gradient(images, position)).sum((-1, -2, -3))
    assert (grads[1] > 0).tolist() == [sees_first, sees_second]
    assert not grads[0].any()  # the other row's pictures


def test_rows_with_fewer_pictures_ignore_the_rest(tiny):
  model, variables, tokens, images, image_mask = tiny
  logits = model.apply(variables, tokens, images, image_mask)
  changed = images.at[0, 1].set(7.0)  # row 0 has slots for one picture
  np.testing.assert_array_equal(
    logits, model.apply(variables, tokens, changed, image_mask)
  )


def test_packed_segments_do_not_influence_each_other(tiny):
  model, variables, tokens, *_ = tiny
  first, second = tokens[:1, :5], tokens[1:, :7]
  packed = jnp.concatenate([first, second], axis=1)
  segment_ids = jnp.array([[1] * 5 + [2] * 7])
  positions = jnp.array([[*range(5), *range(7)]])
  logits = model.apply(
    variables, packed, segment_ids=segment_ids, positions=positions
  )
  # Sums over the same terms in another order: float32 rounding.
  np.testing.assert_allclose(
    logits[:, :5], model.apply(variables, first), atol=2e-6
  )
  np.testing.assert_allclose(
    logits[:, 5:], model.apply(variables, second), atol=2e-6
  )


def test_padding_does_not_change_a_row(tiny):
  model, variables, tokens, images, image_mask = tiny
  padded = jnp.concatenate([tokens, jnp.ones((2, 4), jnp.int32)], axis=1)
  mask = jnp.pad(image_mask, ((0, 0), (0, 4)))
  segment_ids = (jnp.arange(16) < 12).astype(jnp.int32)[None].repeat(2, 0)
  logits = model.apply(variables, padded, images, mask, segment_ids)
  plain = model.apply(variables, tokens, images, image_mask)
  np.testing.assert_allclose(logits[:, :12], plain, atol=2e-6)
  assert np.isfinite(logits).all()


def test_text_only_needs_no_pictures(tiny):
  model, variables, tokens, images, image_mask = tiny
  logits = model.apply(variables, tokens)
  none = model.apply(
    variables, tokens, images[:, :0], jnp.zeros_like(image_mask)
  )
  np.testing.assert_array_equal(logits, none)


def test_padding_rows_of_the_vocabulary_are_never_chosen(tiny):
  model, variables, tokens, images, image_mask = tiny
  logits = model.apply(variables, tokens, images, image_mask)
  assert logits.dtype == jnp.float32
  assert logits.shape[-1] == 640
  assert (logits[..., 601:] == -1e30).all()
  assert (logits[..., :601] > -100).all()


def test_dropout_is_drawn_from_the_key_and_off_by_default(tiny):
  model, variables, *inputs = tiny

  def run(seed):
    return model.apply(
      variables,
      *inputs,
      deterministic=False,
      rngs={"dropout": jax.random.key(seed)},
    )

  np.testing.assert_array_equal(run(0), run(0))
  assert (run(0) != run(1)).any()
  assert (run(0) != model.apply(variables, *inputs)).any()


@pytest.mark.parametrize("remat", ["full", "dots"])
def test_remat_and_unrolling_change_no_value(tiny, remat):
  model, variables, *inputs = tiny
  sizes = presets.preset("tiny")
  sizes["decoder"]["dropout_rate"] = 0.1
  other = presets.build(sizes, remat=remat, unroll=8)

  def loss(variables, model):
    logits = model.apply(
      variables,
      *inputs,
      deterministic=False,
      rngs={"dropout": jax.random.key(1)},
    )
    return jnp.square(logits[..., :601]).mean()

  step = jax.jit(jax.value_and_grad(loss), static_argnums=1)
  value, grads = step(variables, model)
  other_value, other_grads = step(variables, other)
  np.testing.assert_allclose(value, other_value, rtol=1e-6)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    grads,
    other_grads,
  )


def test_remat_keeps_fewer_activations(tiny):
  _, variables, *inputs = tiny

  def saved_bytes(remat):
    model = presets.build(presets.preset("tiny"), remat=remat)
    _, backward = jax.vjp(lambda v: model.apply(v, *inputs), variables)
    return sum(x.nbytes for x in jax.tree.leaves(backward))

  assert saved_bytes("full") < 0.8 * saved_bytes("none")


def test_wrong_picture_size_is_one_sentence(tiny):
  model, variables, tokens, images, image_mask = tiny
  with pytest.raises(ValueError, match="16 × 16 × 3 pixels; got 8 × 16 × 3"):
    model.apply(variables, tokens, images[:, :, :8], image_mask)
