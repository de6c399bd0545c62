"""A question and one of its answers."""

import collections

import pytest

from kosmos2_jax.input import recipes, text_ops
from kosmos2_jax.text import prompts
from tests.input import golden

EXAMPLE = {
  "question": " What is it? ",
  "answers": ["cat", " dog", "dog", "cow", "", "dog", "cow "],
}


@pytest.fixture
def context(small_tokenizer):
  return text_ops.Context(small_tokenizer, 16, "crop", 60, 2)


def answer_of(result, context):
  pairs = zip(result["text"], result["text_mask"], strict=True)
  return context.tokenizer.decode([i for i, counts in pairs if counts])


def test_ids_of_the_released_tokenizer(real_tokenizer):
  context = text_ops.Context(real_tokenizer, 224, "crop", 60, 2)
  result = golden.run(recipes.grounded_vqa(grounding=True), EXAMPLE, context)
  asked = [64012, 14895, 55, 352, 17, 22, 93, 20032, 55]
  assert result["text"] == [*asked, 1133, 2]
  assert result["text_mask"] == [False] * 9 + [True] * 2


@pytest.mark.parametrize("grounding", [False, True])
def test_the_question_is_the_prompt(grounding, context):
  recipe = recipes.grounded_vqa(grounding=grounding)
  result = golden.run(recipe, EXAMPLE, context)
  prompt = prompts.question(EXAMPLE["question"], grounded=grounding)
  asked = context.tokenizer.encode(prompt)
  assert result["text"][: len(asked)] == asked
  assert result["text_mask"].index(True) == len(asked)
  assert answer_of(result, context) == "dog"


def test_answers_are_drawn_as_often_as_given(context):
  recipe = recipes.grounded_vqa(answer="drawn")
  found = collections.Counter(
    answer_of(golden.run(recipe, EXAMPLE, context, key), context)
    for key in range(600)
  )
  # 100, 300 and 200 expected; standard deviations 9 to 12.
  assert 60 < found["cat"] < 140
  assert 250 < found["dog"] < 350
  assert 150 < found["cow"] < 250
  assert found.total() == found["cat"] + found["dog"] + found["cow"]


def test_of_equally_frequent_answers_the_first(context):
  example = {"question": "?", "answers": ["cow", "dog", "dog", "cow"]}
  result = golden.run(recipes.grounded_vqa(), example, context)
  assert answer_of(result, context) == "cow"


def test_everything_may_count(context):
  result = golden.run(recipes.grounded_vqa(loss="text"), EXAMPLE, context)
  assert all(result["text_mask"])


def test_tags_are_text(context):
  example = {"question": "<image>?", "answers": ["</s> <grounding>"]}
  result = golden.run(recipes.grounded_vqa(), example, context)
  vocab = context.tokenizer.vocab
  assert vocab.image_id not in result["text"]
  assert vocab.grounding_id not in result["text"]
  assert result["text"].count(vocab.eos_id) == 1


def test_without_answer_there_is_no_target(context):
  example = {**EXAMPLE, "answers": [" "]}
  result = golden.run(recipes.grounded_vqa(), example, context)
  assert result["reasons"] == ["no_target"]
  assert not any(result["text_mask"])
  prompt = prompts.question(EXAMPLE["question"])
  assert result["text"] == context.tokenizer.encode(prompt)


def test_what_is_too_long_is_cut(context):
  whole = golden.run(recipes.grounded_vqa(), EXAMPLE, context)["text"]
  for room in range(2, len(whole)):
    short = text_ops.Context(context.tokenizer, 16, "crop", room, 2)
    result = golden.run(recipes.grounded_vqa(), EXAMPLE, short)
    assert result["text"] == whole[:room]
    assert len(result["text_mask"]) == room
    assert result["reasons"][0] == "text_cut"
    assert ("no_target" in result["reasons"]) == (not any(result["text_mask"]))


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"loss": "objects"}, "'answer' or 'text', found 'objects'"),
    ({"answer": "first"}, "'most_frequent' or 'drawn', found 'first'"),
  ],
)
def test_wrong_options(options, message):
  with pytest.raises(ValueError, match=message):
    recipes.grounded_vqa(**options)
