"""Rows on several devices: the same answers as on one."""

import jax
import numpy as np
import pytest

from kosmos2_jax.generation import placement
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.generation.samples import small_model, small_sizes

TOKENIZER = Tokenizer.small(num_bins=4)
SIZES = small_sizes(TOKENIZER)
SIZE = SIZES["vision"]["image_size"]
PICTURES = np.random.default_rng(1).integers(
  0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8
)
TEXTS = ["a red", "the", "two circles", "a blue square", "on", "it", "a star"]


@pytest.fixture(scope="module")
def model():
  return small_model(SIZES)


def predictors(model, count):
  """On the default device, and on so many."""
  placed = placement.over(jax.devices()[:count])
  params = placement.spread(jax.tree.map(lambda x: x, model[1]), placed)
  return (
    Predictor(*model, TOKENIZER, batch_size=8),
    Predictor(model[0], params, TOKENIZER, batch_size=8, placement=placed),
  )


def test_the_default_device_needs_no_mesh():
  assert placement.over(jax.devices()[:1]) is placement.DEFAULT
  assert placement.DEFAULT.num_parts == 1
  assert placement.over(jax.devices()[:3]).num_parts == 3
  # Another device than the first is asked for.
  placed = placement.over(jax.devices()[1:2])
  assert placed.put_rows(np.zeros(2)).devices() == {jax.devices()[1]}


def test_rows_are_cut_and_the_rest_is_whole():
  placed = placement.over(jax.devices())
  rows = placed.put_rows({"a": np.arange(16.0)})["a"]
  assert len(rows.sharding.device_set) == 8
  assert rows.addressable_shards[0].data.shape == (2,)
  assert placed.put_whole(np.arange(3)).is_fully_replicated
  params = {"a": np.zeros(2), "b": {"c": np.ones(3)}}
  assert placement.spread(params, placed) is params
  assert params["b"]["c"].is_fully_replicated


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 8])
def test_the_same_answers_as_on_one_device(model, count):
  alone, several = predictors(model, count)
  images = [PICTURES[i % 3] for i in range(len(TEXTS))]
  for options in (
    {"images": images, "max_new_tokens": 6},
    {"max_new_tokens": 5},
    {"images": images, "max_new_tokens": 4, "num_beams": 2},
    {"images": images, "max_new_tokens": 4, "temperature": 1.0, "seed": 3},
  ):
    wanted = alone.generate(TEXTS, **options)
    found = several.generate(TEXTS, **options)
    assert [a.tokens for a in found] == [a.tokens for a in wanted]
    for one, other in zip(found, wanted, strict=True):
      # Other shapes, other orders of float32 sums.
      np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-5)
  for boxes, others in zip(
    several.locate_batch(images, TEXTS),
    alone.locate_batch(images, TEXTS),
    strict=True,
  ):
    assert [box.xyxy for box in boxes] == [box.xyxy for box in others]
