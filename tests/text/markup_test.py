"""Captions with boxes: golden ids, nesting, crossing, malformed output."""

import inspect
import math

import numpy as np
import pytest

from kosmos2_jax.text import Box, GroundedText, Phrase, markup
from tests.text import tokenizer_test

HANGER = "a wire hanger with a paper cover that reads we heart our customers"
DOGS = "two dogs and a cat on a sofa"
# Boxes of the 8 x 8 grid that decode to themselves, and the tokens' text.
LEFT, RIGHT, LOW = [
  Box(xyxy)
  for xyxy in [
    (0.0625, 0.0625, 0.3125, 0.9375),
    (0.5625, 0.0625, 0.9375, 0.9375),
    (0.0625, 0.5625, 0.9375, 0.9375),
  ]
]
LEFT_TEXT = "<object><patch_index_0000><patch_index_0058></object>"
RIGHT_TEXT = "<object><patch_index_0004><patch_index_0063></object>"
LOW_TEXT = "<object><patch_index_0032><patch_index_0063></object>"


def _phrase(caption, text, *boxes):
  start = caption.index(text)
  return Phrase(text, (start, start + len(text)), boxes)


def test_the_worked_example_of_an_expression(real_tokenizer):
  whole = _phrase(HANGER, HANGER, Box((0, 0, 1, 1)))
  assert markup.build(HANGER, [whole], real_tokenizer) == [
    *[64012, 64007, 10, 6454, 31772, 23, 10, 1287, 1285, 14, 6372, 46, 689],
    *[84, 1158, 64008, 64009, 64013, 65036, 64010],
  ]


def test_the_worked_example_of_phrases(real_tokenizer):
  phrases = [
    _phrase(HANGER, "a wire hanger", Box((0, 0, 1, 1))),
    # Cells 288 and 991, as the original's record gives them.
    _phrase(HANGER, "a paper cover", Box((0, 0.29, 0.99, 0.95))),
  ]
  expected = [
    *[64012, 64007, 10, 6454, 31772, 64008, 64009, 64013, 65036, 64010],
    *[23, 64007, 10, 1287, 1285, 64008, 64009, 64301, 65004, 64010, 14, 6372],
    *[46, 689, 84, 1158],
  ]
  for mode in ("nested", "maximal"):
    ids = markup.build(HANGER, phrases, real_tokenizer, mode)
    assert ids == expected
  # The order of the phrases does not matter.
  assert markup.build(HANGER, phrases[::-1], real_tokenizer) == expected
  # Without the announcement.
  ids = markup.build(HANGER, phrases, real_tokenizer, grounding=False)
  assert ids == expected[1:]


def test_the_worked_example_of_two_boxes(real_tokenizer):
  phrase = _phrase(
    DOGS, "two dogs", Box((0.1, 0.1, 0.3, 0.6)), Box((0.4, 0.1, 0.6, 0.6))
  )
  ids = markup.build(DOGS, [phrase], real_tokenizer)
  assert ids[1:12] == [
    *[64007, 94, 2176, 64008, 64009, 64112, 64630, 64011, 64121, 64640, 64010]
  ]


def test_golden_output_of_the_released_model(real_tokenizer):
  expected = GroundedText(
    "An image of a snowman warming himself by a fire.",
    [
      Phrase(
        "a snowman", (12, 21), [Box((0.390625, 0.046875, 0.984375, 0.828125))]
      ),
      Phrase(
        "a fire", (41, 47), [Box((0.171875, 0.015625, 0.484375, 0.890625))]
      ),
    ],
  )
  ids = tokenizer_test.SNOWMAN_IDS
  assert markup.parse(ids, real_tokenizer) == expected
  assert markup.parse(np.array(ids), real_tokenizer) == expected
  text = real_tokenizer.decode(ids)
  assert markup.parse(text, real_tokenizer) == expected
  assert markup.parse(f"<s>{text}</s><pad>", real_tokenizer) == expected


