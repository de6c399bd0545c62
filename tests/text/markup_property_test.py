"""Whatever is built is read back; whatever is read raises nothing."""

import hypothesis
from hypothesis import strategies as st

from kosmos2_jax.text import Box, Phrase, location, markup, spans

NUM_BINS = 8
CAPTION = "two dogs, an old cat and a drone above Zürich at 12 o'clock."


def word_spans(caption):
  """Start and end of each word."""
  found, start = [], 0
  for word in caption.split(" "):
    found.append((start, start + len(word)))
    start += len(word) + 1
  return found


WORDS = word_spans(CAPTION)
# Few different boxes, so that phrases often share them.
corner = st.sampled_from([0, 9, 10, 63])
boxes = st.lists(
  st.tuples(corner, corner).map(sorted).map(tuple), min_size=1, max_size=2
)
word_ranges = st.tuples(
  st.integers(0, len(WORDS) - 1), st.integers(0, len(WORDS) - 1)
).map(sorted)
labelled_ranges = st.dictionaries(
  word_ranges.map(tuple), boxes.map(tuple), max_size=7
)


def decoded(bins):
  """A box that has these bins."""
  return Box(location.bins_to_box(*bins, NUM_BINS))


def recodes(bins):
  """Whether the decoded box of two bins has these bins."""
  box = location.bins_to_box(*bins, NUM_BINS)
  return location.box_to_bins(box, NUM_BINS) == bins


@hypothesis.settings(max_examples=120)
@hypothesis.given(labelled_ranges, st.randoms(use_true_random=False))
def test_phrases_on_word_borders_come_back(small_tokenizer, ranges, random):
  phrases = []
  for (first, last), pairs in ranges.items():
    span = WORDS[first][0], WORDS[last][1]
    pairs = [pair for pair in pairs if recodes(pair)] or [(0, 63)]
    kept = [decoded(pair) for pair in pairs]
    phrases.append(Phrase(CAPTION[slice(*span)], span, kept))
  in_order = sorted(phrases, key=lambda p: (p.span[0], -p.span[1]))
  random.shuffle(phrases)
  ids = markup.build(CAPTION, phrases, small_tokenizer)
  found = markup.parse(ids, small_tokenizer)
  assert found.text == CAPTION
  assert list(found.phrases) == in_order
  assert markup.parse(small_tokenizer.decode(ids), small_tokenizer) == found
  assert is_balanced(ids, small_tokenizer.vocab)


def is_balanced(ids, vocab):
  """Whether every phrase is closed and followed by its boxes, if any."""
  depth = 0
  for before, token_id in zip([None, *ids], ids, strict=False):
    depth += (token_id == vocab.phrase_id) - (token_id == vocab.phrase_end_id)
    if depth < 0:
      return False
    if token_id == vocab.object_id and before != vocab.phrase_end_id:
      return False
  return depth == 0


@hypothesis.given(
  st.lists(
    st.tuples(
      st.integers(0, len(CAPTION)), st.integers(0, len(CAPTION)), corner
    ),
    max_size=6,
  )
)
def test_any_spans_grow_to_tokens_and_keep_every_box(small_tokenizer, cuts):
  phrases = []
  for start, end, lower_right in cuts:
    if start < end and CAPTION[start:end].strip():
      box = decoded((0, 63 if lower_right < 9 else lower_right))
      phrases.append(Phrase(CAPTION[start:end], (start, end), [box]))
  ids = markup.build(CAPTION, phrases, small_tokenizer)
  found = markup.parse(ids, small_tokenizer)
  assert found.text == CAPTION
  count = sum(len(phrase.boxes) for phrase in found.phrases)
  assert count == len(phrases)
  for phrase in phrases:
    start, end = phrase.span
    start += len(phrase.text) - len(phrase.text.lstrip())
    end = start + len(phrase.text.strip())
    assert any(
      other.span[0] <= start
      and end <= other.span[1]
      and phrase.boxes[0] in other.boxes
      for other in found.phrases
    )


def fragments_of(events):
  """What a reader of the events sees: the borders between places."""
  borders, stack, place, borders_at = [spans.Border()], [], 0, 0
  for event in events:
    match event:
      case spans.Advance(start, place):
        # Items follow each other without a gap, and none is empty.
        assert borders_at == start < place
        borders_at = place
        borders += [spans.Border() for _ in range(start, place)]
      case spans.Open(blank=True):
        borders[-1].opened.append(None)
      case spans.Open():
        stack.append(spans.Fragment(start=place))
        borders[-1].opened.append(stack[-1])
      case spans.Close(label):
        fragment = stack.pop()
        fragment.end, fragment.label = place, label
        borders[-1].closed.append(fragment)
  assert not stack
  return borders


@hypothesis.settings(max_examples=400)
@hypothesis.given(
  st.dictionaries(
    st.tuples(st.integers(0, 7), st.integers(1, 8)).filter(
      lambda span: span[0] < span[1]
    ),
    st.sampled_from("ab"),
    max_size=8,
  )
)
def test_nesting_and_joining_are_inverse(labels):
  given = [spans.LabelledSpan(*span, label) for span, label in labels.items()]
  events = list(spans.nest(given, 8))
  joined = spans.join(fragments_of(events))
  found = {(f.start, f.end): f.label for f in joined}
  assert len(joined) == len(found)
  assert found == labels


tokens = st.lists(st.integers(0, 700 + 64), max_size=40)
tags = st.lists(st.integers(0, 30), max_size=60)


@hypothesis.settings(max_examples=150)
@hypothesis.given(tokens, tags)
def test_any_ids_and_their_text_are_read(small_tokenizer, ids, some_tags):
  vocab = small_tokenizer.vocab
  some = [vocab.mask_id + i for i in some_tags]
  # Mostly tags, with words in between.
  mixed = [*some[::2], *ids, *some[1::2]]
  mixed = [i for i in mixed if i < vocab.size]
  for each in (some, mixed):
    found = markup.parse(each, small_tokenizer)
    assert found.text == found.text.strip(" ")
    for phrase in found.phrases:
      assert found.text[slice(*phrase.span)] == phrase.text
      assert phrase.boxes
    markup.parse(small_tokenizer.decode(each), small_tokenizer)


@hypothesis.given(st.text())
def test_any_text_is_read(small_tokenizer, text):
  markup.parse(text, small_tokenizer)
