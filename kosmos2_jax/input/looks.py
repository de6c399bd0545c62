"""How each picture of a row is looked at: the numbers that go with its bytes.

Without augmentation and fast decoding there are none, and TensorFlow's graph
is the plain one.
"""

import dataclasses
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kosmos2_jax.input import augmentation, geometry, shuffling, text_ops
from kosmos2_jax.input.augmentation import Augmentation, Draw
from kosmos2_jax.input.documents import Document
from kosmos2_jax.input.schedule import Slot


class Look(NamedTuple):
  """How one picture is looked at.

  Attributes:
    numbers: what `image_ops.augment` is told.
    ratio: side of the picture over that of what the decoder makes of it.
  """

  numbers: tuple[float, ...]
  ratio: int


class Looks:
  """Makes the looks of every document of a stream.

  Attributes:
    augments: whether pictures are augmented.
    scales: whether JPEGs may be decoded smaller than they are.
  """

  def __init__(
    self,
    options: Augmentation,
    *,
    context: text_ops.Context,
    seed: int,
    fast_decode: bool,
  ):
    """Takes the numbers of the stream; see `make_stream`."""
    self.augments = options.is_on
    self.scales = fast_decode
    self._options = options
    self._context = context
    # For recipes an augmented picture is a square, of which all is seen.
    self._square = dataclasses.replace(context, view="crop")
    self._seed = seed

  @property
  def is_on(self) -> bool:
    """Whether pictures are looked at by numbers at all."""
    return self.augments or self.scales

  def spec(self, shape: Sequence[int]) -> dict[str, tuple[list[int], type]]:
    """Shapes and dtypes of `arrays`, for places of pictures of a shape."""
    result = {}
    if self.is_on:
      numbers = [*shape, augmentation.NUM_NUMBERS]
      result["draws"] = (numbers, np.float32)
    if self.scales:
      result["ratios"] = (list(shape), np.int32)
    return result

  def arrays(
    self, rows: Sequence[Sequence[Look]], shape: Sequence[int]
  ) -> list[np.ndarray]:
    """The arrays of `spec`, of the looks of each row's pictures."""
    result = {k: np.zeros(*how) for k, how in self.spec(shape).items()}
    for i, row in enumerate(rows):
      for k, look in enumerate(row):
        if self.is_on:
          result["draws"][i, k] = look.numbers
        if self.scales:
          result["ratios"][i, k] = look.ratio
    return list(result.values())

  def write(
    self, slot: Slot, example: text_ops.Example
  ) -> tuple[Document, list[Look], list[str]]:
    """The document of an example, its looks, and what is left out of it."""
    rng = self._random(slot, "augmentation") if self.augments else None
    context, draw, reasons = self._context, None, []
    image = example.get("image")
    if rng and image:
      wanted = self._options.draw(
        rng,
        shape=example["image_shape"],
        size=context.image_size,
        view=context.view,
      )
      example, draw = augmentation.move(example, wanted, context.image_size)
      context = self._square
      if wanted.flip and not draw.flip:
        reasons.append("flip_refused")
    # Boxes in other pictures are the recipe's own affair: it knows their view.
    boxes_elsewhere = not image and any(
      map(augmentation.has_boxes, example.values())
    )
    example = text_ops.start(example, self._random(slot, "example"))
    for op in slot.kind.recipe:
      example = op(example, context)
    document = text_ops.document_of(example, context)
    looks = []
    for encoded in document.pictures if self.is_on else ():
      shape = geometry.image_shape(encoded)
      own = draw if encoded is image else None
      if rng and own is None:
        own = self._other(rng, shape, uncut=boxes_elsewhere)
      looks.append(self._look(encoded, shape, own))
    return document, looks, [*reasons, *example["reasons"]]

  def _other(
    self, rng: random.Random, shape: tuple[int, int], *, uncut: bool
  ) -> Draw:
    """For a picture whose words may stand anywhere: it is never mirrored."""
    size, view = self._context.image_size, self._context.view
    draw = self._options.draw(rng, shape=shape, size=size, view=view)
    if uncut:
      draw = draw._replace(part_xyxy=geometry.view_xyxy(*shape, size, view))
    return draw._replace(flip=False)

  def _look(
    self, encoded: bytes, shape: tuple[int, int], draw: Draw | None
  ) -> Look:
    size, view = self._context.image_size, self._context.view
    draw = draw or Draw(geometry.view_xyxy(*shape, size, view))
    if not self.scales:
      return Look(draw.numbers, 1)
    ratio = geometry.decode_ratio(encoded, shape, draw.part_xyxy, size)
    # The last pixels of what is decoded may be beyond the picture's border.
    down, across = (side / ratio / -(-side // ratio) for side in shape)
    x1, y1, x2, y2 = draw.part_xyxy
    part = x1 * across, y1 * down, x2 * across, y2 * down
    return Look(draw._replace(part_xyxy=part).numbers, ratio)

  def _random(self, slot: Slot, purpose: str) -> random.Random:
    return shuffling.example_random(
      self._seed, slot.kind.name, purpose, slot.position
    )
