"""What is shown: phrases, boxes, and nobody's markup but the page's."""

import base64
import json
import re

from kosmos2_jax.page import html
from kosmos2_jax.text.grounded import Box, GroundedText, Phrase

EVIL = '<img src=x onerror="alert(1)">'


def grounded(text, *spans):
  return GroundedText(
    text, [Phrase(text[a:b], (a, b), [Box((0, 0, 0.5, 1))]) for a, b in spans]
  )


def plain(marked):
  return re.sub(r' style="[^"]*"', "", marked)


def test_words_mark_the_innermost_phrase():
  text = grounded("a dog in a field", (0, 16), (2, 5))
  assert plain(html.words(text)) == (
    '<mark data-p="0">a </mark><mark data-p="1">dog</mark>'
    '<mark data-p="0"> in a field</mark>'
  )
  assert html.words(GroundedText("", ())) == ""
  assert plain(html.words(grounded("a & b", (4, 5)))) == (
    'a &amp; <mark data-p="0">b</mark>'
  )


def test_small_boxes_lie_above_large_ones():
  phrases = [
    Phrase("small", (0, 5), [Box((0, 0, 0.1, 0.1), 0.5)]),
    Phrase("large", (0, 5), [Box((0, 0, 1, 1))]),
    Phrase("line", (0, 4), [Box((0.5, 0.5, 0.5, 0.5))]),
  ]
  drawn = html.overlay(phrases)
  assert re.findall(r'data-p="(\d)"', drawn) == ["1", "0", "2"]
  assert "<title>small 0.50</title>" in drawn
  # What has no area can be seen and pointed at.
  assert 'x="500" y="500" width="4" height="4"' in drawn


def test_an_answer_can_be_saved_when_it_is_complete():
  text = grounded("a dog", (0, 5))
  entry = {"text": "ä"}
  early = html.answer(text, entry, done=False)
  assert "k2-cursor" in early and "download" not in early
  assert 'aria-busy="true"' in early
  done = html.answer(text, entry, "Cut off.")
  [data] = re.findall(r"base64,([^\"]*)", done)
  assert json.loads(base64.b64decode(data)) == entry
  assert "Cut off." in done and "[0.00, 0.00, 0.50, 1.00]" in done


def test_all_words_are_escaped():
  text = grounded(EVIL, (0, len(EVIL)))
  shown = [
    html.words(text),
    html.overlay(text.phrases),
    html.answer(text, {"text": EVIL}, EVIL),
    html.talk([("user", text), ("assistant", text)], True, EVIL),
    html.error(EVIL),
    html.picture("data:,", EVIL, 1, 1).replace("<img class", ""),
  ]
  for one in shown:
    assert "<img" not in one and 'onerror="' not in one


def test_a_conversation_lights_its_last_answer_alone():
  text = grounded("a dog", (0, 5))
  shown = html.talk([("user", text), ("assistant", text)], done=False)
  assert shown.count("<mark") == 1 and "k2-cursor" in shown
  assert shown.index("You:") < shown.index("Model:") < shown.index("<mark")