def test_golden_detailed_output(real_tokenizer):
  ids = [
    *[64012, 34645, 247, 38, 1648, 12, 3391, 55],
    *[24, 1648, 1338, 10, 43867, 1280, 32, 64007, 10, 30879, 64008, 64009],
    *[64018, 65020, 64010, 12, 5, 1842, 4, 71, 17, 1679, 64007, 10, 3958],
    *[64008, 64009, 64061, 64263, 64010, 6, 64007, 15719, 64008, 64009],
    *[64253, 64617, 64010, 6, 8, 64007, 9626, 64008, 64009, 64413, 64545],
    *[64010, 6, 23, 64007, 10, 4363, 64008, 64009, 64623, 64885, 64010, 4, 2],
  ]
  found = markup.parse(ids, real_tokenizer)
  assert found.text == (
    "Describe this image in detail: The image features a snowman sitting by a"
    " campfire in the snow. He is wearing a hat, scarf, and gloves, with a pot."
  )
  assert [phrase.text for phrase in found.phrases] == [
    "a campfire",
    "a hat",
    "scarf",
    "gloves",
    "a pot",
  ]
  for phrase in found.phrases:
    assert found.text[slice(*phrase.span)] == phrase.text


def test_text_of_plain_phrases(small_tokenizer):
  phrases = [
    _phrase(DOGS, "two dogs", LEFT, RIGHT),
    _phrase(DOGS, "a sofa", LOW),
  ]
  assert markup.build_text(DOGS, phrases, small_tokenizer) == (
    "<grounding><phrase> two dogs</phrase>"
    "<object><patch_index_0000><patch_index_0058>"
    "</delimiter_of_multi_objects/>"
    "<patch_index_0004><patch_index_0063></object>"
    f" and a cat on<phrase> a sofa</phrase>{LOW_TEXT}"
  )


def test_nested_phrases(small_tokenizer):
  phrases = [
    _phrase(DOGS, "a cat on a sofa", RIGHT),
    _phrase(DOGS, "a cat", LEFT),
    _phrase(DOGS, "a sofa", LOW),
  ]
  text = markup.build_text(DOGS, phrases, small_tokenizer)
  assert text == (
    "<grounding> two dogs and"
    f"<phrase><phrase> a cat</phrase>{LEFT_TEXT} on"
    f"<phrase> a sofa</phrase>{LOW_TEXT}</phrase>{RIGHT_TEXT}"
  )
  assert markup.parse(text, small_tokenizer) == GroundedText(DOGS, phrases)


CROSSING = [
  _phrase(DOGS, "two dogs and a cat", LEFT),
  _phrase(DOGS, "a cat on a sofa", RIGHT),
]


def test_crossing_phrases(small_tokenizer):
  text = markup.build_text(DOGS, CROSSING, small_tokenizer)
  assert text == (
    f"<grounding><phrase> two dogs and<phrase> a cat</phrase>{RIGHT_TEXT}"
    f"</phrase>{LEFT_TEXT}<phrase> on a sofa</phrase>{RIGHT_TEXT}"
  )
  assert markup.parse(text, small_tokenizer) == GroundedText(DOGS, CROSSING)


def test_what_only_looks_like_a_crossing_is_kept_apart(small_tokenizer):
  phrases = [
    _phrase(DOGS, "two dogs and a cat", LEFT),
    _phrase(DOGS, "a cat", RIGHT),
    _phrase(DOGS, "on a sofa", RIGHT),
  ]
  text = markup.build_text(DOGS, phrases, small_tokenizer)
  assert text == (
    f"<grounding><phrase> two dogs and<phrase> a cat</phrase>{RIGHT_TEXT}"
    f"</phrase>{LEFT_TEXT}<phrase></phrase>"
    f"<phrase> on a sofa</phrase>{RIGHT_TEXT}"
  )
  assert markup.parse(text, small_tokenizer) == GroundedText(DOGS, phrases)


def test_neighbours_with_the_same_box_stay_two(small_tokenizer):
  phrases = [_phrase(DOGS, "a cat", LEFT), _phrase(DOGS, "on a sofa", LEFT)]
  ids = markup.build(DOGS, phrases, small_tokenizer)
  assert markup.parse(ids, small_tokenizer) == GroundedText(DOGS, phrases)


def test_maximal_mode_drops_what_is_inside(small_tokenizer):
  phrases = [
    _phrase(DOGS, "two dogs", LOW),
    _phrase(DOGS, "a cat", LEFT),
    _phrase(DOGS, "a cat on a sofa", RIGHT),
    _phrase(DOGS, "a sofa", LOW),
  ]
  ids = markup.build(DOGS, phrases, small_tokenizer, mode="maximal")
  assert markup.parse(ids, small_tokenizer) == GroundedText(
    DOGS, [phrases[0], phrases[2]]
  )


