"""Scenes are pure functions of their number, and splits keep their promise."""

import hashlib
import itertools

import numpy as np
import pytest

from data.shapes import drawing, scenes, world
from data.shapes.draws import Draws


def _facts(scene: scenes.Scene) -> tuple:
  return (
    scene.image.tobytes(),
    scene.caption,
    scene.noun_chunks,
    scene.ref_exps,
    scene.expressions,
    scene.objects,
    scene.background,
  )


def test_same_number_same_scene_in_any_order():
  forward = [_facts(scenes.sample_scene(5, i)) for i in range(50)]
  backward = [_facts(scenes.sample_scene(5, i)) for i in reversed(range(50))]
  assert forward == backward[::-1]


def test_another_number_another_scene():
  images = {
    scenes.sample_scene(seed, index, split=split).image.tobytes()
    for seed, index, split in itertools.product(
      (0, 1, 2**40), (0, 1, 2, 2**32 - 1), scenes.SPLITS
    )
  }
  assert len(images) == 3 * 4 * len(scenes.SPLITS)


def test_scenes_stay_as_they_are():
  """Prepared data and published numbers refer to these very scenes."""
  scene = scenes.sample_scene(0, 7)
  words = repr((scene.caption, scene.expressions, scene.objects))
  assert hashlib.sha256(words.encode()).hexdigest()[:16] == "65414d154517e422"


def test_draws_are_uniform():
  draws = Draws(0, 0, 0)
  numbers = np.array([draws.unit() for _ in range(20_000)])
  assert numbers.min() >= 0
  assert numbers.max() < 1
  assert abs(numbers.mean() - 0.5) < 0.01
  assert {draws.integer(2, 4) for _ in range(100)} == {2, 3, 4}
  orders = set()
  for _ in range(200):
    items = [1, 2, 3]
    draws.shuffle(items)
    orders.add(tuple(items))
  assert len(orders) == 6
  noise = draws.noise(10_001)
  assert noise.shape == (10_001,)
  assert noise.dtype == np.float32
  assert noise.min() >= -1
  assert noise.max() < 1
  assert abs(noise.mean()) < 0.02


@pytest.mark.parametrize("split", scenes.SPLITS)
def test_held_out_pairs_are_where_they_belong(sampled, split):
  seen = set()
  for scene in sampled(split):
    pairs = {item.pair for item in scene.objects}
    seen |= pairs
    if split == "test_unseen_pairs":
      assert pairs & world.HELD_OUT_PAIRS
      meant = {
        item.pair
        for item in scene.objects
        for _, box in scene.expressions
        if item.box_xyxy == box
      }
      assert meant
      assert meant <= world.HELD_OUT_PAIRS
    else:
      assert not pairs & world.HELD_OUT_PAIRS
  everything = set(itertools.product(world.COLORS, world.KINDS))
  if split == "test_unseen_pairs":
    assert seen == everything
  else:
    assert seen == everything - world.HELD_OUT_PAIRS


def test_each_color_and_kind_is_seen_in_training():
  assert len(world.HELD_OUT_PAIRS) == 6
  colors, kinds = zip(*world.HELD_OUT_PAIRS, strict=True)
  assert len(set(colors)) == 6
  assert set(kinds) == set(world.KINDS)
  assert set(colors) <= set(world.COLORS)


def test_objects_are_inside_apart_and_of_the_stated_sizes(sampled):
  sizes, backgrounds, counts = [], set(), set()
  for scene in sampled("train"):
    backgrounds.add(scene.background)
    counts.add(len(scene.objects))
    for item in scene.objects:
      assert world.MIN_SIZE <= item.size <= world.MAX_SIZE
      sizes.append(item.size)
      x1, y1, x2, y2 = item.corners
      assert max(x2 - x1, y2 - y1) == pytest.approx(item.size)
      assert min(x1, y1) >= 0.99
      assert max(x2, y2) <= 63.01
    for one, two in itertools.combinations(scene.objects, 2):
      a, b = one.corners, two.corners
      gap = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
      assert gap >= 0.99
  assert backgrounds == set(drawing.BACKGROUNDS)
  assert counts == {1, 2, 3, 4}
  small, big = np.mean(np.array(sizes) <= 17), np.mean(np.array(sizes) >= 24)
  assert small > 0.15
  assert big > 0.15


def test_number_of_shapes_and_resolution_are_arguments():
  for index in range(50):
    scene = scenes.sample_scene(
      0, index, min_shapes=3, max_shapes=3, image_size=96
    )
    assert len(scene.objects) == 3
    assert scene.image.shape == (96, 96, 3)
    assert scene.image.dtype == np.uint8
    small = scenes.sample_scene(0, index, min_shapes=3, max_shapes=3)
    assert small.objects == scene.objects
    assert small.caption == scene.caption


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"split": "dev"}, "validation.*'dev'"),
    ({"min_shapes": 0}, "min_shapes=0"),
    ({"max_shapes": 5}, "max_shapes=5"),
    ({"image_size": 8}, "got 8"),
    ({"index": -1}, "index=-1"),
    ({"seed": -1}, "seed=-1"),
  ],
)
def test_wrong_arguments_are_named(arguments, message):
  with pytest.raises(ValueError, match=message):
    scenes.sample_scene(**{"seed": 0, "index": 0, **arguments})
