"""Conversations: the prompt is what training writes of the same messages."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.generation import chatting, prompting
from kosmos2_jax.input import recipes, text_ops
from kosmos2_jax.text import prompts
from kosmos2_jax.text.grounded import Box, GroundedText, Phrase
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.input import golden

TOKENIZER = Tokenizer.small(num_bins=8)
VOCAB = TOKENIZER.vocab
FIRST, SECOND = (np.full((16, 16, 3), c, np.uint8) for c in (0, 99))
ANSWER = GroundedText(
  "a cat on a mat", [Phrase("a cat", (0, 5), [Box((0, 0, 0.5, 0.5))])]
)


def user(*content):
  return {"role": "user", "content": list(content)}


def assistant(content):
  return {"role": "assistant", "content": content}


def png(array):
  file = io.BytesIO()
  Image.fromarray(array).save(file, "PNG")
  return file.getvalue()


def decoded(messages, grounded=False):
  tokens, _ = chatting.prompt_of(messages, TOKENIZER, grounded)
  # `decode` leaves `</s>` out.
  parts, run = [], []
  for token in [*tokens, VOCAB.eos_id]:
    if token == VOCAB.eos_id:
      parts.append(TOKENIZER.decode(run))
      run = []
    else:
      run.append(token)
  return parts


def test_the_prompt_is_what_training_writes():
  """Up to the answer, which is what the loss counts of the last turn."""
  texts = ("<image> What is it?", ANSWER.text, "And <image> where?", "there")
  roles = ("user", "assistant") * 2
  example = {
    "id": "7",
    "images": [png(FIRST), png(SECOND)],
    "messages": [
      {"role": role, "text": text}
      for role, text in zip(roles, texts, strict=True)
    ],
    "message_phrases": [
      {"message": 1, "start": 0, "end": 5, "box_xyxy": (0.0, 0.0, 0.5, 0.5)}
    ],
  }
  context = text_ops.Context(TOKENIZER, 16, "squash", 300, 3)
  document = golden.run(recipes.instruction(), example, context)["document"]
  prompt, images = chatting.prompt_of(
    [
      user(FIRST, "What is it?"),
      assistant(ANSWER),
      user("And", SECOND, "where?"),
    ],
    TOKENIZER,
    False,
  )
  row = prompting.make_row(
    prompt, images, TOKENIZER, num_latents=3, image_size=16
  )
  size = len(row.tokens)
  assert row.image_mask == document.slots[:size]
  # Slots hold other ids; nobody reads them.
  assert [
    VOCAB.image_id if slot else token
    for token, slot in zip(row.tokens, row.image_mask, strict=True)
  ] == document.ids[:size]
  assert not document.predicted[size - 1]
  assert all(document.predicted[size:])
  assert TOKENIZER.decode(document.ids[size:]) == "there"
  assert [image.max() for image in images] == [0, 99]


def test_one_question_is_the_evaluation_prompt():
  for grounded in (False, True):
    tokens, images = chatting.prompt_of(
      [user(FIRST, "What is it?")], TOKENIZER, grounded
    )
    asked = prompts.question("What is it?", grounded)
    assert tokens == [VOCAB.image_id, *TOKENIZER.encode(asked)]
    assert len(images) == 1


def test_boxes_are_asked_for_in_the_last_turn_and_where_there_are_some():
  first = user("What?"), assistant(ANSWER)
  second = user("Where?"), assistant("there")
  box = "<object><patch_index_0000><patch_index_0036></object>"
  assert decoded([*first, *second, user("Why?")], grounded=True) == [
    f"<grounding> Question: What? Answer:<phrase> a cat</phrase>{box} on a mat",
    "Question: Where? Answer: there",
    "<grounding> Question: Why? Answer:",
  ]


def test_contents_may_be_told_apart_by_name():
  picture = pathlib.Path("scene.png")
  same = [
    [user(picture, "What is it?")],
    [user({"image": "scene.png"}, {"type": "text", "text": "What is it?"})],
    [user({"type": "image", "image": picture}, "What", "is it?")],
  ]
  found = [chatting.prompt_of(one, TOKENIZER, True) for one in same]
  assert found[0] == found[1] == found[2]
  plain = chatting.prompt_of([user("scene.png")], TOKENIZER, True)
  assert plain.images == []


def test_a_tag_is_spelled_out():
  tokens, _ = chatting.prompt_of([user("<grounding> </s>")], TOKENIZER, False)
  assert VOCAB.grounding_id not in tokens
  assert VOCAB.eos_id not in tokens


def test_boxes_without_words_are_left_out():
  loose = GroundedText("a cat", [Phrase("", (5, 5), [Box((0, 0, 1, 1))])])
  said = decoded([user("What?"), assistant(loose), user("Why?")])
  assert said[0] == "Question: What? Answer: a cat"


@pytest.mark.parametrize(
  ("messages", "message"),
  [
    ([], "needs a message"),
    ([user("a"), assistant("b")], "last message must be the user's"),
    ([{"role": "bot", "content": "a"}], "message 0 has the role 'bot'"),
    ([{"role": "user"}], "message 0 must be"),
    ([user("a <image> b")], "stands for a picture"),
    ([user(3)], "a list of texts and pictures"),
    ([user({"text": 3})], "a list of texts and pictures"),
    ([user({"text": "a", "image": "b"})], "a list of texts and pictures"),
    ([{"role": "user", "content": FIRST}], "a list of texts and pictures"),
    (
      [{"role": "system", "content": [FIRST]}, user("a")],
      "message 0 is of the system",
    ),
  ],
)
def test_mistakes_are_sentences(messages, message):
  with pytest.raises(ValueError, match=message):
    chatting.prompt_of(messages, TOKENIZER, True)
