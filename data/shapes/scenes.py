"""Scenes of one to four coloured shapes, each a pure function of its number.

scene = sample_scene(seed=0, index=7, split="train")
scene.image        # uint8 [64, 64, 3]
scene.caption      # "a red circle left of a blue square"
scene.expressions  # (("the red circle", (x1, y1, x2, y2)), ...)
"""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from data.shapes import drawing, language, world
from data.shapes.draws import Draws

# The number of a split's random stream; never reuse or change one.
SPLITS = {"train": 0, "validation": 1, "test": 2, "test_unseen_pairs": 3}

_MARGIN = 1.0  # between bounding boxes, and to the picture's border
_TRIES_PER_OBJECT = 24
_TRIES_PER_SCENE = 1000
_SHRINK = 0.96
_SAME_PAIR, _SAME_KIND, _SAME_COLOR = 0.15, 0.35, 0.55  # cumulative
_SECOND_HELD_OUT = 0.2

_COLORS, _KINDS = tuple(world.COLORS), tuple(world.KINDS)
_HELD_OUT = tuple(sorted(world.HELD_OUT_PAIRS))


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
  """A picture and everything that is known about it.

  Attributes:
    image: uint8 [image_size, image_size, 3].
    caption: names every object.
    noun_chunks: the caption's phrases, one item for each box.
    ref_exps: the same phrases as referring expressions, nested.
    expressions: texts that mean exactly one object each.
    objects: the scene graph, in no particular order.
    background: one of `drawing.BACKGROUNDS`.
  """

  image: UInt8[np.ndarray, "image_size image_size 3"]
  caption: str
  noun_chunks: tuple[language.Span, ...]
  ref_exps: tuple[language.Span, ...]
  expressions: tuple[language.Expression, ...]
  objects: tuple[world.SceneObject, ...]
  background: str


def _sample_pair(
  draws: Draws, pairs: list[tuple[str, str]], held_out: bool
) -> tuple[str, str]:
  """Colour and kind of the next object, often like those of another one."""
  if held_out:
    return draws.choice(_HELD_OUT)
  while True:
    color, kind = draws.choice(_COLORS), draws.choice(_KINDS)
    if pairs:
      other_color, other_kind = draws.choice(pairs)
      how = draws.unit()
      if how < _SAME_PAIR:
        return other_color, other_kind
      if how < _SAME_KIND:
        kind = other_kind
      elif how < _SAME_COLOR:
        color = other_color
    if (color, kind) not in world.HELD_OUT_PAIRS:
      return color, kind


def _place(
  draws: Draws,
  kind: str,
  color: str,
  others: list[world.SceneObject],
) -> world.SceneObject | None:
  """Puts an object where there is room, smaller if need be."""
  size = draws.uniform(world.MIN_SIZE, world.MAX_SIZE)
  width, height = world.KINDS[kind]
  for _ in range(_TRIES_PER_OBJECT):
    x = draws.uniform(_MARGIN, world.CANVAS - _MARGIN - width * size)
    y = draws.uniform(_MARGIN, world.CANVAS - _MARGIN - height * size)
    x2, y2 = x + width * size + _MARGIN, y + height * size + _MARGIN
    for other in others:
      left, top, right, bottom = other.corners
      beside = x >= right + _MARGIN or x2 <= left
      if not beside and y < bottom + _MARGIN and y2 > top:
        break
    else:
      return world.SceneObject(kind, color, size, x, y)
    size = max(world.MIN_SIZE, size * _SHRINK)
  return None


def _sample_objects(
  draws: Draws, count: int, unseen: bool
) -> tuple[world.SceneObject, ...] | None:
  """Objects that do not touch each other; None when there was no room."""
  pairs: list[tuple[str, str]] = []
  for number in range(count):
    held_out = unseen and (number == 0 or draws.chance(_SECOND_HELD_OUT))
    pairs.append(_sample_pair(draws, pairs, held_out))
  objects: list[world.SceneObject] = []
  for color, kind in pairs:
    item = _place(draws, kind, color, objects)
    if item is None:
      return None
    objects.append(item)
  draws.shuffle(objects)
  return tuple(objects)


def sample_scene(
  seed: int,
  index: int,
  *,
  split: str = "train",
  min_shapes: int = 1,
  max_shapes: int = 4,
  image_size: int = 64,
) -> Scene:
  """Samples scene `index` of a split; the same arguments, the same scene.

  Colour-kind pairs of `world.HELD_OUT_PAIRS` occur in split
  "test_unseen_pairs" only, in every scene of it, and all its expressions are
  about objects of such pairs. Every scene has at least one expression.

  Raises:
    ValueError: an argument is out of range.
  """
  if split not in SPLITS:
    raise ValueError(f"Expected a split of {sorted(SPLITS)}, got {split!r}.")
  if not 1 <= min_shapes <= max_shapes <= 4:
    raise ValueError(
      "Expected 1 <= min_shapes <= max_shapes <= 4, got "
      f"min_shapes={min_shapes}, max_shapes={max_shapes}."
    )
  if image_size < 16:
    raise ValueError(f"Expected image_size >= 16 pixels, got {image_size}.")
  draws = Draws(seed, SPLITS[split], index)
  unseen = split == "test_unseen_pairs"
  count = draws.integer(min_shapes, max_shapes)
  for _ in range(_TRIES_PER_SCENE):
    objects = _sample_objects(draws, count, unseen)
    if objects is None:
      continue
    references = language.refer(objects, draws)
    if unseen:
      references = [
        (reference, target)
        for reference, target in references
        if objects[target].pair in world.HELD_OUT_PAIRS
      ]
    if references:
      break
  else:
    raise RuntimeError(
      f"No scene of {count} shapes found in {_TRIES_PER_SCENE} tries "
      f"(seed={seed}, split={split!r}, index={index})."
    )
  caption = language.describe(objects, draws)
  background = draws.choice(drawing.BACKGROUNDS)
  return Scene(
    image=drawing.render(objects, background, draws, image_size),
    caption=caption.text,
    noun_chunks=caption.noun_chunks,
    ref_exps=caption.ref_exps,
    expressions=tuple(
      language.Expression(reference.text, objects[target].box_xyxy)
      for reference, target in references
    ),
    objects=objects,
    background=background,
  )
