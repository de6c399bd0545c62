"""Spans survive Unicode: what is built of any caption is read back.

The tokenizer normalises (NFKC, white space), so characters change and their
number does, too. What holds for every caption: a phrase grows to whole tokens
of the plain caption, phrases of the same tokens become one, and the text is
what the tokenizer makes of the caption without any phrase.
"""

import hypothesis
import pytest
from hypothesis import strategies as st

from kosmos2_jax.text import Box, Phrase, Tokenizer, location, markup

NUM_BINS = 8
# Words that normalisation, direction or composition make hard.
WORDS = [
  "dog",
  "Zürich",
  # Combining marks: composed by NFKC, two on a letter, without a base.
  "cafe\u0301",
  "q\u0323\u0307",
  "\u0301",
  # CJK with a full stop, kana with a half-width voiced mark, Hangul jamo.
  "红色的猫。",
  "ｶﾞ",
  "\u1112\u1161\u11ab",
  # Emoji: joined, with a skin tone, a flag, a variation selector.
  "👩‍👩‍👧",
  "👍🏽",
  "🇨🇭",
  "❤️",
  # Right to left, with marks and with a mark of direction.
  "שלום",
  "مُرَبَّع",
  "\u200fעולם",
  # Changed by NFKC: ligatures, full width, fractions, symbols of words.
  "ﬁsh",
  "Ａ１",
  "½",
  "℡",
  "㌔",
  "ﷺ",
  # Dropped or unknown characters, tags spelled out, the mark of a space.
  "\u200b",
  "\u00ad",
  "\x07",
  "<phrase>",
  "</s>",
  "▁",
  "<patch_index_0001>",
]
captions = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).flatmap(
  lambda words: st.lists(
    st.sampled_from([" ", " ", "  ", "", ", ", "\n"]),
    min_size=len(words),
    max_size=len(words),
  ).map(
    lambda gaps: "".join(
      part for pair in zip(words, gaps, strict=True) for part in pair
    )
  )
)
any_caption = st.one_of(
  captions, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
# Boxes of the grid that decode to boxes of the same cells; few, so that
# phrases share them.
BINS = [(0, 63), (9, 27), (0, 18), (10, 61)]
marks = st.lists(
  st.tuples(
    st.integers(0, 40),
    st.integers(1, 40),
    st.lists(st.sampled_from(BINS), min_size=1, max_size=3),
  ),
  max_size=6,
)


@pytest.fixture(scope="module", params=["small", "real"])
def tokenizer(request):
  """Both tokenizers, with 8 x 8 locations."""
  if request.param == "small":
    return request.getfixturevalue("small_tokenizer")
  released = request.getfixturevalue("real_tokenizer")
  return Tokenizer(released.model_bytes, NUM_BINS)


def phrases_of(caption, marks, tokenizer):
  """Phrases of a caption as it is; those without tokens are an error."""
  found = []
  for start, length, bins in marks:
    start %= len(caption) or 1
    end = min(start + length, len(caption))
    if not caption[start:end].strip():
      continue
    boxes = [Box(location.bins_to_box(*pair, NUM_BINS)) for pair in bins]
    phrase = Phrase(caption[start:end], (start, end), boxes)
    try:
      markup.build(caption, [phrase], tokenizer)
    except ValueError as error:
      assert "no tokens" in str(error)
      continue
    found.append(phrase)
  return found


def expected_spans(caption, phrases, tokenizer):
  """Tokens of each phrase, by their characters, and the bins of its boxes."""
  _, offsets = tokenizer.encode_with_offsets(caption)
  # Tokens that end at the same character spell it together.
  groups, group = [], []
  for i, (left, right) in enumerate(offsets):
    group.append(i)
    if caption[left:right].strip():
      groups.append((group, left, right))
      group = []
  result = {}
  for phrase in phrases:
    start, end = phrase.span
    inside = []
    for members, left, right in groups:
      words = [i for i in range(left, right) if not caption[i].isspace()]
      trimmed = [i for i in range(start, end) if not caption[i].isspace()]
      if words[0] <= trimmed[-1] and trimmed[0] <= words[-1]:
        inside += members
    bins = [location.box_to_bins(box.xyxy, NUM_BINS) for box in phrase.boxes]
    result.setdefault((inside[0], inside[-1] + 1), []).extend(bins)
  return result


def text_of(ids, tokenizer):
  # Not `decode`: that takes off every outer white space, such as U+0085.
  return "".join(tokenizer.parts(ids)).strip(" ")


@hypothesis.settings(max_examples=150)
@hypothesis.given(any_caption, marks)
def test_what_is_built_is_read_back(tokenizer, caption, marks):
  phrases = phrases_of(caption, marks, tokenizer)
  ids = markup.build(caption, phrases, tokenizer)
  plain = tokenizer.encode_with_offsets(caption)[0]
  # Tags come between the tokens of the caption and change none.
  vocab = tokenizer.vocab
  assert [i for i in ids if not vocab.is_special(i)] == plain
  found = markup.parse(ids, tokenizer)
  assert found.text == text_of(plain, tokenizer)
  expected = expected_spans(caption, phrases, tokenizer)
  # The text of each phrase is what its tokens say, its bins are the same.
  said = sorted(
    (text_of(plain[start:end], tokenizer), sorted(bins))
    for (start, end), bins in expected.items()
  )
  read = sorted(
    (
      phrase.text,
      sorted(location.box_to_bins(box.xyxy, NUM_BINS) for box in phrase.boxes),
    )
    for phrase in found.phrases
  )
  assert read == said
  for phrase in found.phrases:
    assert found.text[slice(*phrase.span)] == phrase.text
