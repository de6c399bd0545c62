"""Dialogues and instructions."""

import itertools

import numpy as np
import pytest

from kosmos2_jax.input import recipes, text_ops
from kosmos2_jax.text import prompts
from tests.input import golden
from tests.input.conftest import encode


@pytest.fixture
def context(small_tokenizer):
  return text_ops.Context(small_tokenizer, 16, "crop", 300, 2)


def talk(*texts, images=(), **fields):
  """A dialogue in which user and assistant take turns."""
  roles = ("user", "assistant")
  messages = [
    {"role": roles[k % 2], "text": text} for k, text in enumerate(texts)
  ]
  return {"id": "7", "messages": messages, "images": [*images], **fields}


def shown(example, context, recipe=None):
  """A document as text, [what counts] in brackets, pictures as their bytes."""
  result = golden.run(recipe or recipes.instruction(), example, context)
  document, vocab = result["document"], context.tokenizer.vocab
  assert len(document.ids) <= context.max_ids
  pictures, text, run, counted = iter(document.pictures), "", [], False
  marks = [*zip(document.ids, document.predicted, strict=True), (None, False)]
  for token_id, counts in marks:
    if counts != counted or token_id in (
      None,
      vocab.image_id,
      vocab.eos_id,
    ):
      text += context.tokenizer.decode(run)
      run = []
    if counts != counted:
      text += "[" if counts else "]"
    counted = counts
    if token_id == vocab.eos_id:
      text += "."
    elif token_id == vocab.image_end_id:
      text += f"({next(pictures).decode()})"
    elif token_id not in (None, vocab.image_id):
      run.append(token_id)
  assert next(pictures, None) is None
  return text, result["reasons"]


def test_ids_of_the_released_tokenizer(real_tokenizer):
  context = text_ops.Context(real_tokenizer, 224, "crop", 100, 2)
  example = talk("<image>\nWhat is it?", "a dog", "it?", "it", images=[b"A"])
  result = golden.run(recipes.instruction(), example, context)
  picture = [64003, 64003, 64003, 64004]
  asked = [14895, 55, 352, 17, 22, 93, 20032, 55]
  again = [14895, 55, 22, 93, 20032, 55]
  ids = [0, *picture, *asked, 10, 1133, 2, *again, 22, 2]
  assert result["document"].ids == ids
  marks = [False] * 13 + [True] * 3 + [False] * 6 + [True] * 2
  assert result["document"].predicted == marks


def test_columns_of_two_turns_with_pictures(small_tokenizer):
  """Token, target and whether it counts, of every place; and the slots."""
  context = text_ops.Context(small_tokenizer, 16, "squash", 300, 2)
  first, second = (encode(np.full((16, 16, 3), c, np.uint8)) for c in (0, 99))
  example = talk(
    "<image> What is it?",
    "a cat",
    "And <image> where?",
    "on a mat",
    images=[first, second],
  )
  box = {"message": 3, "start": 3, "end": 8, "box_xyxy": (0.0, 0.0, 0.5, 0.5)}
  example["message_phrases"] = [box]
  document = golden.run(recipes.instruction(), example, context)["document"]
  # The second question asks for boxes: its answer has one, of its picture.
  text = (
    "<s> <i> _ _ </i> Question: What is it? Answer: [a cat </s>]"
    " <g> Question: And <i> _ _ </i> where? Answer:"
    " [on <p> a mat </p> <o> @0 @36 </o> </s>]"
  )
  words = text.split()
  inside, counted = False, []
  for word in words:
    inside |= word.startswith("[")
    counted.append(inside)
    inside &= not word.endswith("]")
  words = [word.strip("[]") for word in words]
  expected = [
    (token, target, "T" if counts else ".")
    for (token, target), counts in zip(
      itertools.pairwise(words), counted[1:], strict=True
    )
  ]
  assert golden.columns(document, small_tokenizer) == expected
  # `golden.columns` compares the slots with the row's image mask.
  assert document.pictures == [first, second]
  assert sum(document.slots) == 4


