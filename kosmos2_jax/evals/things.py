"""Things in pictures, and the expressions that mean them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from kosmos2_jax.evals.examples import BoxXyxy, Example, expressions, field


class Thing(NamedTuple):
  """What one expression means, and the question that asks for it."""

  picture: str
  box: BoxXyxy
  id: str
  image: Any
  text: str

  @property
  def key(self) -> tuple:
    """Equal for the same thing."""
    return self.picture, self.box


def read(example: Example) -> Iterator[Thing]:
  """One for each expression; those of one box come together."""
  by_box: dict[BoxXyxy, list[str]] = {}
  for text, box in expressions(example):
    by_box.setdefault(box, []).append(text)
  picture = picture_name(example)
  for number, (box, texts) in enumerate(by_box.items()):
    name = f"{field(example, 'id')}-{number}"
    for text in texts:
      yield Thing(picture, box, name, field(example, "image"), text)


def picture_name(example: Example) -> str:
  """Which picture an example is of: its file, or else the example's id."""
  return str(example.get("image_file") or field(example, "id"))
