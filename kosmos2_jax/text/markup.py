"""Captions with boxes, as tokens and back.

A phrase is tagged inside the caption and its boxes follow it:

    a<phrase> b c</phrase><object>UL LR DELIMITER UL LR</object> d

UL and LR stand for the location tokens of a box's corners (see `location`).
`build` puts the tags into the tokens of the whole caption, so tagging never
changes how the caption is split; `parse` reads captions and model output.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, SupportsIndex

from kosmos2_jax.text import location, spans
from kosmos2_jax.text import tokenizer as tokenizer_lib
from kosmos2_jax.text import vocab as vocab_lib
from kosmos2_jax.text.grounded import Box, GroundedText, Phrase

Mode = Literal["nested", "maximal"]
_Item = str | int
_Bins = tuple[tuple[int, int], ...]

__all__ = [
  "Box",
  "GroundedText",
  "Mode",
  "Phrase",
  "build",
  "build_text",
  "parse",
]


def build(
  caption: str,
  phrases: Sequence[Phrase],
  tokenizer: tokenizer_lib.Tokenizer,
  mode: Mode = "nested",
  grounding: bool = True,
) -> list[int]:
  """Returns the tokens of a caption with its phrases tagged.

  Spans lose outer spaces and then grow to whole tokens; phrases that cover the
  same tokens become one with all their boxes, in order.

  Args:
    caption: plain text; a tag in it is spelled out, not obeyed.
    phrases: in any order; their spans count characters of `caption`.
    tokenizer: gives the pieces and the location tokens.
    mode: "nested" keeps all; a span that crosses the end of another is cut
      there into two fragments with the same boxes, which `parse` joins.
      "maximal" keeps only spans in no other span and, of two that cross, the
      earlier one.
    grounding: whether `<grounding>` comes first.

  Returns:
    Token ids, without `<s>` and `</s>`.

  Raises:
    ValueError: for a phrase whose span is not in the caption, is blank or
      disagrees with its text, without boxes, or with a box that is no box.
  """
  if mode not in ("nested", "maximal"):
    raise ValueError(f'mode is "nested" or "maximal", not {mode!r}.')
  vocab = tokenizer.vocab
  ids, offsets = tokenizer.encode_with_offsets(caption)
  merged: dict[tuple[int, int], list[tuple[int, int]]] = {}
  for phrase in phrases:
    start, end = _checked_span(caption, phrase)
    bins = _checked_bins(phrase, vocab.num_bins)
    token_span = _token_span(caption, offsets, start, end)
    merged.setdefault(token_span, []).extend(bins)
  labelled = [
    spans.LabelledSpan(start, end, tuple(bins))
    for (start, end), bins in merged.items()
  ]
  if mode == "maximal":
    labelled = spans.maximal(labelled)

  tagged = [vocab.grounding_id] if grounding else []
  for event in spans.nest(labelled, len(ids)):
    match event:
      case spans.Advance(start, end):
        tagged += ids[start:end]
      case spans.Open(blank):
        tagged.append(vocab.phrase_id)
        if blank:
          tagged.append(vocab.phrase_end_id)
      case spans.Close(bins):
        tagged += [vocab.phrase_end_id, vocab.object_id]
        for i, corners in enumerate(bins):
          tagged += [vocab.delimiter_id] if i else []
          tagged += [vocab.location_id(corner) for corner in corners]
        tagged.append(vocab.object_end_id)
  return tagged


def build_text(
  caption: str,
  phrases: Sequence[Phrase],
  tokenizer: tokenizer_lib.Tokenizer,
  mode: Mode = "nested",
  grounding: bool = True,
) -> str:
  """Returns `build`'s tokens as text; same arguments, raises the same."""
  return tokenizer.decode(build(caption, phrases, tokenizer, mode, grounding))


def parse(
  ids_or_text: str | Iterable[SupportsIndex], tokenizer: tokenizer_lib.Tokenizer
) -> GroundedText:
  """Reads text with boxes; inverts `build` and bears with model output.

  As in the original, `<object>` and `</object>` hold one or more pairs of
  location tokens with a delimiter between pairs, and belong to the phrase whose
  `</phrase>` stands right before them. What does not fit is not an error:

  * a block that is no such sequence (a location too many, a missing delimiter,
    words inside, no `</object>`) has no boxes; its words stay in the text;
  * a phrase without boxes, or that is never closed, is plain text;
  * boxes without a phrase, as when anything stands between `</phrase>` and
    `<object>`, become a phrase with empty text and span;
  * inverted boxes (lower right above or left of upper left) stay inverted;
  * any other special token is left out (in text `<s>`, `</s>` and `<pad>`,
    too), and so is everything from `<image>` to the next `</image>`.

  Args:
    ids_or_text: token ids (safer: a caption may spell out a tag), or text with
      tags such as `decode` gives.
    tokenizer: tells special tokens and the size of the location grid.

  Returns:
    The text without tags and outer spaces; phrases in order of their opening,
    with the boxes that their location tokens stand for.

  Raises:
    ValueError: only for ids outside the vocabulary.
  """
  vocab = tokenizer.vocab
  if isinstance(ids_or_text, str):
    for control in (vocab_lib.BOS, vocab_lib.PAD, vocab_lib.EOS):
      ids_or_text = ids_or_text.replace(control, "")
    items = list(tokenizer.split(ids_or_text))
  else:
    items = list(tokenizer.parts(ids_or_text))
  text = ""
  border = spans.Border()
  borders, stack, loose = [border], [], []
  i = 0
  while i < len(items):
    item = items[i]
    i += 1
    if isinstance(item, str):
      # Tags must not leave two spaces where the text had one, nor any first.
      if not text or text.endswith(" "):
        item = item.lstrip(" ")
      text += item
      border = spans.Border()
      borders.append(border)
    elif item == vocab.phrase_id:
      fragment = spans.Fragment(start=len(text))
      border.opened.append(fragment)
      stack.append((fragment, border))
    elif item == vocab.phrase_end_id and stack:
      fragment, opened_at = stack.pop()
      fragment.end = len(text)
      if opened_at is border:
        border.opened[border.opened.index(fragment)] = None
        continue
      fragment.label, i = _read_boxes(items, i, vocab)
      border.closed.append(fragment)
    elif item == vocab.object_id:
      label, i = _read_boxes(items, i - 1, vocab)
      loose.append(spans.Fragment(len(text), len(text), label))
    elif item == vocab.image_id and vocab.image_end_id in items[i:]:
      i = items.index(vocab.image_end_id, i) + 1

  text = text.rstrip(" ")
  found = [f for f in spans.join(borders) + loose if f.label]
  found.sort(key=lambda fragment: fragment.start)
  return GroundedText(text, [_phrase(text, f, vocab.num_bins) for f in found])


