"""What becomes of an example depends on its fields."""

import numpy as np
import pytest

from kosmos2_jax.input import dispatch_ops, recipes, text_ops
from tests.input import golden
from tests.input.conftest import encode

BOX = (0.1, 0.1, 0.5, 0.5)
PICTURE = encode(np.zeros((16, 16, 3), np.uint8))
# Every field there is, as one table of records has them all.
EMPTY = {
  "id": "7",
  "images": [PICTURE],
  "caption": "",
  "noun_chunks": [],
  "ref_exps": [],
  "expressions": [],
  "question": "",
  "answers": [],
  "messages": [],
  "message_phrases": [],
}
CHUNKS = [{"start": 0, "end": 5, "box_xyxy": BOX, "score": 1.0}]
MESSAGES = [
  {"role": "user", "text": "<image> What?"},
  {"role": "assistant", "text": "a cow"},
]
FIELDS = {
  "plain_caption": {"caption": "a dog"},
  "grounded_caption": {"caption": "a dog", "noun_chunks": CHUNKS},
  "referring": {"expressions": [{"text": "a cat", "box_xyxy": BOX}]},
  "region_description": {"expressions": [{"text": "a dog", "box_xyxy": BOX}]},
  "grounded_vqa": {"question": "What?", "answers": ["a dog"]},
  "instruction": {"messages": MESSAGES},
}


@pytest.fixture
def context(small_tokenizer):
  return text_ops.Context(small_tokenizer, 16, "crop", 100, 2)


@pytest.mark.parametrize("name", FIELDS)
def test_fields_decide(name, context):
  probability = float(name == "region_description")
  recipe = recipes.by_fields(describe_probability=probability)
  example = {**EMPTY, **FIELDS[name]}
  found = golden.run(recipe, example, context)
  alone = {**example, "image": PICTURE, "image_shape": (16, 16)}
  # One number has been drawn before whether to describe.
  expected = golden.run(recipes.RECIPES[name](), alone, context)
  if name == "region_description":
    assert found["text_mask"].count(True) < len(found["text"])
    assert context.tokenizer.decode(found["text"]).endswith("a dog.")
    return
  assert text_ops.document_of(found, context) == text_ops.document_of(
    expected, context
  )


def test_the_fuller_form_comes_first(context):
  example, before = dict(EMPTY), None
  order = ["plain_caption", "grounded_caption", "referring", "grounded_vqa"]
  for name in [*order, "instruction"]:
    example |= FIELDS[name]
    recipe = recipes.by_fields(describe_probability=0.0)
    result = golden.run(recipe, example, context)
    document = text_ops.document_of(result, context)
    assert document.ids != before
    before = document.ids


def test_expressions_are_described_now_and_then(context):
  recipe = recipes.by_fields(describe_probability=0.25)
  example = {**EMPTY, **FIELDS["referring"]}
  described = [
    not golden.run(recipe, example, context, key)["text_mask"][0]
    for key in range(400)
  ]
  # 100 expected, standard deviation 8.7.
  assert 70 < sum(described) < 130


def test_options_of_recipes(context):
  options = {"grounded_vqa": {"grounding": True}}
  recipe = recipes.by_fields(options=options)
  result = golden.run(recipe, {**EMPTY, **FIELDS["grounded_vqa"]}, context)
  assert result["text"][0] == context.tokenizer.vocab.grounding_id


def test_an_image_may_be_one_of_a_dialogue(context):
  example = {**EMPTY, **FIELDS["instruction"], "images": [], "image": PICTURE}
  result = golden.run(recipes.by_fields(), example, context)
  assert result["document"].pictures == [PICTURE]
  example = {"id": "7", "messages": MESSAGES[1:]}
  result = golden.run(recipes.by_fields(), example, context)
  assert result["document"].pictures == []


def test_a_lone_picture_is_the_one_that_everything_is_about():
  caption = {**EMPTY, **FIELDS["plain_caption"]}
  found = dispatch_ops.lone_picture(caption)
  assert found == {**caption, "image": PICTURE}
  parts = [{"text": "", "image": 0}]
  for other in (
    {**caption, **FIELDS["instruction"]},
    {**caption, "parts": parts},
    {**caption, "images": []},
    {**caption, "images": [PICTURE, PICTURE]},
    {**caption, "image": b"another"},
    {"id": "7", "caption": "a dog"},
  ):
    assert dispatch_ops.lone_picture(other) == other


@pytest.mark.parametrize("images", [[], [PICTURE, PICTURE]])
def test_one_picture_is_needed(images, context):
  example = {**EMPTY, **FIELDS["plain_caption"], "images": images}
  message = f"example '7' has {len(images)} pictures"
  with pytest.raises(ValueError, match=message):
    golden.run(recipes.by_fields(), example, context)


def test_an_example_without_fields(context):
  with pytest.raises(ValueError, match=r"'7' has none .* \['id', 'images'"):
    golden.run(recipes.by_fields(), EMPTY, context)


def test_wrong_options():
  with pytest.raises(ValueError, match="arguments for text; by_fields uses"):
    recipes.by_fields(options={"text": {}})
  with pytest.raises(ValueError, match=r"is 0\.\.1, found -1"):
    recipes.by_fields(describe_probability=-1.0)
