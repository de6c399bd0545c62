"""Pixels: anti-aliased shapes on plain and textured backgrounds.

A shape is where its signed distance (in pixels, negative inside) is below
zero; its coverage of a pixel is the distance at the pixel's centre, clipped.
Distances are exact next to straight edges, which is where they matter.
"""

import math

import numpy as np
from jaxtyping import Float, Float32, UInt8

from data.shapes import world
from data.shapes.draws import Draws

BACKGROUNDS = ("flat", "gradient", "noise", "stripes", "checker", "blobs")

# Backgrounds stay between these values and close to grey: every colour of
# `world.COLORS` is more saturated than that, and white is brighter.
_DARKEST, _BRIGHTEST = 24.0, 176.0
_TINT = 16.0
_COLOR_JITTER = 12.0
_CROSS_ARM = 0.36  # arm width as a part of the size

_COLORS = {
  name: np.array(rgb, np.float32) for name, rgb in world.COLORS.items()
}


def _edge_normals(*degrees: float) -> list[tuple[float, float]]:
  return [
    (math.cos(math.radians(d)), math.sin(math.radians(d))) for d in degrees
  ]


# Outward normals of the five lines of a star that points up, y downwards.
_STAR_NORMALS = _edge_normals(-90.0, -18.0, 54.0, 126.0, 198.0)
_STAR_RADIUS = 1 / (2 * math.cos(math.radians(18)))  # for width 1
_STAR_INNER = math.cos(math.radians(72))  # line to centre, for radius 1


def signed_distance(
  kind: str,
  size: float,
  x: Float[np.ndarray, " width"],
  y: Float[np.ndarray, "height 1"],
) -> Float[np.ndarray, "height width"]:
  """Distance to the outline of a shape whose bounding box starts at (0, 0).

  Args:
    kind: one of `world.KINDS`.
    size: the larger side of the bounding box, in pixels.
    x: pixel centres from the left side of the box.
    y: pixel centres from its upper side.

  Returns:
    float [height, width], negative inside.

  Raises:
    ValueError: unknown kind.
  """
  if kind not in world.KINDS:
    raise ValueError(f"Expected a kind of {list(world.KINDS)}, got {kind!r}.")
  width, height = (size * part for part in world.KINDS[kind])
  u = x - 0.5 * width
  v = y - 0.5 * height
  abs_u, abs_v = np.abs(u), np.abs(v)
  inside_box = np.maximum(abs_u - 0.5 * width, abs_v - 0.5 * height)
  if kind == "square":
    return inside_box
  if kind == "circle":
    return np.sqrt(u * u + v * v) - 0.5 * size
  if kind == "cross":
    arm = 0.5 * _CROSS_ARM * size
    half = 0.5 * size
    upright = np.maximum(abs_u - arm, abs_v - half)
    level = np.maximum(abs_u - half, abs_v - arm)
    return np.minimum(upright, level)
  if kind == "diamond":
    scale = 1 / math.hypot(width, height)
    slanted = abs_u * (height * scale) + abs_v * (width * scale)
    slanted -= 0.5 * width * height * scale
    return np.maximum(slanted, inside_box)
  if kind == "triangle":
    # The two upper edges; the box's lower edge is the third one.
    scale = 1 / math.hypot(0.5 * width, height)
    slanted = abs_u * (height * scale) - y * (0.5 * width * scale)
    return np.maximum(slanted, inside_box)
  # A star: inside of at least four of the five lines through its points, so
  # the second largest of the distances to them decides.
  radius = _STAR_RADIUS * size
  down = y - radius
  largest = second = np.full_like(inside_box, -np.inf)
  for normal_x, normal_y in _STAR_NORMALS:
    distance = u * normal_x + (down * normal_y - _STAR_INNER * radius)
    second = np.maximum(second, np.minimum(largest, distance))
    largest = np.maximum(largest, distance)
  return np.maximum(second, inside_box)


def coverage(
  item: world.SceneObject, image_size: int
) -> tuple[slice, slice, Float32[np.ndarray, "height width"]]:
  """How much of each pixel an object covers.

  Returns:
    Rows and columns of the patch it touches, and its coverage there, float32
    [height, width] in 0..1.
  """
  scale = image_size / world.CANVAS
  x1, y1, x2, y2 = (value * scale for value in item.corners)
  top, bottom = max(int(y1) - 1, 0), min(int(y2) + 2, image_size)
  left, right = max(int(x1) - 1, 0), min(int(x2) + 2, image_size)
  x = np.arange(left, right, dtype=np.float32) + np.float32(0.5 - x1)
  y = np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - y1)
  distance = signed_distance(item.kind, item.size * scale, x, y[:, None])
  covered = np.minimum(np.maximum(0.5 - distance, 0), 1)
  return slice(top, bottom), slice(left, right), covered