@pytest.mark.parametrize(
  ("example", "expected"),
  [
    (
      talk("<image> <image>Same?", "no", images=[b"A", b"B"]),
      "(A)(B)Question: Same? Answer:[no.]",
    ),
    (
      talk("Is <image> as <image>\n?", "no", images=[b"A", b"B"]),
      "Question: Is(A)as(B)? Answer:[no.]",
    ),
    (
      talk("What?\n<image>", "a", images=[b"A"]),
      "Question: What?(A)Answer:[a.]",
    ),
    (talk("<image>", "a", images=[b"A"]), "(A)Question: Answer:[a.]"),
    (
      talk("Draw!", "here <image> it is", images=[b"A"]),
      "Question: Draw! Answer:[here](A)[it is.]",
    ),
    (
      talk("Why?", "so", "And?"),
      "Question: Why? Answer:[so.]Question: And? Answer:",
    ),
    (talk("Why\nnot?", "</s> no"), "Question: Why not? Answer:[</s> no.]"),
  ],
)
def test_pictures_stand_where_they_are_shown(example, expected, context):
  assert shown(example, context) == (expected, [])


def test_a_system_message_comes_first_without_loss(context):
  example = talk("Who?", "me")
  example["messages"].insert(0, {"role": "system", "text": "Be kind."})
  assert shown(example, context)[0] == ("Be kind. Question: Who? Answer:[me.]")


def test_grounding_stands_before_the_question_not_the_system(context):
  picture = encode(np.zeros((16, 16, 3), np.uint8))
  example = talk("<image> Who?", "a cat", images=[picture])
  example["messages"].insert(0, {"role": "system", "text": "Be kind."})
  box = {"message": 2, "start": 0, "end": 5, "box_xyxy": (0.0, 0.0, 0.5, 0.5)}
  example["message_phrases"] = [box]
  result = golden.run(recipes.instruction(), example, context)
  vocab = context.tokenizer.vocab
  ids = result["document"].ids
  asked = ids.index(vocab.grounding_id)
  assert context.tokenizer.decode(ids[1 : ids.index(vocab.image_id)]) == (
    "Be kind."
  )
  assert ids[asked - 1] == vocab.image_end_id
  assert ids.count(vocab.grounding_id) == 1


def test_messages_of_one_role_in_a_row(context):
  example = talk("one", "a", "b")
  roles = ("user", "user", "assistant")
  for message, role in zip(example["messages"], roles, strict=True):
    message["role"] = role
  assert shown(example, context)[0] == "Question: one a Answer:[b.]"
  for message, role in zip(example["messages"], roles[::-1], strict=True):
    message["role"] = role
  assert shown(example, context) == (
    "[one.]Question: a b Answer:",
    [],
  )


def test_boxes_of_phrases(context):
  # The first picture is square, the second is cut to its middle.
  square = encode(np.zeros((16, 16, 3), np.uint8))
  wide = encode(np.zeros((16, 32, 3), np.uint8))
  text = "<image> the cat or <image> the dog?"
  cat, dog = text.index("the cat"), text.index("the dog")

  def item(message, start, end, *box_xyxy):
    return {
      "message": message,
      "start": start,
      "end": end,
      "box_xyxy": box_xyxy,
    }

  example = talk(text, "a cat", "and?", "yes", images=[square, wide])
  example["message_phrases"] = [
    item(0, cat, cat + 7, 0.0, 0.0, 0.2, 0.2),
    item(0, dog, dog + 7, 0.3, 0.0, 0.5, 0.2),
    item(1, 0, 5, 0.75, 0.75, 1.0, 1.0),
    item(1, 2, 5, 0.3, 0.0, 0.5, 0.2),
    item(1, 1, 2, 0.3, 0.0, 0.5, 0.2),
    item(0, 3, cat + 3, 0.1, 0.1, 0.2, 0.2),
    item(0, -2, 4, 0.1, 0.1, 0.2, 0.2),
    item(1, 3, 50, 0.1, 0.1, 0.2, 0.2),
    item(9, 0, 4, 0.1, 0.1, 0.2, 0.2),
    item(3, 0, 3, 0.3, 0.3, 0.3, 0.4),
  ]
  result = golden.run(recipes.instruction(), example, context)
  reasons = ["cropped_out", *["bad_span"] * 5, "empty_box"]
  assert sorted(result["reasons"]) == sorted(reasons)
  vocab = context.tokenizer.vocab
  ids = [i for i in result["document"].ids if i != vocab.image_id]
  # Of the wide picture, 0.3 to 0.5 of 32 pixels are 1.6 to 8 of the middle 16.
  near = "<object><patch_index_0000><patch_index_0009></object>"
  wide = "<object><patch_index_0000><patch_index_0012></object>"
  assert context.tokenizer.decode(ids) == (
    f"</image><grounding> Question:<phrase> the cat</phrase>{near} or</image>"
    f"<phrase> the dog</phrase>{wide}? Answer: a<phrase> cat</phrase>{wide}"
    " Question: and? Answer: yes"
  )