def test_maximal_mode_keeps_the_earlier_of_two_that_cross(small_tokenizer):
  for phrases in (CROSSING, CROSSING[::-1]):
    ids = markup.build(DOGS, phrases, small_tokenizer, mode="maximal")
    assert markup.parse(ids, small_tokenizer) == GroundedText(
      DOGS, [CROSSING[0]]
    )


def test_phrases_of_the_same_tokens_become_one(small_tokenizer):
  for mode in ("nested", "maximal"):
    ids = markup.build(
      DOGS,
      [_phrase(DOGS, "a cat", LEFT), _phrase(DOGS, "a cat", RIGHT, LOW)],
      small_tokenizer,
      mode,
    )
    expected = _phrase(DOGS, "a cat", LEFT, RIGHT, LOW)
    assert markup.parse(ids, small_tokenizer) == GroundedText(DOGS, [expected])


def test_spans_lose_outer_spaces_and_grow_to_tokens(small_tokenizer):
  expected = markup.build(DOGS, [_phrase(DOGS, "a cat", LEFT)], small_tokenizer)
  for text in (" a cat ", "a ca"):
    phrase = _phrase(DOGS, text, LEFT)
    assert markup.build(DOGS, [phrase], small_tokenizer) == expected


def test_a_letter_of_several_bytes_is_not_cut(small_tokenizer):
  caption = "☃ a 日本 ☃"
  phrases = [
    _phrase(caption, "日", LEFT),
    _phrase(caption, "本", RIGHT),
    Phrase("☃", (7, 8), [LOW]),
  ]
  ids = markup.build(caption, phrases, small_tokenizer)
  assert markup.parse(ids, small_tokenizer) == GroundedText(caption, phrases)


def test_characters_without_a_token_are_an_error(small_tokenizer):
  # The normaliser drops it: a zero-width no-break space.
  caption = "a cat \ufeff"
  with pytest.raises(ValueError, match="have no tokens"):
    markup.build(caption, [_phrase(caption, "\ufeff", LEFT)], small_tokenizer)


def test_a_tag_in_a_caption_is_spelled_out(small_tokenizer):
  caption = "a </phrase> on a sofa"
  phrase = _phrase(caption, "a </phrase>", LEFT)
  ids = markup.build(caption, [phrase], small_tokenizer)
  assert markup.parse(ids, small_tokenizer) == GroundedText(caption, [phrase])


def _at(span, text, *boxes):
  return Phrase(text, span, boxes)


@pytest.mark.parametrize(
  ("phrase", "message"),
  [
    (_at((20, 40), "on a sofa", LEFT), r"\(20, 40\).* 28 characters"),
    (_at((-3, 4), "two", LEFT), "which is not a range of the 28 characters"),
    (_at((5, 5), "", LEFT), "which is not a range"),
    (_at((3, 4), " ", LEFT), "holds only spaces"),
    (_at((0, 8), "two cats", LEFT), "there the caption reads 'two dogs'"),
    (_at((0, 8), "two dogs"), "'two dogs' has no boxes"),
    (
      _at((0, 8), "two dogs", LEFT, Box((0, math.nan, 1, 1))),
      "'two dogs' has the box .* not a finite number",
    ),
    (_at((0, 8), "two dogs", Box((0.5, 0, 0.4, 1))), "x2 < x1 or y2 < y1"),
    (_at((0, 8), "two dogs", Box((0, 0.5, 1, 0.4))), "x2 < x1 or y2 < y1"),
    (_at((0, 8), "two dogs", Box((2, 2, 3, 3))), "has no cell in the grid"),
  ],
)
def test_wrong_markup_is_an_error(small_tokenizer, phrase, message):
  with pytest.raises(ValueError, match=message):
    markup.build(DOGS, [phrase], small_tokenizer)


def test_a_box_has_four_numbers():
  assert Box(np.array([0, 0, 1, 1], np.float32)).xyxy == (0.0, 0.0, 1.0, 1.0)
  with pytest.raises(ValueError, match="four numbers"):
    Box((0.0, 0.0, 1.0))


A, B = "<patch_index_0000>", "<patch_index_0063>"
ALL = (0.0625, 0.0625, 0.9375, 0.9375)


