"""The examples in the docstrings of recipes are what the recipes make."""

import pytest

from kosmos2_jax.input import recipes, text_ops
from kosmos2_jax.text import Tokenizer, prompts
from tests.input import golden

# Its cells on a grid of 8 x 8 are 9 and 27.
BOX = (0.15, 0.15, 0.45, 0.45)
CAPTION = "a red circle above a square"


def expression(text):
  return {"expressions": [{"text": text, "box_xyxy": BOX}]}


def message(role, text):
  return {"role": role, "text": text}


def words(text):
  return {"text": text, "image": -1}


def picture(number):
  return {"text": "", "image": number}


EXAMPLES = {
  "by_fields": {
    "messages": [],
    "question": "What color?",
    "answers": ["red"],
    **expression("not this"),
  },
  "grounded_caption": {
    "caption": CAPTION,
    "noun_chunks": [
      {
        "start": CAPTION.index("a square"),
        "end": len(CAPTION),
        "box_xyxy": BOX,
        "score": 0.7,
      }
    ],
  },
  "grounded_vqa": {
    "question": "What is red?",
    "answers": ["left", "a circle", "a circle"],
  },
  "instruction": {
    "images": [golden.PICTURE],
    "messages": [
      message("user", "<image>\nWhat is red?"),
      message("assistant", "a circle"),
      message("user", "Where?"),
      message("assistant", "left"),
    ],
  },
  "interleaved": {
    "images": [golden.PICTURE, b"other"],
    "parts": [
      words("a circle"),
      picture(0),
      words("red"),
      picture(1),
      words("the end"),
    ],
  },
  "language_instruction": {
    "images": [],
    "messages": [
      message("user", "Name a color:\nred or two"),
      message("assistant", "red"),
    ],
  },
  "plain_caption": {"caption": "a red circle"},
  "referring": expression("a circle"),
  "region_description": expression("the red circle"),
  "text": {"text": "a red circle\n\nthe end"},
}


@pytest.fixture(params=["small", "real"])
def tokenizer(request):
  """Both tokenizers, with 8 x 8 locations."""
  if request.param == "small":
    return request.getfixturevalue("small_tokenizer")
  released = request.getfixturevalue("real_tokenizer")
  return Tokenizer(released.model_bytes, 8)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_docstrings_are_true(name, tokenizer, monkeypatch):
  if name == "region_description":
    # The docstring shows the fourth template.
    monkeypatch.setattr(prompts, "DESCRIPTIONS", prompts.DESCRIPTIONS[3:4])
  context = text_ops.Context(tokenizer, 16, "crop", 100, 2)
  example = {"image": golden.PICTURE, "image_shape": (16, 16)}
  recipe = recipes.RECIPES[name]
  result = golden.run(recipe(), {**example, **EXAMPLES[name]}, context)
  document = text_ops.document_of(result, context)
  found = golden.columns(document, tokenizer)
  assert found == golden.documented(recipe)
  assert result["reasons"] == []
