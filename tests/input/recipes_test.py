"""Recipes: from an example to the ids of its text."""

import pytest

from kosmos2_jax.input import recipes, shuffling, text_ops
from kosmos2_jax.text import prompts


def run(recipe, example, context, key=0):
  example = text_ops.start(example, shuffling.example_random(key))
  for op in recipe:
    example = op(example, context)
  return example


@pytest.fixture
def context(small_tokenizer):
  return text_ops.Context(small_tokenizer, 16, "crop", 200, 2)


def square(examples):
  """The first example, whose picture is square: boxes stay what they are."""
  return {**examples[0], "image_shape": (16, 16)}


# The original's ids for this record, as REFERENCE.md has them.
EXPRESSION_MODE = [64012, 64007, 10, 6454, 31772, 23, 10, 1287, 1285, 14, 6372]
EXPRESSION_MODE += [46, 689, 84, 1158, 64008, 64009, 64013, 65036, 64010, 2]
PHRASE_MODE = [64012, 64007, 10, 6454, 31772, 64008, 64009, 64013, 65036]
PHRASE_MODE += [64010, 23, 64007, 10, 1287, 1285, 64008, 64009, 64301, 65004]
PHRASE_MODE += [64010, 14, 6372, 46, 689, 84, 1158, 2]


@pytest.mark.parametrize(
  ("mode", "view", "expected"),
  [
    ("expression", "crop", EXPRESSION_MODE),
    ("phrase", "crop", PHRASE_MODE),
    (
      "expression",
      "squash",
      [{65036: 65035}.get(i, i) for i in EXPRESSION_MODE],
    ),
    (
      "phrase",
      "squash",
      [{65036: 65035, 65004: 65003}.get(i, i) for i in PHRASE_MODE],
    ),
  ],
)
def test_worked_example_of_the_original(
  mode, view, expected, wire_hanger, real_tokenizer
):
  recipe = recipes.grounded_caption(mode=mode, markup="maximal")
  context = text_ops.Context(real_tokenizer, 224, view, 500, 2)
  result = run(recipe, wire_hanger, context)
  assert result["text"] == expected
  assert result["text_mask"] == [True] * len(expected)
  assert result["reasons"] == []


def test_two_boxes_on_one_phrase_as_in_the_original(real_tokenizer):
  boxes = [(0.1, 0.1, 0.3, 0.6), (0.4, 0.1, 0.6, 0.6)]
  items = [{"start": 0, "end": 8, "box_xyxy": b, "score": 0.7} for b in boxes]
  example = {"caption": "two dogs on a sofa", "image_shape": (300, 300)}
  example["noun_chunks"] = items
  context = text_ops.Context(real_tokenizer, 224, "crop", 500, 2)
  text = run(recipes.grounded_caption(), example, context)["text"]
  phrase = [64007, 94, 2176, 64008]
  places = [64009, 64112, 64630, 64011, 64121, 64640, 64010]
  assert text[1:12] == phrase + places


def test_plain_caption_has_no_grounding(examples, context):
  example = square(examples)
  text = run(recipes.plain_caption(), example, context)["text"]
  tokenizer = context.tokenizer
  expected = [*tokenizer.encode(example["caption"]), tokenizer.vocab.eos_id]
  assert text == expected


def test_a_tag_in_a_caption_is_text(examples, context):
  example = {**square(examples), "caption": "an <image> of </s>"}
  text = run(recipes.plain_caption(), example, context)["text"]
  assert context.tokenizer.vocab.image_id not in text
  assert text.count(context.tokenizer.vocab.eos_id) == 1


def test_tag_probability(examples, context):
  recipe = recipes.grounded_caption(tag_probability=0.25)
  grounding = context.tokenizer.vocab.grounding_id
  tagged = [
    run(recipe, square(examples), context, key)["text"][0] == grounding
    for key in range(400)
  ]
  # 100 expected, standard deviation 8.7.
  assert 70 < sum(tagged) < 130