def _grey(
  draws: Draws, low: float, high: float
) -> Float32[np.ndarray, "3 1 1"]:
  """A nearly grey colour."""
  level = draws.uniform(low, high)
  color = [level + draws.uniform(-_TINT, _TINT) for _ in range(3)]
  return np.array(color, np.float32)[:, None, None]


def background(
  kind: str, draws: Draws, image_size: int
) -> Float32[np.ndarray, "3 image_size image_size"]:
  """A background picture in 0..255, one plane for each colour channel.

  Planes, because NumPy is several times slower along a last axis of three.

  Raises:
    ValueError: unknown kind.
  """
  size = image_size
  low, high = _DARKEST + _TINT, _BRIGHTEST - _TINT
  first = _grey(draws, low, high)
  if kind == "flat":
    picture = np.empty((3, size, size), np.float32)
    picture[:] = first
    return picture
  ticks = np.arange(size, dtype=np.float32) * np.float32(1 / size)
  if kind == "noise":
    amplitude = draws.uniform(6.0, 26.0)
    planes = 3 if draws.chance(0.5) else 1
    noise = draws.noise(planes * size * size).reshape(planes, size, size)
    noise *= np.float32(amplitude)
    return noise + np.clip(first, low + amplitude, high - amplitude)
  if kind == "blobs":
    count = draws.integer(3, 7)
    where = np.array([draws.unit() for _ in range(2 * count)], np.float32)
    sharpness = [draws.uniform(3.0, 7.0) for _ in range(count)]
    tints = [_grey(draws, -40.0, 40.0) for _ in range(count)]
    distance = ticks - where.reshape(2, count, 1)
    distance *= np.array(sharpness, np.float32)[:, None]
    across, down = np.exp(-(distance * distance))
    # [3, size, count] @ [count, size]
    picture = (np.concatenate(tints, -1) * down.T) @ across
    picture += first
    return np.clip(picture, _DARKEST, _BRIGHTEST)
  if kind == "gradient":
    second = _grey(draws, low, high)
    angle = draws.uniform(0.0, 2 * math.pi)
    right, down = math.cos(angle), math.sin(angle)
    right, down = (part / (abs(right) + abs(down)) for part in (right, down))
    start = min(right, 0.0) + min(down, 0.0)
    weight = (ticks * right - start) + (ticks * down)[:, None]
  elif kind == "stripes":
    second = first + _contrast(draws)
    angle = draws.choice((0.0, 0.25, 0.5, 0.75)) * math.pi
    period = draws.uniform(5.0, 16.0) / world.CANVAS
    phase = ticks * (math.cos(angle) / period) + draws.unit()
    phase = phase + (ticks * (math.sin(angle) / period))[:, None]
    weight = (phase - np.floor(phase) < 0.5).astype(np.float32)
  elif kind == "checker":
    second = first + _contrast(draws)
    cells = ticks * (world.CANVAS / draws.uniform(4.0, 12.0))
    odd_column, odd_row = (np.floor(cells + draws.unit()) % 2 for _ in range(2))
    weight = np.abs(odd_column - odd_row[:, None])
  else:
    raise ValueError(f"Expected a background of {BACKGROUNDS}, got {kind!r}.")
  picture = weight * (second - first)
  picture += first
  return np.clip(picture, _DARKEST, _BRIGHTEST)


def _contrast(draws: Draws) -> np.float32:
  """How much brighter (or darker) the second colour of a pattern is."""
  return np.float32(draws.uniform(10.0, 28.0) * draws.choice((-1, 1)))


def render(
  objects: tuple[world.SceneObject, ...],
  background_kind: str,
  draws: Draws,
  image_size: int,
) -> UInt8[np.ndarray, "image_size image_size 3"]:
  """The picture of a scene."""
  picture = background(background_kind, draws, image_size)
  for item in objects:
    jitter = [draws.uniform(-_COLOR_JITTER, _COLOR_JITTER) for _ in range(3)]
    color = _COLORS[item.color] + np.array(jitter, np.float32)
    rows, columns, covered = coverage(item, image_size)
    patch = picture[:, rows, columns]
    patch += covered * (color[:, None, None] - patch)
  picture += 0.5
  pixels = np.minimum(picture, 255, out=picture).astype(np.uint8)
  return np.ascontiguousarray(pixels.transpose(1, 2, 0))
