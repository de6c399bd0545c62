"""The prompts, as text after the picture; `Tokenizer.encode` reads them."""

from kosmos2_jax.text import location
from kosmos2_jax.text import vocab as vocab_lib

_BRIEF = "An image of"
_DETAILED = "Describe this image in detail:"


def caption() -> str:
  """Asks for a caption without boxes."""
  return _BRIEF


def grounded_caption(detailed: bool = False) -> str:
  """Asks for a caption, brief or detailed, with boxes."""
  return vocab_lib.GROUNDING + (_DETAILED if detailed else _BRIEF)


def refer(expression: str) -> str:
  """Asks where the thing is that an expression describes."""
  expression = expression.strip()
  return (
    f"{vocab_lib.GROUNDING}{vocab_lib.PHRASE}{expression}{vocab_lib.PHRASE_END}"
  )


def describe(
  box_xyxy: location.BoxLike, num_bins: int = 32, rounding: str = "floor"
) -> str:
  """Asks what is in a box (normalised `x1, y1, x2, y2`).

  Raises:
    ValueError: see `location.box_to_bins`, which takes `rounding`.
  """
  cells = location.box_to_bins(box_xyxy, num_bins, rounding)
  place = "".join(vocab_lib.location_text(cell) for cell in cells)
  return (
    f"{vocab_lib.GROUNDING}{vocab_lib.PHRASE}It{vocab_lib.PHRASE_END}"
    f"{vocab_lib.OBJECT}{place}{vocab_lib.OBJECT_END} is"
  )


def question(text: str, grounded: bool = False) -> str:
  """Asks a question; `grounded` asks for boxes in the answer, too."""
  prefix = vocab_lib.GROUNDING if grounded else ""
  return f"{prefix}Question: {text.strip()} Answer:"
