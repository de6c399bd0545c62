"""What the page asks, of a predictor whose answers are known."""

import itertools
import json
import math

import pytest
from PIL import Image

from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.generation.chatting import ChatPrompt
from kosmos2_jax.page import asking
from kosmos2_jax.page.limits import Limits, Picture
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text import prompts
from kosmos2_jax.text.grounded import Box
from kosmos2_jax.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.small(num_bins=4)
PICTURE = Picture("a.png", 40, 20, Image.new("RGB", (16, 16)), "data:,")
LIMITS = Limits()
OPTIONS = {"max_new_tokens": 64}
ANSWER = (
  "<phrase>a red circle</phrase><object><patch_index_0000><patch_index_0005>"
  "</object> here"
)


class Fake(Predictor):
  """Streams what it is told, token by token, and notes what it was asked."""

  def __init__(self, answer="", boxes=(), log_prob=-0.5):
    self.tokenizer = TOKENIZER
    self._ids = TOKENIZER.encode(answer)
    self._boxes = list(boxes)
    self._log_prob = log_prob
    self.asked = []

  def stream(self, prompt, images, *, max_new_tokens):
    self.asked.append((prompt, images))
    for size in range(1, len(self._ids) + 1):
      ids = tuple(self._ids[:size])
      yield Generation(
        text="",
        tokens=ids,
        log_probs=(self._log_prob,) * size,
        finished=size == len(self._ids) and size < max_new_tokens,
      )
      if size == max_new_tokens:
        return

  def locate(self, image, expression):
    self.asked.append((expression, [image]))
    return self._boxes

  def chat_prompt(self, messages):
    return ChatPrompt(list(range(len(messages))), [])


def caption(fake, detailed=False, options=OPTIONS, limits=LIMITS):
  return list(asking.caption(fake, PICTURE, detailed, options, limits))


@pytest.mark.parametrize("detailed", [False, True])
def test_a_caption_grows_to_its_end(detailed):
  fake = Fake(ANSWER)
  found = caption(fake, detailed)
  prompt = prompts.grounded_caption(detailed)
  assert fake.asked == [(prompt, [PICTURE.seen])]
  assert len(found) == len(TOKENIZER.encode(ANSWER))
  assert [one.done for one in found] == [False] * (len(found) - 1) + [True]
  assert not any(one.note for one in found)
  # The words of the prompt are the beginning of the caption.
  last = found[-1]
  words = prompt.removeprefix("<grounding>").strip()
  assert last.text.text == f"{words} a red circle here"
  [phrase] = last.text.phrases
  [box] = phrase.boxes
  entry = json.loads(json.dumps(last.entry))
  assert entry["prompt"] == prompt
  assert (entry["image"], entry["width"], entry["height"]) == ("a.png", 40, 20)
  assert entry["finished"] is True
  [listed] = entry["phrases"]
  assert listed["text"] == "a red circle"
  assert entry["text"][slice(*phrase.span)] == "a red circle"
  # Bins 0 and 5 of a grid of 4 are the corners, at the bins' centres.
  assert tuple(box.xyxy) == (0.125, 0.125, 0.375, 0.375)


def test_an_answer_of_the_greatest_length_says_so():
  found = caption(Fake(ANSWER), options={"max_new_tokens": 3})
  assert len(found) == 3
  assert found[-1].done
  assert found[-1].note == "Cut off after 3 tokens: allow more of them."
  assert found[-1].entry["finished"] is False


def test_an_answer_that_takes_too_long_is_cut_off(monkeypatch):
  clock = itertools.count()  # a second between any two looks
  monkeypatch.setattr(asking.time, "monotonic", lambda: next(clock))
  found = caption(Fake(ANSWER), limits=Limits(seconds=2.0))
  assert len(found) == 3
  assert found[-1].note == "Cut off after 2 seconds."
  assert found[-1].done


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_numbers_that_are_none_are_told(value):
  with pytest.raises(ValueError, match="not numbers.*try float32"):
    caption(Fake(ANSWER, log_prob=value))
  box = Box((0, 0, 1, 1), score=value)
  with pytest.raises(ValueError, match="not numbers"):
    list(asking.locate(Fake(boxes=[box]), PICTURE, "a cup"))


def test_boxes_come_at_once_in_pixels():
  boxes = [Box((0, 0, 0.5, 1), score=0.75), Box((0.5, 0, 1, 1), score=0.25)]
  fake = Fake(boxes=boxes)
  [found] = asking.locate(fake, PICTURE, "a cup")
  assert fake.asked == [("a cup", [PICTURE.seen])]
  assert found.done and not found.note
  assert found.text.phrases[0].boxes == tuple(boxes)
  assert found.entry["expression"] == "a cup"
  assert len(found.entry["boxes"]) == 2
  assert found.entry["boxes"][0]["score"] == 0.75


def test_no_box_is_a_sentence():
  [found] = asking.locate(Fake(), PICTURE, "a cup")
  assert found.note == "The model found no box."
  assert not found.text.phrases
  assert found.entry["boxes"] == []


def test_a_description_stands_beside_its_box():
  fake = Fake("a red circle")
  box = (0.0, 0.0, 0.5, 0.5)
  found = list(asking.describe(fake, PICTURE, box, OPTIONS, Limits()))
  assert fake.asked[0][0] == prompts.describe(box, 4)
  last = found[-1]
  assert last.text.text.strip() == "a red circle"
  [phrase] = last.text.phrases
  assert phrase.boxes == (Box(box),)
  assert last.entry["box"] == asking.grounded.box_entry(Box(box), 40, 20)


@pytest.mark.parametrize("content", ["Why?", [PICTURE.seen, "Why?"]])
@pytest.mark.parametrize("pictures", [(), (PICTURE,)])
def test_a_reply_names_the_question(content, pictures):
  fake = Fake("a red circle")
  messages = [{"role": "user", "content": content}]
  found = list(asking.reply(fake, messages, pictures, OPTIONS, Limits()))
  assert fake.asked == [([0], [picture.seen for picture in pictures])]
  entry = found[-1].entry
  assert entry["question"] == "Why?"
  assert entry["text"].strip() == "a red circle"
  assert ("image" in entry) == bool(pictures)
  assert entry["finished"] is True
