"""Things in pictures, and the expressions that mean them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from kosmos2_jax.evals.examples import BoxXyxy, Example, expressions, field


class Thing(NamedTuple):
  """A box in a picture, and what is said of it.

  Attributes:
    picture: which one it is, see `picture_name`.
    box: normalised `x1, y1, x2, y2`.
    id: of the question about it.
    image: uint8 [height, width, 3].
    texts: expressions that mean it.
    complete: whether these are all there are.
  """

  picture: str
  box: BoxXyxy
  id: str
  image: Any
  texts: tuple[str, ...]
  complete: bool

  @property
  def key(self) -> tuple:
    """Equal for the same thing."""
    return self.picture, self.box


def read(example: Example) -> Iterator[Thing]:
  """The things of an example that has expressions.

  An example with one expression may have `same_box`: all expressions of its
  thing (as `data.refcoco` writes them).
  """
  by_box: dict[BoxXyxy, list[str]] = {}
  for text, box in expressions(example):
    by_box.setdefault(box, []).append(text)
  every = tuple(example.get("same_box") or ())
  complete = len(by_box) == 1 and bool(every)
  for number, (box, texts) in enumerate(by_box.items()):
    yield Thing(
      picture_name(example),
      box,
      f"{field(example, 'id')}-{number}",
      field(example, "image"),
      every if complete else tuple(texts),
      complete,
    )


def picture_name(example: Example) -> str:
  """Which picture an example is of: its file, or else the example's id."""
  return str(example.get("image_file") or field(example, "id"))