@pytest.mark.parametrize(
  ("text", "found", "phrases"),
  [
    pytest.param("", "", [], id="nothing"),
    pytest.param(
      f"<phrase> a cat</phrase><object>{A}</object> sits",
      "a cat sits",
      [],
      id="one location",
    ),
    pytest.param(
      f"<phrase> a cat</phrase><object>{A}{B}{A}</object> sits",
      "a cat sits",
      [],
      id="three locations",
    ),
    pytest.param(
      f"<phrase> a cat</phrase><object>{A}{B}{A}{B}</object>",
      "a cat",
      [],
      id="no delimiter",
    ),
    pytest.param(
      f"<phrase> a cat</phrase><object>{A}{B}</delimiter_of_multi_objects/>"
      "</object>",
      "a cat",
      [],
      id="delimiter at the end",
    ),
    pytest.param(
      f"<phrase> a cat</phrase><object>{A} big{B}</object> sits",
      "a cat big sits",
      [],
      id="words inside",
    ),
    pytest.param(
      f"<phrase> a cat</phrase><object>{A}{B}", "a cat", [], id="cut off"
    ),
    pytest.param(
      "<phrase> a cat</phrase><object></object>", "a cat", [], id="empty block"
    ),
    pytest.param("<phrase> a cat</phrase> sits", "a cat sits", [], id="no box"),
    pytest.param(
      f"a<object>{A}{B}</object> cat", "a cat", [("", (1, 1), ALL)], id="bare"
    ),
    pytest.param(
      f"<phrase> a cat</phrase><grounding><object>{A}{B}</object>",
      "a cat",
      [("", (5, 5), ALL)],
      id="token before the box",
    ),
    pytest.param(
      f"a cat</phrase><object>{A}{B}</object>",
      "a cat",
      [("", (5, 5), ALL)],
      id="never opened",
    ),
    pytest.param(
      f"<phrase></phrase><object>{A}{B}</object> a cat",
      "a cat",
      [("", (0, 0), ALL)],
      id="empty phrase",
    ),
    pytest.param(
      f"<phrase> a cat<phrase> a dog</phrase><object>{A}{B}</object> sits",
      "a cat a dog sits",
      [("a dog", (6, 11), ALL)],
      id="never closed",
    ),
    pytest.param(
      f"<phrase> a cat</phrase><object>{B}{A}</object>",
      "a cat",
      [("a cat", (0, 5), (0.9375, 0.9375, 0.0625, 0.0625))],
      id="inverted",
    ),
    pytest.param(
      f"<phrase> a cat </phrase><object>{A}{B}</object> <mask> sits {A}. ",
      "a cat sits .",
      [("a cat", (0, 5), ALL)],
      id="spaces and stray tokens",
    ),
    pytest.param(
      f"<object><phrase> a cat</phrase><object>{A}{B}</object></object>",
      "a cat",
      [("a cat", (0, 5), ALL)],
      id="block in a block",
    ),
    pytest.param("<image> x x", "x x", [], id="image never closed"),
    pytest.param(
      "<image> x</image> a<image> x</image> cat", "a cat", [], id="images"
    ),
  ],
)
def test_output_that_is_not_well_formed(small_tokenizer, text, found, phrases):
  expected = GroundedText(
    found, [Phrase(words, span, [Box(xyxy)]) for words, span, xyxy in phrases]
  )
  assert markup.parse(text, small_tokenizer) == expected
  assert markup.parse(small_tokenizer.encode(text), small_tokenizer) == expected


def test_a_space_between_a_phrase_and_its_box(small_tokenizer):
  text = f"<phrase> a cat</phrase> <object>{A}{B}</object>"
  boxes = [Box(ALL)]
  bare = GroundedText("a cat", [Phrase("", (5, 5), boxes)])
  assert markup.parse(text, small_tokenizer) == bare
  # In a prompt, spaces around special tokens mean nothing.
  linked = GroundedText("a cat", [Phrase("a cat", (0, 5), boxes)])
  assert markup.parse(small_tokenizer.encode(text), small_tokenizer) == linked


def test_an_unknown_mode_is_an_error(small_tokenizer):
  # Past the type check of tests, which users do not have.
  build = inspect.unwrap(markup.build)
  with pytest.raises(ValueError, match="\"maximal\", not 'loose'"):
    build(DOGS, [], small_tokenizer, mode="loose")
