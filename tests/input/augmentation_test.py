"""Pictures, boxes and words are changed alike."""

import math
import random

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from kosmos2_jax.input import augmentation, geometry, image_ops, shuffling

SIZE = 32
COLOUR = (200, 40, 90)
ALL = augmentation.Augmentation(
  crop_area=(0.3, 1.0),
  flip_probability=0.5,
  brightness=0.4,
  contrast=0.4,
  saturation=0.4,
)

sides = st.integers(24, 90)
views = st.sampled_from(geometry.VIEWS)
seeds = st.integers(0, 2**32)


@st.composite
def boxes(draw):
  xs = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2)))
  ys = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=2)))
  return xs[0], ys[0], xs[1], ys[1]


def augmented(pixels, draw, size=SIZE):
  numbers = np.array(draw.numbers, np.float32)
  return image_ops.augment(tf.constant(pixels), tf.constant(numbers), size)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
  sides, sides, st.tuples(*[st.floats(0, 1)] * 4), st.booleans(), views, seeds
)
def test_a_box_stays_where_its_pixels_are(
  height, width, numbers, flip, view, seed
):
  x1, y1 = int(numbers[0] * (width - 12)), int(numbers[1] * (height - 12))
  x2 = x1 + 10 + int(numbers[2] * (width - x1 - 12))
  y2 = y1 + 10 + int(numbers[3] * (height - y1 - 12))
  pixels = np.full((height, width, 3), 255, np.uint8)
  pixels[y1:y2, x1:x2] = COLOUR
  box = (x1 / width, y1 / height, x2 / width, y2 / height)
  options = augmentation.Augmentation(
    crop_area=(0.3, 1.0), flip_probability=float(flip)
  )
  draw = options.draw(
    random.Random(seed), shape=(height, width), size=SIZE, view=view
  )
  example = {"image": b"", "expressions": [{"text": "it", "box_xyxy": box}]}
  moved, draw = augmentation.move(example, draw, SIZE)
  assert draw.flip == flip
  kept = geometry.crop_box(
    moved["expressions"][0]["box_xyxy"], height=SIZE, width=SIZE, size=SIZE
  )
  square = augmented(pixels, draw).numpy().astype(int)
  inside = np.abs(square - COLOUR).max(-1) <= 50
  left, top, right, bottom = draw.part_xyxy
  # Pixels of the picture in one of the result: what the filter smears.
  pixel_x = max(1.0, SIZE / (width * (right - left)))
  pixel_y = max(1.0, SIZE / (height * (bottom - top)))
  if kept is None:
    # At most what is too little of a box is to be seen.
    area = (x2 - x1) * (y2 - y1) / (height * width)
    area /= (right - left) * (bottom - top)
    assert inside.mean() <= geometry.MIN_AREA_KEPT * area + 1e-6
    return
  x1, y1, x2, y2 = (value * SIZE for value in kept)
  assert 0 <= x1 < x2 <= SIZE
  assert 0 <= y1 < y2 <= SIZE
  reach_x, reach_y = pixel_x, pixel_y
  core = inside[
    math.ceil(y1 + reach_y) : max(math.floor(y2 - reach_y), 0),
    math.ceil(x1 + reach_x) : max(math.floor(x2 - reach_x), 0),
  ]
  assert core.all()
  # Outside of the box, but for a pixel, nothing has its colour.
  outside = inside.copy()
  outside[
    max(math.floor(y1 - 1), 0) : math.ceil(y2 + 1),
    max(math.floor(x1 - 1), 0) : math.ceil(x2 + 1),
  ] = False
  assert not outside.any()


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(sides, sides, boxes(), views, seeds)
def test_boxes_are_boxes(height, width, box, view, seed):
  rng = random.Random(seed)
  draw = ALL.draw(rng, shape=(height, width), size=SIZE, view=view)
  assert all(0 <= value <= 1 + 1e-12 for value in draw.part_xyxy)
  moved = geometry.box_in_part(box, draw.part_xyxy, flip=draw.flip)
  assert moved[0] <= moved[2]
  assert moved[1] <= moved[3]
  kept = geometry.crop_box(moved, height=SIZE, width=SIZE, size=SIZE)
  if kept is not None:
    x1, y1, x2, y2 = kept
    assert 0 <= x1 < x2 <= 1
    assert 0 <= y1 < y2 <= 1


@hypothesis.given(boxes())
def test_twice_flipped_is_the_box_itself(box):
  whole = (0.0, 0.0, 1.0, 1.0)
  once = geometry.box_in_part(box, whole, flip=True)
  again = geometry.box_in_part(once, whole, flip=True)
  # 1 - (1 - x) loses the last bits of a small x.
  assert again == pytest.approx(box, abs=1e-15)


def test_cuts_have_the_area_and_aspect_asked_for():
  options = augmentation.Augmentation(crop_area=(0.2, 0.5))
  rng = random.Random(0)
  areas, aspects, squashed = [], [], []
  for _ in range(500):
    for view, found in (("crop", aspects), ("squash", squashed)):
      part = options.draw(rng, shape=(60, 90), size=SIZE, view=view).part_xyxy
      width, height = part[2] - part[0], part[3] - part[1]
      found.append(width * 90 / (height * 60))
      if view == "squash":
        areas.append(width * height)
  assert 0.2 <= min(areas) < 0.22 < 0.47 < max(areas) <= 0.5 + 1e-9
  assert 0.75 <= min(aspects) < 0.77 < 1.3 < max(aspects) <= 4 / 3 + 1e-9
  assert min(squashed) == pytest.approx(1.5 * min(aspects), rel=0.02)
  # A picture too narrow: the aspect stays, the area does not.
  part = options.draw(rng, shape=(20, 400), size=SIZE, view="crop").part_xyxy
  aspect = (part[2] - part[0]) * 400 / ((part[3] - part[1]) * 20)
  assert 0.75 <= aspect <= 4 / 3 + 1e-9