def test_boxes_that_are_not_used_are_counted(examples, context):
  example = square(examples)
  first, second, third = example["noun_chunks"]
  example["noun_chunks"] = [
    {**first, "score": 0.649},
    {**first, "box_xyxy": (0.3, 0.3, 0.3, 0.3)},
    {**first, "start": 5, "end": 5},
    {**first, "end": 1000},
    second,
    {**third, "box_xyxy": (-0.9, 0.2, 0.1, 0.4)},
  ]
  result = run(recipes.grounded_caption(), example, context)
  reasons = ["low_score", "empty_box", "cropped_out", "bad_span", "bad_span"]
  assert result["reasons"] == reasons
  decoded = context.tokenizer.decode(result["text"])
  assert "<phrase> two squares</phrase>" in decoded
  assert decoded.count("<phrase>") == 1


def test_characters_without_tokens_are_counted(examples, context):
  example = square(examples)
  box = (0.1, 0.1, 0.5, 0.5)
  dog, nothing = (
    {"start": start, "end": end, "box_xyxy": box}
    for start, end in ((0, 5), (6, 7))
  )
  texts = ("a dog", "\u200b", " ")
  example |= {
    "caption": "a dog \u200b",
    "noun_chunks": [dog, nothing],
    "expressions": [{"text": text, "box_xyxy": box} for text in texts],
  }
  decode = context.tokenizer.decode
  result = run(recipes.grounded_caption(), example, context)
  assert result["reasons"] == ["bad_span"]
  assert decode(result["text"]).count("<object>") == 1
  result = run(recipes.referring(), example, context)
  assert result["reasons"] == ["bad_span", "bad_span"]
  assert decode(result["text"]).count("<object>") == 1
  example["noun_chunks"] = [nothing]
  result = run(recipes.grounded_caption(), example, context)
  assert result["reasons"] == ["bad_span", "no_boxes"]


def test_without_boxes_the_caption_is_plain(examples, context):
  example = square(examples)
  plain = run(recipes.plain_caption(), example, context)["text"]
  example |= {"noun_chunks": [], "expressions": []}
  for recipe in (recipes.grounded_caption(), recipes.referring()):
    result = run(recipe, example, context)
    assert result["text"] == plain
    assert result["reasons"] == ["no_boxes"]
  result = run(recipes.referring(loss="objects"), example, context)
  assert result["text_mask"] == [False] * len(plain)


def test_without_text_there_is_an_end(examples, context):
  example = {**square(examples), "caption": " "}
  result = run(recipes.plain_caption(), example, context)
  assert result["text"] == [context.tokenizer.vocab.eos_id]
  assert result["reasons"] == ["no_text"]


def test_referring_is_what_the_prompt_asks(examples, context):
  tokenizer = context.tokenizer
  result = run(recipes.referring(max_expressions=1), square(examples), context)
  texts = [item["text"] for item in examples[0]["expressions"]]
  prompts_ids = [tokenizer.encode(prompts.refer(text)) for text in texts]
  assert any(result["text"][: len(p)] == p for p in prompts_ids)
  # `<object> A B </object> </s>` is what remains.
  (found,) = [p for p in prompts_ids if result["text"][: len(p)] == p]
  assert len(result["text"]) == len(found) + 5


def test_referring_names_every_object_in_any_order(examples, context):
  texts = [item["text"] for item in examples[0]["expressions"]]
  orders = set()
  for key in range(60):
    result = run(recipes.referring(), square(examples), context, key)
    decoded = context.tokenizer.decode(result["text"])
    places = [decoded.index(text) for text in texts]
    assert decoded.count("<object>") == 3
    orders.add(tuple(sorted(range(3), key=places.__getitem__)))
  assert len(orders) == 6


def test_referring_from_spans_of_the_caption(examples, context):
  recipe = recipes.referring(items="noun_chunks")
  result = run(recipe, square(examples), context)
  decoded = context.tokenizer.decode(result["text"])
  assert "<phrase> a red circle</phrase><object>" in decoded
  assert "left of" not in decoded
  assert decoded.count("</delimiter_of_multi_objects/>") == 1


