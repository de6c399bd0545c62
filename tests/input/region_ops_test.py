"""Sentences about what is in a box."""

import pytest

from kosmos2_jax.input import recipes, text_ops
from kosmos2_jax.text import prompts
from tests.input import golden

BOXES = [(0.15, 0.15, 0.45, 0.45), (0.55, 0.15, 0.85, 0.45)]
# Ids of the released model before the phrase, of it, and behind it: they are
# those of the whole sentence, which no tag changes.
SENTENCES = [
  ([352, 17], [22], [93, 67, 17]),
  ([352, 17], [38], [93, 126, 17]),
  ([34645, 247], [38, 3812], [4, 126, 3812, 17]),
  ([], [67], [17]),
  ([], [126], [17]),
  ([], [24, 3812], [17]),
]


def example_of(*texts):
  items = [
    {"text": text, "box_xyxy": box}
    for text, box in zip(texts, BOXES, strict=False)
  ]
  return {"image_shape": (16, 16), "expressions": items, "caption": "a dog"}


@pytest.fixture
def context(small_tokenizer):
  return text_ops.Context(small_tokenizer, 16, "crop", 200, 2)


def decoded(result, context):
  return context.tokenizer.decode(result["text"])


@pytest.mark.parametrize("number", range(6))
def test_templates_with_the_released_tokenizer(
  number, real_tokenizer, monkeypatch
):
  template = prompts.DESCRIPTIONS[number]
  monkeypatch.setattr(prompts, "DESCRIPTIONS", (template,))
  context = text_ops.Context(real_tokenizer, 224, "squash", 200, 2)
  example = example_of("a dog")
  result = golden.run(recipes.region_description(), example, context)
  before, phrase, after = SENTENCES[number]
  asked = [64012, *before, 64007, *phrase, 64008, 64009, 64145, 64475, 64010]
  said = [*after, 10, 1133, 4, 2]
  assert result["text"] == asked + said
  assert result["text_mask"] == [False] * len(asked) + [True] * len(said)


def test_one_template_is_the_prompt(context, monkeypatch):
  monkeypatch.setattr(prompts, "DESCRIPTIONS", prompts.DESCRIPTIONS[3:4])
  result = golden.run(
    recipes.region_description(), example_of("a dog"), context
  )
  prompt = context.tokenizer.encode(prompts.describe(BOXES[0], 8))
  assert result["text"][: len(prompt)] == prompt


def test_templates_and_expressions_are_drawn(context):
  recipe = recipes.region_description()
  found = set()
  for key in range(200):
    result = golden.run(recipe, example_of("a dog", "a cat"), context, key)
    found.add(decoded(result, context))
  assert len(found) == 12
  again = golden.run(recipe, example_of("a dog", "a cat"), context, 7)
  assert decoded(again, context) in found


def test_all_of_them_as_far_as_there_is_room(context):
  recipe = recipes.region_description(max_expressions=None, loss="text")
  example = example_of("a dog", "a cat")
  result = golden.run(recipe, example, context)
  text = decoded(result, context)
  assert text.count("<object>") == 2
  assert text.count("<grounding>") == 1
  assert text.index("a dog.") and text.index("a cat.")
  assert result["text_mask"] == [True] * len(result["text"])
  room = len(result["text"]) - 1
  short = text_ops.Context(context.tokenizer, 16, "crop", room, 2)
  cut = golden.run(recipe, example, short)
  assert cut["reasons"] == ["expression_left_out"]
  assert decoded(cut, context).count("<object>") == 1
  assert cut["text"][-1] == context.tokenizer.vocab.eos_id
  answers = recipes.region_description(max_expressions=None)
  mask = golden.run(answers, example, context)["text_mask"]
  # Questions between answers do not count; both answers do.
  assert "".join("FT"[m] for m in mask).strip("F").count("F") > 5
  assert mask[-1]


def test_a_full_stop_is_not_doubled(context):
  for text in ("a dog.", "一只狗。", "a dog!"):
    result = golden.run(recipes.region_description(), example_of(text), context)
    assert decoded(result, context).endswith(text)


def test_an_expression_may_hold_tags(context):
  result = golden.run(
    recipes.region_description(), example_of("a <image> </s>"), context
  )
  vocab = context.tokenizer.vocab
  assert vocab.image_id not in result["text"]
  assert result["text"].count(vocab.eos_id) == 1


def test_without_expressions_the_caption_does_not_count(context):
  result = golden.run(
    recipes.region_description(), example_of("\u200b"), context
  )
  assert result["reasons"] == ["bad_span", "no_boxes"]
  assert decoded(result, context) == "a dog"
  assert not any(result["text_mask"])
  result = golden.run(
    recipes.region_description(loss="text"), example_of(), context
  )
  assert result["reasons"] == ["no_boxes"]
  assert all(result["text_mask"])


def test_from_spans_of_the_caption(context):
  example = example_of()
  chunk = {"start": 0, "end": 5, "score": 0.9}
  example["noun_chunks"] = [{**chunk, "box_xyxy": box} for box in BOXES]
  recipe = recipes.region_description(items="noun_chunks")
  text = decoded(golden.run(recipe, example, context), context)
  assert text.endswith("a dog.")
  assert text.count("</delimiter_of_multi_objects/>") == 1


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"loss": "objects"}, "'text' or 'answer', found 'objects'"),
    ({"max_expressions": 0}, "1 or more, found 0"),
    ({"items": "boxes"}, "found 'boxes'"),
  ],
)
def test_wrong_options(options, message):
  with pytest.raises(ValueError, match=message):
    recipes.region_description(**options)