def _read_boxes(
  items: Sequence[_Item], i: int, vocab: vocab_lib.Vocab
) -> tuple[_Bins, int]:
  """Reads `<object> pairs </object>` at item i.

  Returns:
    The pairs of bins and the index behind the block; `()` and an index past
    `<object>`, if it stands there, when there is no such block.
  """
  if i == len(items) or items[i] != vocab.object_id:
    return (), i
  pairs, k = [], i + 1
  while (
    k + 2 < len(items)
    and _is_location(items[k], vocab)
    and _is_location(items[k + 1], vocab)
  ):
    pairs.append((vocab.bin_of(items[k]), vocab.bin_of(items[k + 1])))
    if items[k + 2] == vocab.object_end_id:
      return tuple(pairs), k + 3
    if items[k + 2] != vocab.delimiter_id:
      break
    k += 3
  return (), i + 1


def _is_location(item: _Item, vocab: vocab_lib.Vocab) -> bool:
  return isinstance(item, int) and vocab.is_location(item)


def _phrase(text: str, fragment: spans.Fragment, num_bins: int) -> Phrase:
  start, end = fragment.start, min(fragment.end, len(text))
  words = text[start:end]
  start += len(words) - len(words.lstrip(" "))
  words = words.strip(" ")
  start = min(start, len(text))
  boxes = tuple(
    Box(location.bins_to_box(*corners, num_bins)) for corners in fragment.label
  )
  return Phrase(words, (start, start + len(words)), boxes)


def _checked_span(caption: str, phrase: Phrase) -> tuple[int, int]:
  """Returns the span without outer white space."""
  start, end = phrase.span
  if not 0 <= start < end <= len(caption):
    raise ValueError(
      f"Phrase {phrase.text!r} has the span {phrase.span}, which is not a"
      f" range of the {len(caption)} characters of the caption {caption!r}."
    )
  words = caption[start:end]
  if not words.strip():
    raise ValueError(
      f"The span {phrase.span} of the caption {caption!r} holds only spaces;"
      " a phrase needs a word."
    )
  if phrase.text.strip() != words.strip():
    raise ValueError(
      f"Phrase {phrase.text!r} has the span {phrase.span}, but there the"
      f" caption reads {words!r}; give both for the same characters."
    )
  start += len(words) - len(words.lstrip())
  return start, start + len(words.strip())


def _checked_bins(phrase: Phrase, num_bins: int) -> list[tuple[int, int]]:
  if not phrase.boxes:
    raise ValueError(
      f"Phrase {phrase.text!r} has no boxes; leave out phrases without any."
    )
  bins = []
  for box in phrase.boxes:
    x1, y1, x2, y2 = box.xyxy
    if not all(math.isfinite(value) for value in box.xyxy):
      reason = "a coordinate is not a finite number"
    elif x2 < x1 or y2 < y1:
      reason = "x2 < x1 or y2 < y1"
    else:
      bins.append(location.box_to_bins(box.xyxy, num_bins))
      continue
    raise ValueError(
      f"Phrase {phrase.text!r} has the box {box.xyxy}, where {reason};"
      " expected x1 <= x2 and y1 <= y2, normalised to 0..1."
    )
  return bins


def _token_span(
  caption: str, offsets: Sequence[tuple[int, int]], start: int, end: int
) -> tuple[int, int]:
  """Returns the range of tokens that hold any of the span's characters.

  Tokens without visible characters (a lone space, the first bytes of a letter)
  go with the token after them, so a letter is never cut.
  """
  first, last, silent = None, None, 0
  for i, (left, right) in enumerate(offsets):
    left += len(caption[left:right]) - len(caption[left:right].lstrip())
    if left >= right:
      silent += 1
      continue
    if left < end and right > start:
      first = i - silent if first is None else first
      last = i
    silent = 0
  if first is None:
    raise ValueError(
      f"The characters {caption[start:end]!r} of the caption {caption!r} have"
      " no tokens (the tokenizer drops them); leave this phrase out."
    )
  return first, last + 1
