"""Prompts: their exact text, and the released model's ids for them."""

import pytest

from kosmos2_jax.text import prompts


def test_texts():
  assert prompts.caption() == "An image of"
  assert prompts.grounded_caption() == "<grounding>An image of"
  assert (
    prompts.grounded_caption(detailed=True)
    == "<grounding>Describe this image in detail:"
  )
  assert (
    prompts.refer(" the red dog ") == "<grounding><phrase>the red dog</phrase>"
  )
  assert (
    prompts.refer_within("a man in ", "an orange hat")
    == "<grounding>a man in  <phrase>an orange hat</phrase>"
  )
  assert (
    prompts.describe((0.0, 0.0, 1.0, 1.0), num_bins=8)
    == "<grounding><phrase>It</phrase><object><patch_index_0000>"
    "<patch_index_0063></object> is"
  )
  assert prompts.question("What is it?") == "Question: What is it? Answer:"
  assert (
    prompts.question("Where is it? ", grounded=True)
    == "<grounding>Question: Where is it? Answer:"
  )


@pytest.mark.parametrize(
  ("prompt", "ids"),
  [
    (prompts.grounded_caption(), [64012, 712, 1648, 9]),
    (
      prompts.grounded_caption(detailed=True),
      [64012, 34645, 247, 38, 1648, 12, 3391, 55],
    ),
    # Spaces before the phrase are no tokens.
    (
      prompts.refer_within("A man with ", "an orange hat"),
      [64012, 95, 242, 23, 64007, 42, 5195, 3958, 64008],
    ),
    (
      prompts.describe((0.39, 0.05, 0.98, 0.83)),
      [64012, 64007, 67, 64008, 64009, 64057, 64876, 64010, 17],
    ),
  ],
)
def test_released_ids(real_tokenizer, prompt, ids):
  assert real_tokenizer.encode(prompt) == ids


def test_the_lower_right_corner_may_be_rounded_up():
  box = (0.0, 0.0, 0.5, 0.5)
  assert "<patch_index_0036></object>" in prompts.describe(box, 8)
  assert "<patch_index_0027></object>" in prompts.describe(box, 8, "ceil")


def test_a_box_outside_the_picture_is_an_error():
  with pytest.raises(ValueError, match="no cell"):
    prompts.describe((2.0, 2.0, 3.0, 3.0))
