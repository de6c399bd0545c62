"""What the released model answers about the released picture of a snowman.

Published outputs of `microsoft/kosmos-2-patch14-224` (the weights of
`kosmos-2.pt`), as the integration tests of Hugging Face's `transformers` state
them, `tests/models/kosmos2/test_modeling_kosmos2.py`: `snowman.png` of the
released repository, saved as JPEG with Pillow's defaults, decoded greedily in
float32 without repeated trigrams.
"""

from typing import NamedTuple

from kosmos2_jax.text import prompts
from kosmos2_jax.text.grounded import Box, Phrase

# No three ids in a row are written twice: part of how the answers were made.
NO_REPEAT_NGRAM_SIZE = 3


class Golden(NamedTuple):
  """One prompt and what is known of its answer.

  Attributes:
    name: of the prompt.
    prompt: the text after the picture.
    prompt_ids: all ids before the answer.
    answer_ids: new ids; the last one ends the answer.
    text: prompt and answer without tags.
    phrases: with their spans in `text` and their boxes.
    scores: logits of the first ids of the vocabulary where the second, third
      and fourth of `answer_ids` were chosen.
  """

  name: str
  prompt: str
  prompt_ids: tuple[int, ...]
  answer_ids: tuple[int, ...]
  text: str
  phrases: tuple[Phrase, ...]
  scores: tuple[tuple[float, ...], ...]


def _phrase(text: str, start: int, end: int, *xyxy: float) -> Phrase:
  return Phrase(text, (start, end), (Box(xyxy),))


# `<s>`, and a picture: `<image>`, what stands in its 64 slots, `</image>`.
_PICTURE = (0, 64003, *range(4, 68), 64004)

# fmt: off
GOLDEN = (
  Golden(
    "brief",
    prompts.grounded_caption(),
    (*_PICTURE, 64012, 712, 1648, 9),
    (
      64007, 10, 43867, 64008, 64009, 64057, 64876, 64010, 5950, 597, 32,
      64007, 10, 646, 64008, 64009, 64018, 64924, 64010, 4, 2,
    ),
    "An image of a snowman warming himself by a fire.",
    (
      _phrase("a snowman", 12, 21, 0.390625, 0.046875, 0.984375, 0.828125),
      _phrase("a fire", 41, 47, 0.171875, 0.015625, 0.484375, 0.890625),
    ),
    (
      (-1.56726, -5.00741, 4.36449),
      (-2.14702, -4.96630, 4.59256),
      (-0.93524, -4.68829, 6.24061),
    ),
  ),
  Golden(
    "detailed",
    prompts.grounded_caption(detailed=True),
    (*_PICTURE, 64012, 34645, 247, 38, 1648, 12, 3391, 55),
    (
      24, 1648, 1338, 10, 43867, 1280, 32, 64007, 10, 30879, 64008, 64009,
      64018, 65020, 64010, 12, 5, 1842, 4, 71, 17, 1679, 64007, 10, 3958,
      64008, 64009, 64061, 64263, 64010, 6, 64007, 15719, 64008, 64009, 64253,
      64617, 64010, 6, 8, 64007, 9626, 64008, 64009, 64413, 64545, 64010, 6,
      23, 64007, 10, 4363, 64008, 64009, 64623, 64885, 64010, 2255, 8, 64007,
      10, 3486, 64008, 64009, 64809, 65036, 64010, 1560, 2255, 4, 24, 43867,
      1684, 7, 27, 3774, 5, 10356, 9, 5, 646, 6, 8, 22, 1684, 7, 30, 10, 2007,
      8, 16239, 4337, 4, 2,
    ),
    "Describe this image in detail: The image features a snowman sitting by a"
    " campfire in the snow. He is wearing a hat, scarf, and gloves, with a pot"
    " nearby and a cup placed nearby. The snowman appears to be enjoying the"
    " warmth of the fire, and it appears to have a warm and cozy atmosphere.",
    (
      _phrase("a campfire", 71, 81, 0.171875, 0.015625, 0.484375, 0.984375),
      _phrase("a hat", 109, 114, 0.515625, 0.046875, 0.828125, 0.234375),
      _phrase("scarf", 116, 121, 0.515625, 0.234375, 0.890625, 0.578125),
      _phrase("gloves", 127, 133, 0.515625, 0.390625, 0.640625, 0.515625),
      _phrase("a pot", 140, 145, 0.078125, 0.609375, 0.265625, 0.859375),
      _phrase("a cup", 157, 162, 0.890625, 0.765625, 0.984375, 0.984375),
    ),
    (
      (-0.90936, -4.57837, 5.96361),
      (2.45213, -4.09060, 8.73868),
      (-0.76246, -4.77166, 6.57630),
    ),
  ),
)
# fmt: on
