"""Solved examples that are shown before a question, each with its picture."""

from collections.abc import Sequence

from kosmos2_jax.generation.prompting import ImageLike, checked_box
from kosmos2_jax.text import prompts

# A picture, an expression, and the box it means: normalised x1, y1, x2, y2.
SolvedExample = tuple[ImageLike, str, Sequence[float]]


def references(
  examples: Sequence[SolvedExample],
  asked: Sequence[str],
  images: Sequence[ImageLike],
  num_bins: int,
) -> tuple[list[str], list]:
  """Prompts that ask where something is, and their pictures, with examples.

  Args:
    examples: shown before every prompt, in order.
    asked: the prompts; see `text.prompts.refer`.
    images: of each prompt.
    num_bins: cells per side of the location grid.

  Raises:
    ValueError: for an example whose box is none.
  """
  shown = [
    prompts.solved_reference(text, checked_box(box), num_bins)
    for _, text, box in examples
  ]
  return _behind(examples, shown, asked, images)


def description(
  examples: Sequence[SolvedExample],
  asked: str,
  image: ImageLike,
  num_bins: int,
  rounding: str,
) -> tuple[str, ImageLike | list[ImageLike]]:
  """A prompt that asks what is in a box, and its pictures, with examples.

  Args:
    examples: shown before it, in order.
    asked: the prompt; see `text.prompts.describe`.
    image: of the prompt.
    num_bins: cells per side of the location grid.
    rounding: see `text.location.box_to_bins`.

  Raises:
    ValueError: for an example whose box is none.
  """
  shown = [
    prompts.solved_description(
      checked_box(box), text.strip(), num_bins, rounding
    )
    for _, text, box in examples
  ]
  [prompt], [pictures] = _behind(examples, shown, [asked], [image])
  return prompt, pictures


def _behind(examples, shown, asked, images):
  if not shown:
    return list(asked), list(images)
  pictures = [picture for picture, _, _ in examples]
  texts = [prompts.behind_pictures([*shown, prompt]) for prompt in asked]
  return texts, [[*pictures, image] for image in images]
