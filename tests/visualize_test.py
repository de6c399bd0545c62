"""Drawings: what is where, in which colour."""

import math

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax import visualize
from kosmos2_jax.text.markup import Box, GroundedText, Phrase

GROUND = np.full((64, 64, 3), 128, np.uint8)
FIRST, SECOND = visualize.COLORS[:2]


def phrase(text, *boxes):
  return Phrase(text, (0, len(text)), tuple(Box(box) for box in boxes))


def count(image, color, box=None):
  image = image.crop(box) if box else image
  return int((np.asarray(image) == color).all(-1).sum())


def has_color(image, color, box):
  return count(image.crop(box), color) > 0


def test_predicted_is_solid_and_annotated_dashed():
  box = (0.25, 0.25, 0.75, 0.75)
  solid = visualize.draw_grounding(
    GROUND, [phrase("a", box)], lines=["a"], max_side=256
  )
  dashed = visualize.draw_grounding(
    GROUND, (), [phrase("a", box)], ["a"], max_side=256
  )
  assert solid.size[0] == dashed.size[0] == 256
  edges = []
  for image in (solid, dashed):
    row = np.asarray(image)[63:65, 64:191]
    edges.append((row == FIRST).all(-1).any(0).mean())
  assert edges[0] == 1
  assert 0.4 < edges[1] < 0.7


def test_boxes_are_where_they_should_be():
  image = visualize.draw_grounding(
    GROUND, [phrase("a", (0.0, 0.5, 0.25, 1.0))], lines=["a"]
  )
  assert has_color(image, FIRST, (0, 128, 65, 256))
  assert not has_color(image, FIRST, (66, 0, 256, 256))
  assert not has_color(image, FIRST, (0, 0, 256, 126))


def test_a_phrase_has_one_colour_everywhere():
  predicted = [phrase("a dog", (0.1, 0.1, 0.4, 0.4))]
  annotated = [
    phrase("a cat", (0.6, 0.6, 0.9, 0.9)),
    phrase("a dog", (0.1, 0.1, 0.4, 0.4)),
  ]
  image = visualize.draw_grounding(
    GROUND, GroundedText("a dog", predicted), annotated, ["here: a dog, a cat"]
  )
  assert not has_color(image, SECOND, (0, 0, 120, 120))
  assert has_color(image, SECOND, (140, 140, 256, 256))
  words = image.crop((0, 257, image.width, image.height))
  assert count(words, FIRST)
  assert count(words, SECOND)
  assert count(words, visualize.BLACK)


def test_phrases_that_are_not_written_beneath_are_labels():
  boxes = [phrase("a dog", (0.7, 0.7, 1.0, 1.0))]
  without = visualize.draw_grounding(GROUND, boxes, lines=["a dog"])
  label = visualize.draw_grounding(GROUND, boxes, lines=["nothing"])
  outline = count(without.crop((0, 0, 256, 256)), FIRST)
  assert count(label, FIRST) > outline + 300
  # At the right border, and yet whole.
  assert has_color(label, FIRST, (180, 178, 254, 200))


def test_small_pictures_grow_by_whole_pixels():
  pixels = np.random.default_rng(0).integers(0, 256, (64, 50, 3), np.uint8)
  image = visualize.draw_grounding(pixels, min_side=256)
  assert image.size == (300, 384)
  grown = pixels.repeat(6, 0).repeat(6, 1)
  np.testing.assert_array_equal(np.asarray(image), grown)


def test_large_pictures_shrink():
  image = visualize.draw_grounding(Image.new("L", (2048, 1000)))
  assert image.size == (512, 250)
  assert image.mode == "RGB"


def test_at_full_size_nothing_shrinks_and_lines_grow():
  box = [phrase("a", (0.25, 0.25, 0.75, 0.75))]
  white = Image.new("RGB", (1600, 1600), "white")
  image = visualize.draw_grounding(white, box, lines=["a"], full_size=True)
  assert image.width == 1600
  # The right side, in the middle: far from the label.
  side = np.asarray(image)[800, 1100:1300]
  assert (side == FIRST).all(-1).sum() == 4
  small = visualize.draw_grounding(
    np.full((400, 400, 3), 255, np.uint8), box, lines=["a"], full_size=True
  )
  assert small.width == 400
  side = np.asarray(small)[200, 275:325]
  assert (side == FIRST).all(-1).sum() == 2
  assert image.height - 1600 == 2 * (small.height - 400)