@pytest.mark.parametrize("view", geometry.VIEWS)
@pytest.mark.parametrize("shape", [(50, 81), (81, 50), (32, 32), (32, 60)])
def test_without_a_cut_the_part_is_the_view(view, shape):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (*shape, 3), np.uint8)
  options = augmentation.Augmentation(flip_probability=1.0)
  draw = options.draw(random.Random(0), shape=shape, size=SIZE, view=view)
  expected = image_ops.view(tf.constant(pixels), SIZE, view).numpy()
  square = augmented(pixels, draw).numpy()[:, ::-1].astype(int)
  # Places of the filter, in float32, from other quotients.
  assert np.abs(square - expected).max() <= 1
  assert np.mean(square != expected) < 1e-2


def test_colours_by_hand():
  rng = np.random.default_rng(0)
  pixels = rng.integers(60, 120, (SIZE, SIZE, 3), np.uint8)
  weights = np.array([0.299, 0.587, 0.114])
  cases = {
    (1.5, 1.0, 1.0): pixels * 1.5,
    (1.0, 0.0, 1.0): np.full(pixels.shape, (pixels @ weights).mean()),
    (1.0, 1.0, 0.0): (pixels @ weights)[..., None].repeat(3, -1),
    (1.0, 1.0, 1.0): pixels,
    (5.0, 1.0, 1.0): np.full(pixels.shape, 255),
  }
  for factors, expected in cases.items():
    draw = augmentation.Draw((0.0, 0.0, 1.0, 1.0), False, *factors)
    np.testing.assert_allclose(augmented(pixels, draw), expected, atol=0.51)


def test_draws_come_from_the_example_alone():
  def draws(options, seed):
    rngs = [shuffling.example_random(seed, "a", i) for i in range(50)]
    return [
      options.draw(rng, shape=(60, 80), size=SIZE, view="crop") for rng in rngs
    ]

  assert draws(ALL, 1) == draws(ALL, 1)
  assert draws(ALL, 1) != draws(ALL, 2)
  flips = [draw.flip for draw in draws(ALL, 1)]
  assert 10 < sum(flips) < 40
  # Another option takes nothing away from the numbers of this one.
  alone = augmentation.Augmentation(flip_probability=0.5)
  assert [draw.flip for draw in draws(alone, 1)] == flips


def grounded(caption, **more):
  return {
    "id": "1",
    "image": b"",
    "caption": caption,
    "noun_chunks": [
      {"start": 0, "end": 12, "box_xyxy": (0.0, 0.0, 0.5, 1.0), "score": 1.0},
      {"start": 17, "end": 20, "box_xyxy": (0.5, 0.0, 1.0, 0.5), "score": 1.0},
    ],
    "ref_exps": [],
    **more,
  }


def flipped(example):
  draw = augmentation.Draw(flip=True)
  return augmentation.move(example, draw, SIZE)


def test_words_are_mirrored_with_the_picture():
  found, draw = flipped(
    grounded(
      "the left dog and cat",
      expressions=[
        {"text": "cat on the right", "box_xyxy": (0.5, 0.0, 1.0, 1.0)}
      ],
      question="who is on the left?",
      answers=["dog", "the right dog"],
    )
  )
  assert draw.flip
  assert found["caption"] == "the right dog and cat"
  first, second = found["noun_chunks"]
  assert (first["start"], first["end"]) == (0, 13)
  assert first["box_xyxy"] == (0.5, 0.0, 1.0, 1.0)
  assert (second["start"], second["end"]) == (18, 21)
  assert second["score"] == 1.0
  assert found["expressions"][0]["text"] == "cat on the left"
  assert found["question"] == "who is on the right?"
  assert found["answers"] == ["dog", "the left dog"]
  assert found["image_shape"] == (SIZE, SIZE)


@pytest.mark.parametrize(
  "example",
  [
    grounded("he left a dog and cat"),
    grounded("a dog", question="is this right?", answers=["yes"]),
    grounded("a dog", answers=["yes", "all right"]),
    grounded("a dog", expressions=[{"text": "left behind", "box_xyxy": ()}]),
    # Words somewhere else.
    grounded("a dog", title="two dogs"),
    {"image": b"", "messages": [{"role": "user", "text": "what is it?"}]},
  ],
)
def test_what_cannot_be_mirrored_stays_as_it_is(example):
  for item in example.get("expressions", []):
    item["box_xyxy"] = (0.0, 0.0, 0.5, 1.0)
  found, draw = flipped(example)
  assert not draw.flip
  assert found == {**example, "image_shape": (SIZE, SIZE)}


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"crop_area": (0.0, 1.0)}, r"crop_area is .* found \(0.0, 1.0\)"),
    ({"crop_area": (0.5,)}, "crop_area"),
    ({"crop_area": (0.8, 0.5)}, "crop_area"),
    ({"crop_aspect": (2.0, 1.0)}, "crop_aspect"),
    ({"flip_probability": 1.5}, "flip_probability is 0..1, found 1.5"),
    ({"contrast": -0.1}, "contrast is 0..1"),
  ],
)
def test_numbers_outside_of_their_range(options, message):
  with pytest.raises(ValueError, match=message):
    augmentation.Augmentation(**options)


def test_off_is_off():
  assert not augmentation.Augmentation().is_on
  for option in ("flip_probability", "brightness", "contrast", "saturation"):
    assert augmentation.Augmentation(**{option: 0.1}).is_on
  assert augmentation.Augmentation(crop_area=(0.5, 1.0)).is_on
