"""What cleaning changes and keeps, and every reason to refuse a caption."""

import dataclasses
import json
import time

import pytest

from data.building.drops import Drop, Dropped
from data.grit.build import captions
from data.grit.build.captions import CaptionOptions
from tests.data.grit.build.hand_checked import cases


def refusal(caption, **options):
  """The reason for which a caption is refused, or None."""
  try:
    captions.check(caption, CaptionOptions(**options))
  except Dropped as dropped:
    return dropped.reason
  return None


@pytest.mark.parametrize(
  ("raw", "cleaned"),
  [
    ("a dog", "a dog"),
    ("  a \t dog\r\n in\x0bit\u2028x ", "a dog in it x"),
    ("a\u00a0dog\u3000x", "a dog x"),
    ("a\x00dog\x7f\x85x", "a dog x"),
    ("a\u200bb \u202edog\u202c\ufeff so\u00adft", "ab dog soft"),
    ("Tom &amp; Jerry &#39;s &quot;x&quot; &#x41;", 'Tom & Jerry \'s "x" A'),
    ("&amp;lt; once", "&lt; once"),
    ("a&nbsp;dog&#10;x&#8203;y", "a dog xy"),
    ("AT&T ?a=1&copy=2 R&D; &nosuch;", "AT&T ?a=1&copy=2 R&D; &nosuch;"),
    ("cafe\u0301", "caf\u00e9"),
    ("½ ﬁ Ａ 😀❤\ufe0f 犬", "½ ﬁ Ａ 😀❤\ufe0f 犬"),
  ],
)
def test_clean(raw, cleaned):
  assert captions.clean(raw) == cleaned
  assert captions.clean(cleaned) == cleaned or "&" in cleaned


@pytest.mark.parametrize(
  ("raw", "reason"),
  [
    (None, Drop.BAD_CAPTION),
    (7, Drop.BAD_CAPTION),
    (b"a dog", Drop.BAD_CAPTION),
    ("a dog \ud800", Drop.BAD_CAPTION),
    ("", Drop.EMPTY_CAPTION),
    (" \n\u200b&nbsp;", Drop.EMPTY_CAPTION),
  ],
)
def test_clean_refuses(raw, reason):
  with pytest.raises(Dropped) as raised:
    captions.clean(raw)
  assert raised.value.reason is reason


def test_surrogates_written_as_entities_become_no_surrogates():
  captions.clean("a &#xD800; dog").encode()
  captions.clean("a &#1114112; dog").encode()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.caption)
def test_hand_checked_captions_pass(case):
  assert captions.clean(case.caption) == case.caption
  assert refusal(case.caption) is None


@pytest.mark.parametrize(
  ("caption", "reason"),
  [
    ("dog", Drop.CAPTION_TOO_SHORT),
    ("a dog " * 36, Drop.CAPTION_TOO_LONG),
    ("dog " * 10 + "d" * 600, Drop.CAPTION_TOO_LONG),
    ("<b>a dog</b> in a park", Drop.MARKUP_CAPTION),
    ("<grounding> a dog in a park", Drop.MARKUP_CAPTION),
    ("a dog</p> in a park", Drop.MARKUP_CAPTION),
    ("IMG_1234.jpg", Drop.MARKUP_CAPTION),
    ("DSC_0012 final.png", Drop.MARKUP_CAPTION),
    ("https://example.com/a/b.html www.dogs.com", Drop.MARKUP_CAPTION),
    ("#dog #cat #love pets", Drop.MARKUP_CAPTION),
    ("2 x $4.99 | 3 x $6.50 off", Drop.MARKUP_CAPTION),
    ("12 - 34", Drop.MARKUP_CAPTION),
    ("a " + "d" * 51, Drop.MARKUP_CAPTION),
    ("hot XXX videos of a couple", Drop.UNSAFE_CAPTION),
    ("ein Hund auf einer Wiese", Drop.NOT_ENGLISH),
  ],
)
def test_refused(caption, reason):
  assert refusal(caption.strip()) is reason


@pytest.mark.parametrize(
  "caption",
  [
    ("a dog " * 35).strip(),  # 70 words
    "I <3 dogs and cats, 2 < 3",
    "a dog in a park #dogs #pets",
    "1920x1080 wallpaper of a mountain lake",
    "a dog at www.example.com",
    "a " + "d" * 50,
    "a naked tree, scunthorpe and essex",
  ],
)
def test_kept(caption):
  assert refusal(caption, english=False) is None


def test_options_decide():
  assert refusal("dog", min_words=1) is None
  assert refusal("a dog here", max_words=2) is Drop.CAPTION_TOO_LONG
  assert refusal("a dog here", max_characters=9) is Drop.CAPTION_TOO_LONG
  assert refusal("a dog here", max_characters=10) is None
  assert refusal("xxx video of it", safe=False) is None
  assert refusal("ein Hund auf einer Wiese", english=False) is None
  assert refusal("room 12345", min_letters=0.44) is None
  assert refusal("room 12345", min_letters=0.45) is Drop.MARKUP_CAPTION


def test_huge_captions_are_refused_at_once():
  for text in ("a dog " * 20_000, "<" * 100_000, "&" * 100_000, "d" * 100_000):
    start = time.perf_counter()
    assert refusal(captions.clean(text)) is Drop.CAPTION_TOO_LONG
    assert time.perf_counter() - start < 2  # Quadratic would take minutes.


def test_options_travel_as_json():
  options = CaptionOptions(min_words=1)
  told = json.loads(json.dumps(dataclasses.asdict(options)))
  assert CaptionOptions(**told) == options


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"min_words": 0}, "min_words must be at least 1, got 0"),
    ({"max_characters": 0}, "max_characters must be at least 1, got 0"),
    ({"min_words": 9, "max_words": 8}, "got 9 and 8"),
    ({"min_letters": 1.5}, "from 0 to 1, got 1.5"),
    ({"min_letters": float("nan")}, "from 0 to 1, got nan"),
  ],
)
def test_bad_options(options, message):
  with pytest.raises(ValueError, match=message):
    CaptionOptions(**options)
