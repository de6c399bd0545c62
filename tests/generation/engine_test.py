"""What all questions share: pictures remembered, and room for the answer."""

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.generation.engine import Engine
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.generation.samples import small_model, small_sizes

TOKENIZER = Tokenizer.small(num_bins=4)
SIZES = small_sizes(TOKENIZER)
SIZE = SIZES["vision"]["image_size"]
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
NEW = 4


@pytest.fixture(scope="module")
def parts():
  return *small_model(SIZES), TOKENIZER


def test_equal_pixels_are_one_array_however_they_come(parts, tmp_path):
  Image.fromarray(PICTURES[0]).save(tmp_path / "picture.png")
  same = [
    PICTURES[0],
    PICTURES[0].copy(),
    Image.fromarray(PICTURES[0]),
    tmp_path / "picture.png",
  ]
  other = PICTURES[0].copy()
  other[3, 3, 1] ^= 1
  rows = list(Engine(*parts)._rows(["a"] * 5, [*same, other], NEW))
  [first], *rest = [row.images for row in rows]
  assert all(image is first for [image] in rest[:3])
  assert rest[3][0] is not first
  assert (rest[3][0] != first).sum() == 1
  # Twice in one prompt, too.
  [row] = Engine(*parts)._rows(["a"], [same[:2]], NEW)
  assert row.images[0] is row.images[1]


def test_only_the_last_pictures_are_remembered(parts):
  prepare = Engine(*parts, batch_size=2)._remembering()
  one, two, three = (prepare(picture, SIZE) for picture in PICTURES[:3])
  assert prepare(PICTURES[1], SIZE) is two
  again = prepare(PICTURES[0], SIZE)  # forgotten, and prepared anew
  assert again is not one
  np.testing.assert_array_equal(again, one)
  # It took the place of the third: the second had been asked for since.
  assert prepare(PICTURES[1], SIZE) is two
  assert prepare(PICTURES[2], SIZE) is not three


@pytest.mark.slow
def test_more_pictures_than_are_remembered_are_answered_alike(parts):
  order = [0, 1, 2, 0, 3, 1, 0, 0]
  images = [PICTURES[i].copy() for i in order]
  prompts = ["a red", "the", "two", "a blue square", "a", "on", "it", "a star"]

  def answers(batch_size, prompts, images):
    engine = Engine(*parts, batch_size=batch_size)
    rows = engine._rows(prompts, images, NEW)
    found = engine._generate(rows, NEW, TOKENIZER.vocab.eos_id, Options())
    return [answer for [answer] in found]

  cut = answers(2, prompts, images)
  for i, found in enumerate(cut):
    [alone] = answers(8, prompts[i : i + 1], images[i : i + 1])
    assert found.tokens == alone.tokens
    # Other shapes, other orders of float32 sums.
    np.testing.assert_allclose(found.log_probs, alone.log_probs, atol=1e-5)
  assert len({tuple(answer.log_probs) for answer in cut}) == len(cut)


def test_what_does_not_fit_the_context_is_named_in_numbers(parts):
  engine = Engine(*parts, max_length=16)
  words = len(TOKENIZER.encode("a red circle"))
  picture = SIZES["resampler"]["num_latents"] + 2
  used = 1 + picture + words
  assert used < 16
  rows = engine._rows(["a red circle"], [PICTURES[0]], 16 - used)
  assert len(next(rows).tokens) == used
  rows = engine._rows(["a red circle"], [PICTURES[0]], 17 - used)
  message = (
    rf"has {used} tokens with its pictures; with up to {17 - used} new ones"
    r" that is more than the 16 of the context"
  )
  with pytest.raises(ValueError, match=message):
    next(rows)
  with pytest.raises(ValueError, match=r"has 4 tokens .* up to \d+ new"):
    engine.score(["a red circle"], ["a red circle" * 9])


def test_every_prompt_has_its_entry_of_pictures(parts):
  rows = Engine(*parts)._rows(["a", "b"], [None], NEW)
  with pytest.raises(ValueError, match="2 prompts but 1 entries of images"):
    next(rows)