def test_loss_on_objects_only(examples, context):
  vocab = context.tokenizer.vocab
  result = run(recipes.referring(loss="objects"), square(examples), context)
  pairs = zip(result["text"], result["text_mask"], strict=True)
  predicted = [token_id for token_id, counts in pairs if counts]
  assert len(predicted) == 12
  for i in range(0, 12, 4):
    assert predicted[i] == vocab.object_id
    assert vocab.is_location(predicted[i + 1])
    assert vocab.is_location(predicted[i + 2])
    assert predicted[i + 3] == vocab.object_end_id


def test_a_long_caption_ends_at_a_phrase(examples, context):
  whole = run(recipes.grounded_caption(), square(examples), context)["text"]
  plain = run(recipes.plain_caption(), square(examples), context)["text"]
  vocab = context.tokenizer.vocab
  for room in range(2, len(whole)):
    short = text_ops.Context(context.tokenizer, 16, "crop", room, 2)
    result = run(recipes.grounded_caption(), square(examples), short)
    text = result["text"]
    assert result["reasons"] == ["text_cut"]
    assert 0 < len(text) <= room
    assert text.count(vocab.phrase_id) == text.count(vocab.object_end_id)
    if vocab.phrase_id in text:
      assert text == whole[: len(text)]
    else:
      # Too short for the first phrase: the plain caption, or its beginning.
      assert text == plain[: len(text)]
      assert len(text) == min(room, len(plain))


def test_expressions_without_room_are_left_out(examples, context):
  whole = run(recipes.referring(), square(examples), context)["text"]
  short = text_ops.Context(context.tokenizer, 16, "crop", len(whole) - 1, 2)
  result = run(recipes.referring(), square(examples), short)
  assert result["reasons"] == ["expression_left_out"]
  assert result["text"][-1] == context.tokenizer.vocab.eos_id
  assert result["text"].count(context.tokenizer.vocab.object_id) == 2


@pytest.mark.parametrize(
  ("recipe", "options", "message"),
  [
    ("grounded_caption", {"mode": "word"}, "one of phrase, expression"),
    ("grounded_caption", {"markup": "flat"}, "'nested' or 'maximal'"),
    ("grounded_caption", {"tag_probability": 1.5}, r"is 0\.\.1, found 1\.5"),
    ("referring", {"items": "words"}, "found 'words'"),
    ("referring", {"loss": "boxes"}, "'text' or 'objects', found 'boxes'"),
    ("referring", {"max_expressions": 0}, "1 or more, found 0"),
  ],
)
def test_wrong_options(recipe, options, message):
  with pytest.raises(ValueError, match=message):
    recipes.RECIPES[recipe](**options)


def test_ops_name_what_is_missing_and_what_they_would_overwrite(
  examples, context
):
  example = square(examples)
  del example["expressions"]
  with pytest.raises(
    ValueError, match=r"needs \['expressions'\].*'noun_chunks'"
  ):
    run(recipes.referring(), example, context)
  example = {**square(examples), "phrases": []}
  with pytest.raises(ValueError, match=r"would overwrite \['phrases'\]"):
    run(recipes.grounded_caption(), example, context)


def test_prefix_begins_every_caption_and_moves_its_phrases(examples, context):
  prefix = "An image of"
  recipe = recipes.grounded_caption(prefix=prefix)
  example = square(examples)
  vocab = context.tokenizer.vocab
  text = run(recipe, example, context)["text"]
  # What a model is asked with is what the row begins with, id by id.
  prompt = context.tokenizer.encode(prompts.grounded_caption())
  assert text[: len(prompt)] == prompt
  plain = run(recipes.grounded_caption(), example, context)["text"]
  after_grounding = plain.index(vocab.grounding_id) + 1
  assert text[len(prompt) :] == plain[after_grounding:]
  # A caption that begins so already is not given it twice.
  begun = {**example, "caption": f"{prefix} {example['caption']}"}
  shift = len(prefix) + 1
  begun["noun_chunks"] = [
    {**item, "start": item["start"] + shift, "end": item["end"] + shift}
    for item in example["noun_chunks"]
  ]
  assert run(recipe, begun, context)["text"] == text