def test_turns_without_room_are_left_out(context):
  example = talk(
    "<image> one", "two", "<image> red", "blue", images=[b"A", b"B"]
  )
  whole, _ = shown(example, context)
  document = golden.run(recipes.instruction(), example, context)["document"]
  room = len(document.ids) - 5
  assert shown(example, sized(context, room)) == (whole, [])
  first = "(A)Question: one Answer:[two.]"
  assert shown(example, sized(context, room - 1)) == (first, ["turn_left_out"])
  length = len(
    golden.run(recipes.instruction(), example, sized(context, room - 1))[
      "document"
    ].ids
  )
  assert shown(example, sized(context, length - 5))[0] == first
  # The first turn is cut; whatever is left of it, its beginning is.
  for room in range(2, length - 5):
    text, reasons = shown(example, sized(context, room))
    assert reasons[:2] == ["text_cut", "turn_left_out"]
    assert ("no_target" in reasons) == ("[" not in text)
    assert first.startswith(text.rstrip("]"))


def test_a_phrase_before_all_pictures_is_about_the_first(context):
  shapes = (16, 16, 3), (16, 32, 3)
  pictures = [encode(np.zeros(shape, np.uint8)) for shape in shapes]
  example = talk("a cat <image> or <image>?", "yes", images=pictures)
  box = {"message": 0, "start": 0, "end": 5, "box_xyxy": (0.0, 0.0, 0.2, 0.2)}
  example["message_phrases"] = [box]
  result = golden.run(recipes.instruction(), example, context)
  # The second one's crop would cut it off.
  assert result["reasons"] == []


def test_nothing_follows_what_has_no_room(context):
  example = talk("red red <image> dog", "a", images=[b"A"])
  text = context.tokenizer.encode("Question: red red")
  # Room for `<s>`, the words before the picture, and three of its four ids.
  found = shown(example, sized(context, 1 + len(text) + 3 - 5))
  assert found == ("Question: red red", ["text_cut", "no_target"])


def test_every_turn_left_out_is_counted(context):
  example = talk("one", "a", "two", "b", "three", "c")
  document = golden.run(recipes.instruction(), example, context)["document"]
  ends = np.flatnonzero(
    np.array(document.ids) == context.tokenizer.vocab.eos_id
  )
  first = int(ends[0]) + 1
  for length, reasons in (
    (len(document.ids), []),
    (int(ends[1]) + 1, ["turn_left_out"]),
    (first, ["turn_left_out"] * 2),
    (first - 1, ["text_cut", *["turn_left_out"] * 2]),
  ):
    # `max_text` is that many ids less `<s>` and a picture.
    found = shown(example, sized(context, length - 5))
    assert found[1] == reasons


def sized(context, max_text):
  return text_ops.Context(context.tokenizer, 16, "crop", max_text, 2)


@pytest.mark.parametrize(
  ("example", "message"),
  [
    (talk("What?", "a", images=[b"A"]), "example '7' have '<image>' 0 times"),
    (talk("<image> <image>", "a", images=[b"A"]), "2 times, but it has 1"),
    (
      {"id": "7", "images": [], "messages": [{"role": "bot", "text": "a"}]},
      "message 0 of example '7' has the role 'bot'",
    ),
  ],
)
def test_wrong_dialogues(example, message, context):
  with pytest.raises(ValueError, match=message):
    golden.run(recipes.instruction(), example, context)


def test_an_empty_dialogue_is_an_end_without_loss(context):
  for recipe in (recipes.instruction(), recipes.language_instruction()):
    assert shown(talk(), context, recipe) == (".", ["no_target"])


def test_instructions_with_the_released_tokenizer(real_tokenizer):
  context = text_ops.Context(real_tokenizer, 224, "crop", 100, 2)
  example = talk("What is it?\n\na dog", "it\nis it")
  result = golden.run(recipes.language_instruction(), example, context)
  asked = [352, 17, 22, 93, 64006, 10, 1133, 64006]
  said = [22, 64006, 17, 22, 2]
  assert result["document"].ids == [0, *asked, *said]
  assert result["document"].predicted == [False] * 9 + [True] * 5
  prompt = prompts.instruction("What is it?\n\na dog")
  assert real_tokenizer.encode(prompt) == asked


def test_instructions_have_no_pictures(context):
  example = talk("What?", "a", images=[b"A"])
  with pytest.raises(ValueError, match="example '7' has 1 pictures"):
    golden.run(recipes.language_instruction(), example, context)


def test_an_instruction_may_hold_tags(context):
  text, _ = shown(
    talk("a </s>", "<image>"), context, recipes.language_instruction()
  )
  assert text == "a </s></line>[<image>.]"