def test_at_full_size_phrases_are_labels_though_they_are_written_beneath():
  boxes = [phrase("a dog", (0.1, 0.1, 0.9, 0.9))]
  plain = visualize.draw_grounding(GROUND, boxes, lines=["a dog"])
  label = visualize.draw_grounding(
    GROUND, boxes, lines=["a dog"], full_size=True
  )
  top = (24, 24, 90, 44)
  assert count(label, FIRST, top) > count(plain, FIRST, top) + 300
  # Long ones are shortened, and stay inside.
  long = [phrase("dog " * 50, (0.5, 0.5, 0.9, 0.9))]
  image = visualize.draw_grounding(GROUND, long, full_size=True)
  assert count(image, FIRST, (2, 120, 254, 150)) > 2000
  assert count(image, FIRST, (0, 0, 1, 256)) == 0


def test_labels_do_not_hide_each_other():
  boxes = [phrase(text, (0.1, 0.1, 0.9, 0.9)) for text in ("mmmm", "wwww")]
  image = visualize.draw_grounding(GROUND, boxes, full_size=True)
  rows = np.asarray(image)[:, 40:60]
  first = np.flatnonzero((rows == FIRST).all(-1).sum(1) > 2)
  second = np.flatnonzero((rows == SECOND).all(-1).sum(1) > 2)
  # Two box lines of 2 pixels are the second's, as it is drawn last.
  assert len(first) > 5
  assert len(second) > 5
  labels = second[(second > 30) & (second < 100)]
  assert labels.min() > first.max()


def test_of_the_predicted_text_only_the_spans_have_colours():
  text = "a cat and a cat"
  predicted = [Phrase("a cat", (10, 15), (Box((0, 0, 1, 1)),))]
  below = [
    visualize.draw_grounding(GROUND, given, lines=[text]).crop(
      (0, 257, 256, 280)
    )
    for given in (GroundedText(text, predicted), predicted)
  ]
  # "a cat and " is some 65 pixels wide.
  left, right = (0, 0, 62, 23), (66, 0, 256, 23)
  assert count(below[0], FIRST, left) == 0
  assert count(below[0], FIRST, right) > 10
  assert count(below[1], FIRST, left) > 10


def test_text_beneath_a_narrow_picture_is_not_narrow():
  thin = np.zeros((300, 2, 3), np.uint8)
  image = visualize.draw_grounding(thin, lines=["three short words"])
  assert image.width >= 200
  assert image.height < 512 + 40


def test_the_picture_given_is_not_drawn_on():
  given = Image.fromarray(np.full((300, 300, 3), 128, np.uint8))
  visualize.draw_grounding(given, [phrase("a", (0.1, 0.1, 0.9, 0.9))])
  assert count(given, (128, 128, 128)) == 300 * 300


@pytest.mark.parametrize(
  "box",
  [
    (0.8, 0.8, 0.2, 0.2),
    (-3.0, 0.2, 5.0, 0.4),
    (0.5, 0.5, 0.5, 0.5),
    (1.0, 1.0, 1.0, 1.0),
    (math.nan, 0.0, 1.0, math.inf),
  ],
)
def test_any_box_can_be_drawn(box):
  phrases = [phrase("odd", box)]
  image = visualize.draw_grounding(GROUND, phrases, phrases, ["odd"])
  assert bool(count(image.crop((0, 0, 256, 256)), FIRST)) == math.isfinite(
    sum(box)
  )


def test_long_lines_are_wrapped_and_nothing_is_lost():
  words = "word " * 40
  once = visualize.draw_grounding(GROUND, lines=["word"])
  image = visualize.draw_grounding(GROUND, lines=[words])
  assert image.height > once.height + 4 * 18
  ratio = count(image, visualize.BLACK) / count(once, visualize.BLACK)
  # Glyphs at fractions of a pixel are smoothed differently.
  assert 30 < ratio < 55
  whole = visualize.draw_grounding(GROUND, lines=["w" * 200])
  assert whole.height > once.height + 3 * 18


def test_runs_keep_their_colours():
  runs = [("seen ", visualize.GRAY), ("predicted", visualize.BLACK)]
  image = visualize.draw_grounding(GROUND, lines=[runs])
  words = image.crop((0, 257, image.width, image.height))
  assert count(words, visualize.GRAY)
  assert count(words, visualize.BLACK)


def test_grid():
  sizes = [(20, 30), (10, 50), (20, 10), (5, 5)]
  pictures = [Image.new("RGB", size, FIRST) for size in sizes]
  image = visualize.grid(pictures, 2)
  assert image.size == (2 * 26 + 6, 50 + 10 + 18)
  assert count(image, FIRST) == sum(w * h for w, h in sizes)
  assert visualize.grid(pictures[:1], 4).size == (32, 42)


def test_mistakes():
  with pytest.raises(ValueError, match="0 pictures and 3 columns"):
    visualize.grid([], 3)
  with pytest.raises(ValueError, match="1 pictures and 0 columns"):
    visualize.grid([Image.new("RGB", (4, 4))], 0)
  with pytest.raises(ValueError, match=r"found float32 \[8, 8, 3\]"):
    visualize.draw_grounding(np.zeros((8, 8, 3), np.float32))
