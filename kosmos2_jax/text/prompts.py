"""The prompts, as text after the picture; `Tokenizer.encode` reads them.

Training writes the same formats, from the same constants; see `input`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from kosmos2_jax.text import location
from kosmos2_jax.text import vocab as vocab_lib

_BRIEF = "An image of"
_DETAILED = "Describe this image in detail:"
# What stands before and behind a question.
QUESTION = "Question: "
ANSWER = " Answer:"
# What ends a sentence, so that no full stop is put behind it.
STOPS = (".", "!", "?", "。", "！", "？")


class Description(NamedTuple):
  """How a box is described: `before`, the `phrase` with the box, `after`.

  The description follows behind a space, and a full stop ends it.
  """

  before: str
  phrase: str
  after: str


_IT_IS = Description("", "It", " is")
# The sentences of the paper's instructions; the prompt is one of them.
DESCRIPTIONS = (
  Description("What is ", "it", "? It is"),
  Description("What is ", "this", "? This is"),
  Description("Describe ", "this object", ". This object is"),
  _IT_IS,
  Description("", "This", " is"),
  Description("", "The object", " is"),
)


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


def refer_within(before: str, phrase: str) -> str:
  """Asks where the thing is that a phrase of a caption names.

  Args:
    before: the caption up to the phrase; what follows the phrase is not told.
    phrase: such as "an orange hat".
  """
  return (
    f"{vocab_lib.GROUNDING}{before}"
    f" {vocab_lib.PHRASE}{phrase.strip()}{vocab_lib.PHRASE_END}"
  )


def describe(
  box_xyxy: location.BoxLike, num_bins: int = 32, rounding: str = "floor"
) -> str:
  """Asks what is in a box (normalised `x1, y1, x2, y2`).

  Raises:
    ValueError: see `location.box_to_bins`, which takes `rounding`.
  """
  return (
    f"{vocab_lib.GROUNDING}{_IT_IS.before}"
    f"{vocab_lib.PHRASE}{_IT_IS.phrase}{vocab_lib.PHRASE_END}"
    f"{_object(box_xyxy, num_bins, rounding)}{_IT_IS.after}"
  )


def solved_reference(
  expression: str,
  box_xyxy: location.BoxLike,
  num_bins: int = 32,
  rounding: str = "floor",
) -> str:
  """`refer` with its answer: an example to be shown before a question.

  Raises:
    ValueError: see `location.box_to_bins`, which takes `rounding`.
  """
  return refer(expression) + _object(box_xyxy, num_bins, rounding)


def solved_description(
  box_xyxy: location.BoxLike,
  expression: str,
  num_bins: int = 32,
  rounding: str = "floor",
) -> str:
  """`describe` with its answer and a full stop: an example to be shown.

  Raises:
    ValueError: see `location.box_to_bins`, which takes `rounding`.
  """
  asked = describe(box_xyxy, num_bins, rounding)
  return f"{asked} {expression}{full_stop(expression)}"


def full_stop(sentence: str) -> str:
  """The full stop a sentence lacks: "" where it ends with one, or with `!`."""
  return "" if sentence.endswith(STOPS) else "."


def behind_pictures(texts: Sequence[str]) -> str:
  """Texts one after the other, each behind a picture of its own.

  So solved examples stand before a question, the last of `texts`: the form of
  the training instructions, joined as the original joins them.
  """
  return "".join(vocab_lib.IMAGE + text for text in texts)


def _object(box_xyxy: location.BoxLike, num_bins: int, rounding: str) -> str:
  cells = location.box_to_bins(box_xyxy, num_bins, rounding)
  place = "".join(vocab_lib.location_text(cell) for cell in cells)
  return f"{vocab_lib.OBJECT}{place}{vocab_lib.OBJECT_END}"


def question(text: str, grounded: bool = False) -> str:
  """Asks a question; `grounded` asks for boxes in the answer, too."""
  prefix = vocab_lib.GROUNDING if grounded else ""
  return f"{prefix}{QUESTION}{text.strip()}{ANSWER}"


def instruction(text: str) -> str:
  """Asks, without a picture, for what an instruction says.

  Its lines are closed by `</line>`, as those of text are; an input that the
  instruction speaks of is its last lines.
  """
  return "".join(line + vocab_lib.LINE for line in lines(text))


def lines(text: str) -> list[str]:
  """The lines of a text that are not blank."""
  return [line for line in text.split("\n") if line.strip()]
