"""Shapes are where their boxes say, and can be told from backgrounds."""

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from data.shapes import drawing, scenes, world
from data.shapes.draws import Draws

_ZOOM = 16


def _outline(item: world.SceneObject) -> list[tuple[float, float]]:
  """The shape's corners from its definition, in units of 1/64."""
  x1, y1, x2, y2 = item.corners
  middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
  if item.kind == "square":
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
  if item.kind == "diamond":
    return [(middle_x, y1), (x2, middle_y), (middle_x, y2), (x1, middle_y)]
  if item.kind == "triangle":
    return [(middle_x, y1), (x2, y2), (x1, y2)]
  if item.kind == "circle":
    angles = np.linspace(0, 2 * math.pi, 360, endpoint=False)
    half = item.size / 2
    return [
      (middle_x + half * math.cos(a), middle_y + half * math.sin(a))
      for a in angles
    ]
  if item.kind == "cross":
    near, far = 0.18 * item.size, 0.5 * item.size
    quarter = [(near, -far), (near, -near), (far, -near)]
    points = []
    for _ in range(4):
      points += [(middle_x + u, middle_y + v) for u, v in quarter]
      quarter = [(-v, u) for u, v in quarter]
    return points
  radius = item.size / (2 * math.sin(math.radians(72)))
  points = []
  for corner in range(10):
    angle = math.radians(36 * corner - 90)
    inner = math.cos(math.radians(72)) / math.cos(math.radians(36))
    length = radius * (inner if corner % 2 else 1)
    points.append(
      (
        middle_x + length * math.cos(angle),
        y1 + radius + length * math.sin(angle),
      )
    )
  return points


def _sampled_coverage(item: world.SceneObject) -> np.ndarray:
  """Coverage of each pixel by counting 16 x 16 samples, float [64, 64]."""
  side = 64 * _ZOOM
  mask = Image.new("L", (side, side))
  points = [(x * _ZOOM - 0.5, y * _ZOOM - 0.5) for x, y in _outline(item)]
  ImageDraw.Draw(mask).polygon(points, fill=255)
  fine = np.asarray(mask, np.float64).reshape(64, _ZOOM, 64, _ZOOM)
  return fine.mean((1, 3)) / 255


def _full_coverage(item: world.SceneObject) -> np.ndarray:
  rows, columns, covered = drawing.coverage(item, 64)
  full = np.zeros((64, 64))
  full[rows, columns] = covered
  return full


@pytest.mark.parametrize("kind", world.KINDS)
@pytest.mark.parametrize("size", [14.0, 19.3, 29.7])
def test_box_is_exactly_the_outline(kind, size):
  item = world.SceneObject(kind, "red", size, 10.3, 20.8)
  points = np.array(_outline(item))
  box = (*points.min(0), *points.max(0))
  np.testing.assert_allclose(item.corners, box, atol=1e-2)
  assert item.box_xyxy == tuple(value / 64 for value in item.corners)


@pytest.mark.parametrize("kind", world.KINDS)
@pytest.mark.parametrize("size", [14.0, 19.3, 29.7])
def test_coverage_equals_counting_samples(kind, size):
  item = world.SceneObject(kind, "red", size, 10.3, 20.8)
  drawn, sampled = _full_coverage(item), _sampled_coverage(item)
  # Distances are not exact at corners: single pixels may differ, areas agree.
  assert np.abs(drawn - sampled).mean() < 2e-3
  assert np.abs(drawn - sampled).max() < 0.45
  assert drawn.sum() == pytest.approx(sampled.sum(), rel=0.03)


@pytest.mark.parametrize("kind", world.KINDS)
def test_nothing_is_drawn_a_pixel_outside_the_box(kind):
  for shift in np.linspace(0, 0.95, 5).tolist():
    item = world.SceneObject(kind, "red", 20.0 + shift, 8 + shift, 9 - shift)
    rows, columns = np.nonzero(_full_coverage(item))
    x1, y1, x2, y2 = item.corners
    assert columns.min() >= x1 - 1
    assert columns.max() + 1 <= x2 + 1
    assert rows.min() >= y1 - 1
    assert rows.max() + 1 <= y2 + 1
    # And the box is tight: paint reaches to within two pixels of each side.
    assert columns.min() <= x1 + 2
    assert columns.max() + 1 >= x2 - 2
    assert rows.min() <= y1 + 2
    assert rows.max() + 1 >= y2 - 2


def test_resolution_only_scales():
  item = world.SceneObject("star", "red", 20.0, 8.0, 12.0)
  rows, columns, covered = drawing.coverage(item, 256)
  assert covered.sum() / 16 == pytest.approx(_full_coverage(item).sum(), 0.02)
  assert (rows.start, columns.start) == (47, 31)


@pytest.mark.parametrize("kind", drawing.BACKGROUNDS)
@pytest.mark.parametrize("image_size", [64, 50])
def test_backgrounds_are_dim_and_nearly_grey(kind, image_size):
  for index in range(40):
    picture = drawing.background(kind, Draws(3, 0, index), image_size)
    assert picture.shape == (3, image_size, image_size)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.max() <= 190
    spread = np.ptp(picture.mean((1, 2)))
    assert spread <= 60
  other = drawing.background(kind, Draws(3, 0, 0), image_size)
  assert not np.array_equal(other, picture)


def test_every_object_stands_out():
  for index in range(200):
    scene = scenes.sample_scene(1, index)
    image = scene.image.astype(np.float32)
    painted = sum(_full_coverage(item) for item in scene.objects)
    behind = image[painted == 0]
    for item in scene.objects:
      inside = image[_full_coverage(item) == 1]
      color = np.array(world.COLORS[item.color])
      assert np.abs(inside - color).max() <= 13
      # Nine tenths of the background are clearly another colour.
      contrast = np.abs(behind - inside.mean(0)).max(-1)
      assert np.quantile(contrast, 0.1) > 40, (index, item)


def test_unknown_kinds_are_named():
  with pytest.raises(ValueError, match="hexagon"):
    drawing.signed_distance("hexagon", 9.0, np.zeros(1), np.zeros((1, 1)))
  with pytest.raises(ValueError, match="photo"):
    drawing.background("photo", Draws(0, 0, 0), 64)
