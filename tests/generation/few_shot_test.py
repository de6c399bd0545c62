"""Solved examples before a question: letter by letter."""

import pytest

from kosmos2_jax.generation import few_shot
from kosmos2_jax.text import prompts

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
EXAMPLES = (("a.png", " the cup ", LEFT), ("b.png", "who?", RIGHT))
AT_LEFT = "<object><patch_index_0000><patch_index_0060></object>"
AT_RIGHT = "<object><patch_index_0004><patch_index_0063></object>"


def test_references():
  asked = [prompts.refer("a dog"), prompts.refer("a cat")]
  texts, images = few_shot.references(EXAMPLES, asked, ["c.png", "d.png"], 8)
  shown = (
    f"<image><grounding><phrase>the cup</phrase>{AT_LEFT}"
    f"<image><grounding><phrase>who?</phrase>{AT_RIGHT}<image>"
  )
  assert texts == [shown + prompt for prompt in asked]
  assert images == [["a.png", "b.png", "c.png"], ["a.png", "b.png", "d.png"]]


def test_description():
  asked = prompts.describe(RIGHT, 8)
  text, images = few_shot.description(EXAMPLES, asked, "c.png", 8, "floor")
  it = "<image><grounding><phrase>It</phrase>"
  assert text == (
    f"{it}{AT_LEFT} is the cup.{it}{AT_RIGHT} is who?{it}{AT_RIGHT} is"
  )
  assert images == ["a.png", "b.png", "c.png"]


def test_without_examples_nothing_changes():
  assert few_shot.references((), ["x"], ["c"], 8) == (["x"], ["c"])
  assert few_shot.description((), "x", "c.png", 8, "floor") == ("x", "c.png")


def test_a_box_is_a_box():
  wrong = [("a.png", "a cup", (0.5, 0.0, 0.1, 1.0))]
  with pytest.raises(ValueError, match="x1 <= x2"):
    few_shot.references(wrong, ["x"], ["c.png"], 8)
