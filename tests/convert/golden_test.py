"""The published outputs were typed in without a mistake."""

import numpy as np
import pytest

from kosmos2_jax.convert.golden import GOLDEN, NO_REPEAT_NGRAM_SIZE
from kosmos2_jax.generation import prompting
from kosmos2_jax.models import presets
from kosmos2_jax.text import location, markup

SIZES = presets.preset("kosmos2")


@pytest.fixture(params=GOLDEN, ids=lambda golden: golden.name)
def golden(request):
  return request.param


def test_boxes_are_those_of_the_location_ids(golden):
  first = SIZES["vocab_size"] - SIZES["num_bins"] ** 2
  cells = [i - first for i in golden.answer_ids if i >= first]
  pairs = zip(cells[::2], cells[1::2], strict=True)
  boxes = [location.bins_to_box(*pair, SIZES["num_bins"]) for pair in pairs]
  assert boxes == [box.xyxy for p in golden.phrases for box in p.boxes]


def test_spans_are_those_of_the_text(golden):
  for phrase in golden.phrases:
    assert golden.text[slice(*phrase.span)] == phrase.text


def test_rows_are_whole(golden):
  assert np.shape(golden.scores) == (3, 3)
  assert golden.answer_ids.index(2) == len(golden.answer_ids) - 1
  ids, size = (*golden.prompt_ids, *golden.answer_ids), NO_REPEAT_NGRAM_SIZE
  grams = [ids[i : i + size] for i in range(len(ids) - size + 1)]
  assert len(set(grams)) == len(grams)


def test_prompts_are_those_of_the_tokenizer(golden, real_tokenizer):
  picture = np.zeros((9, 9, 3), np.uint8)
  row = prompting.make_row(
    golden.prompt,
    picture,
    real_tokenizer,
    num_latents=SIZES["resampler"]["num_latents"],
    image_size=SIZES["vision"]["image_size"],
  )
  assert tuple(row.tokens) == golden.prompt_ids


def test_ids_say_the_text_and_the_phrases(golden, real_tokenizer):
  ids = [*golden.prompt_ids, *golden.answer_ids]
  grounded = markup.parse(ids, real_tokenizer)
  assert grounded.text == golden.text
  assert grounded.phrases == golden.phrases
