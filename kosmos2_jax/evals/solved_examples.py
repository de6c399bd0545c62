"""Solved examples that are shown before a question about a box."""

import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kosmos2_jax.evals import things
from kosmos2_jax.evals.examples import BoxXyxy, Example, expressions, field
from kosmos2_jax.evals.protocol import Json
from kosmos2_jax.text import prompts


class Solved(NamedTuple):
  """A picture whose things can be shown.

  Attributes:
    picture: which one it is, see `things.picture_name`.
    image: uint8 [height, width, 3].
    items: its things: expression and box, each.
  """

  picture: str
  image: Any
  items: tuple[tuple[str, BoxXyxy], ...]


class Shot(NamedTuple):
  """One solved example: a picture, an expression and the box it means."""

  image: Any
  text: str
  box: BoxXyxy


def read(examples: Iterable[Example], count: int) -> tuple[Solved, ...]:
  """The first pictures that have something to show.

  Args:
    examples: with `image` and `expressions`; read until there are enough.
    count: how many pictures at most.
  """
  solved: dict[str, Solved] = {}
  for example in examples:
    # A tag in a prompt would be obeyed, so such a text cannot be shown.
    items = tuple(
      (text.strip(), box)
      for text, box in expressions(example)
      if text.strip() and "<" not in text
    )
    name = things.picture_name(example)
    if items and name not in solved:
      solved[name] = Solved(name, field(example, "image"), items)
    if len(solved) == count:
      break
  return tuple(solved.values())


def draw(
  solved: Sequence[Solved],
  count: int,
  seed: int,
  question_id: str,
  picture: str,
) -> list[Shot]:
  """Draws the examples for a question, each of another picture.

  Args:
    solved: to choose from; more than `count`.
    count: how many.
    seed: with the question's id all that the choice depends on.
    question_id: of the question.
    picture: that the question is about; it is not chosen.
  """
  others = [one for one in solved if one.picture != picture]
  rng = np.random.default_rng([seed, zlib.crc32(question_id.encode())])
  shots = []
  for i in rng.choice(len(others), count, replace=False).tolist():
    text, box = others[i].items[rng.integers(len(others[i].items))]
    shots.append(Shot(others[i].image, text, box))
  return shots


def write_prompt(ask: Json, num_bins: int) -> str:
  """The prompt of a question, with its solved examples.

  Args:
    ask: of the question: `box`, and `shots`, each with `box` and `text`.
    num_bins: cells per side of the location grid.
  """
  shown = [
    prompts.solved_description(shot["box"], shot["text"], num_bins)
    for shot in ask["shots"]
  ]
  return prompts.behind_pictures(
    [*shown, prompts.describe(ask["box"], num_bins)]
  )
