"""Pictures and prompts as the arrays the model takes."""

import numpy as np
import pytest

from kosmos2_jax import batch
from kosmos2_jax.generation import prompting
from kosmos2_jax.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.small(num_bins=4)
VOCAB = TOKENIZER.vocab
# What stands in the slots of a picture: the first ids of pieces.
SLOTS = [4, 5]
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)


def row(prompt, pictures=None):
  return prompting.make_row(
    prompt, pictures, TOKENIZER, num_latents=2, image_size=6
  )


def test_picture_of_the_right_size_is_only_normalised():
  prepared = prompting.prepare_image(PICTURE, 6)
  assert prepared.dtype == np.float32
  mean, std = map(np.array, (batch.IMAGE_MEAN, batch.IMAGE_STDDEV))
  np.testing.assert_allclose(
    prepared, (PICTURE / 255 - mean) / std, atol=1e-6, rtol=0
  )


def test_pixels_are_bitwise_those_of_training():
  image_ops = pytest.importorskip("kosmos2_jax.input.image_ops")
  tf = pytest.importorskip("tensorflow")
  trained = image_ops.normalize(tf.constant(PICTURE)).numpy()
  np.testing.assert_array_equal(prompting.prepare_image(PICTURE, 6), trained)


def test_other_sizes_are_squashed_without_cropping():
  # Left half black, right half white, four times as wide as high: the squash
  # keeps both halves, a crop of the middle would lose most of them.
  picture = np.zeros((8, 32, 3), np.uint8)
  picture[:, 16:] = 255
  prepared = prompting.prepare_image(picture, 8)
  assert prepared.shape == (8, 8, 3)
  low, high = prepared[:, 0], prepared[:, -1]
  np.testing.assert_array_equal(prepared[:, 1], low)
  np.testing.assert_array_equal(prepared[:, -2], high)
  assert (low < high).all()


def test_pictures_come_before_the_text():
  tokens, image_mask, images = row("<grounding>a red", [PICTURE, PICTURE])
  block = [VOCAB.image_id, *SLOTS, VOCAB.image_end_id]
  text = TOKENIZER.encode("<grounding>a red")
  assert tokens == [VOCAB.bos_id, *block, *block, *text]
  places = [i for i, slot in enumerate(image_mask) if slot]
  assert places == [2, 3, 6, 7]
  assert len(images) == 2


def test_row_begins_as_a_training_row_but_for_what_no_one_reads():
  prefix, mask = TOKENIZER.image_prefix(2)
  tokens, image_mask, _ = row("a", PICTURE)
  assert image_mask[:5] == mask
  assert [tokens[i] for i in (0, 1, 4)] == [prefix[i] for i in (0, 1, 4)]


def test_a_prompt_may_say_where_its_pictures_go():
  tokens, image_mask, _ = row("a<image>red<image>blue", [PICTURE, PICTURE])
  block = [VOCAB.image_id, *SLOTS, VOCAB.image_end_id]
  a, red, blue = map(TOKENIZER.encode, ("a", "red", "blue"))
  assert tokens == [VOCAB.bos_id, *a, *block, *red, *block, *blue]
  assert sum(image_mask) == 4
  for pictures in (None, PICTURE, [PICTURE] * 3):
    with pytest.raises(ValueError, match="2 places for pictures"):
      row("a<image>red<image>blue", pictures)


def test_text_alone_has_no_slots():
  tokens, image_mask, images = row("a red")
  assert tokens == [VOCAB.bos_id, *TOKENIZER.encode("a red")]
  assert not any(image_mask)
  assert images == []


def split(rows):
  return prompting.common_prefixes(rows, VOCAB.is_special)


def test_rows_about_the_same_pictures_are_split_behind_them():
  one = row("a red", [PICTURE, PICTURE])
  # Rows that share pictures share the arrays.
  rows = [
    one,
    row("a red")._replace(images=[]),
  ]
  again = row("the blue square", [PICTURE, PICTURE])
  other = again._replace(images=one.images[::-1])
  again = again._replace(images=one.images)
  prefixes, which, rest = split([again, one, again, again])
  end = 1 + 2 * (2 + len(SLOTS))
  assert prefixes == [
    prompting.Row(one.tokens[:end], one.image_mask[:end], one.images)
  ]
  assert which == [0, 0, 0, 0]
  assert rest[1] == prompting.Row(one.tokens[end:], [False] * 2, [])
  assert rest[0].tokens == again.tokens[end:]
  # The same pictures in another order are other pictures.
  mixed = [one, other, other, again]
  prefixes, which, _ = split(mixed)
  assert (len(prefixes), which) == (2, [0, 1, 1, 0])
  # Not worth it, or not possible.
  assert split(rows) is None
  assert split([one, other, again]) is None
  assert split([one]) is None
  assert split([row("a")] * 4) is None
  behind = row("a <image>", [PICTURE])
  assert split([behind] * 4) is None
  # Tags that all texts begin with, too; words that they do never.
  [tagged] = split(
    [
      row(f"<grounding><phrase>the {word}</phrase>", [PICTURE])._replace(
        images=one.images[:1]
      )
      for word in ("red", "blue circle")
    ]
  )[0]
  assert tagged.tokens[-2:] == [VOCAB.grounding_id, VOCAB.phrase_id]
  [tags] = split([row("<grounding><phrase>", [PICTURE])] * 2)[0]
  assert tags.tokens[-1] == VOCAB.grounding_id
  text_first = row("a <image> red", [PICTURE])
  [prefix], _, rest = split([text_first] * 2)
  assert prefix.tokens[1:] == [*TOKENIZER.encode("a"), *prefix.tokens[2:]]
  assert rest[0].tokens == TOKENIZER.encode("red")


def test_rows_are_padded_to_few_shapes():
  rows = [row("a", PICTURE), row("a"), row("a red circle" * 6, [PICTURE] * 2)]
  tokens, lengths, images, image_mask = prompting.stack_rows(rows, VOCAB.pad_id)
  assert tokens.shape == image_mask.shape
  assert tokens.shape[0] == 4  # three, rounded up
  assert tokens.shape[1] % prompting.LENGTH_MULTIPLE == 0
  assert tokens.shape[1] - max(lengths) < prompting.LENGTH_MULTIPLE
  assert images.shape == (4, 2, 6, 6, 3)
  for i, expected in enumerate([*rows, rows[0]]):
    n = lengths[i]
    assert tokens[i, :n].tolist() == expected.tokens
    assert (tokens[i, n:] == VOCAB.pad_id).all()
    assert image_mask[i, :n].tolist() == expected.image_mask
    assert not image_mask[i, n:].any()
    for j, image in enumerate(expected.images):
      np.testing.assert_array_equal(images[i, j], image)
  # The slots of a row are as many as the latents of its own pictures.
  np.testing.assert_array_equal(image_mask.sum(1), [2, 0, 4, 2])


def test_rows_without_pictures_have_no_image_arrays():
  stacked = prompting.stack_rows([row("a"), row("a red")], VOCAB.pad_id)
  assert stacked.images is None
  assert stacked.image_mask is None


@pytest.mark.parametrize(("count", "rounded"), [(1, 1), (2, 2), (5, 8), (8, 8)])
def test_number_of_rows_is_a_power_of_two(count, rounded):
  stacked = prompting.stack_rows([row("a")] * count, VOCAB.pad_id)
  assert len(stacked.tokens) == rounded
