"""From an example's caption and boxes to the ids of its text.

An op is a function (example, context) -> example. It adds keys and changes
none: an op that misses a key, or would overwrite one, raises and lists what
there is. What an op leaves out it reports in `example["reasons"]`.

The last op of a recipe leaves either `text` and `text_mask`, the words behind
the example's one picture, or a `document` (see `documents`).
"""

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any

from kosmos2_jax.input import documents, geometry, packing
from kosmos2_jax.text import markup, tagging
from kosmos2_jax.text.tokenizer import Tokenizer

Example = dict[str, Any]

# Why something of an example is not in its row; counted by `Stream.counts`.
REASONS = {
  "low_score": "boxes whose score is below the recipe's threshold",
  "empty_box": "boxes without area",
  "cropped_out": "boxes of which the centre crop keeps too little",
  "flip_refused": "pictures not mirrored, as their words do not allow it",
  "bad_span": "phrases outside of the caption, blank or without any token",
  "no_boxes": "examples without any box left; their row is the plain caption",
  "expression_left_out": "expressions for which the row has no room",
  "text_cut": "examples whose text is longer than the row and was cut",
  "no_text": "examples without text; their row is the picture and </s>",
  "no_target": "examples of which the loss counts nothing",
  "turn_left_out": "turns of a dialogue for which the row has no room",
  "picture_left_out": "pictures beyond the recipe's number or the row's room",
  "single_picture": "documents of one picture that are read as text alone",
  "sentence_left_out": "documents without some sentences far from pictures",
  "text_window": "texts longer than the row, of which some lines are drawn",
  "line_cut": "lines longer than the row that were cut",
}


@dataclasses.dataclass(frozen=True)
class Context:
  """What ops know of the stream.

  Attributes:
    tokenizer: makes ids of text.
    image_size: side of the square the model sees.
    view: how pictures become squares; boxes follow.
    max_text: ids a row has room for after a picture at its beginning, `</s>`
      included.
    num_latents: slots of a picture.
  """

  tokenizer: Tokenizer
  image_size: int
  view: str
  max_text: int
  num_latents: int

  @property
  def max_ids(self) -> int:
    """Ids of the longest document a row has room for."""
    # `<s>` is before the picture.
    return self.max_text + self.picture_length + 1

  @property
  def picture_length(self) -> int:
    """Ids of a picture: `<image>`, slots, `</image>`; see `documents`."""
    return self.num_latents + 2

  def writer(self) -> documents.Writer:
    """An empty document."""
    return documents.Writer(self.tokenizer.vocab, self.num_latents)


Op = Callable[[Example, Context], Example]


def start(example: Example, rng: random.Random) -> Example:
  """An example as the first op gets it: with `rng` and `reasons`."""
  return put("start", example, rng=rng, reasons=[])


def document_of(example: Example, context: Context) -> documents.Document:
  """What a recipe's last op left, as a document."""
  if "document" in example:
    return example["document"]
  image, text, mask = get("document_of", example, "image", "text", "text_mask")
  writer = context.writer()
  writer.picture(image)
  writer.text(text, mask)
  return writer.document()


def keep_boxes(key: str, *, score_threshold: float) -> Op:
  """Adds `items`: the items of `key` whose box is usable, in the view.

  Drops items whose score is below the threshold (items without score stay)
  and boxes that are empty or that the centre crop mostly cuts off.
  """

  def op(example: Example, context: Context) -> Example:
    given, picture = get("keep_boxes", example, key, "image_shape")
    items, reasons = [], list(example["reasons"])
    for item in given:
      if item.get("score", score_threshold) < score_threshold:
        reasons.append("low_score")
        continue
      box = box_in_view(item["box_xyxy"], picture, context)
      if box is None:
        reasons.append(why_no_box(item["box_xyxy"]))
      else:
        items.append({**item, "box_xyxy": box})
    return put("keep_boxes", {**example, "reasons": reasons}, items=items)

  return op


def box_in_view(
  box_xyxy: geometry.BoxXyxy, shape: tuple[int, int], context: Context
) -> geometry.BoxXyxy | None:
  """The box as the view has it; None where it is empty or mostly cut off."""
  if context.view == "squash":
    return geometry.squash_box(box_xyxy)
  height, width = shape
  return geometry.crop_box(
    box_xyxy, height=height, width=width, size=context.image_size
  )


def why_no_box(box_xyxy: geometry.BoxXyxy) -> str:
  """The reason why `box_in_view` has none."""
  return "empty_box" if geometry.is_empty(box_xyxy) else "cropped_out"


def phrases_of_caption() -> Op:
  """Adds `phrases`: the `items` grouped by their span of the caption.

  Spans in order of first appearance, boxes in the order given.
  """

  def op(example: Example, context: Context) -> Example:
    del context
    items, caption = get("phrases_of_caption", example, "items", "caption")
    groups, reasons = {}, list(example["reasons"])
    for item in items:
      begin, end = item["start"], item["end"]
      if 0 <= begin < end <= len(caption) and caption[begin:end].strip():
        groups.setdefault((begin, end), []).append(item["box_xyxy"])
      else:
        reasons.append("bad_span")
    phrases = [phrase(caption, span, boxes) for span, boxes in groups.items()]
    return put(
      "phrases_of_caption", {**example, "reasons": reasons}, phrases=phrases
    )

  return op


def begin_caption(words: str) -> Op:
  """Puts `words` before the caption, and moves its phrases along.

  A model that is to go on from "<grounding>An image of" has to have seen that
  beginning. A caption that begins so already is left as it is.
  """

  def op(example: Example, context: Context) -> Example:
    del context
    caption, phrases = get("begin_caption", example, "caption", "phrases")
    if caption.startswith(words):
      return example
    shift = len(words) + 1
    moved = [
      dataclasses.replace(p, span=(p.span[0] + shift, p.span[1] + shift))
      for p in phrases
    ]
    return {**example, "caption": f"{words} {caption}", "phrases": moved}

  return op


def phrases_of_expressions() -> Op:
  """Adds `phrases`: one per different `text` of the `items`.

  Each is a text of its own: spans count in the expression.
  """

  def op(example: Example, context: Context) -> Example:
    del context
    (items,) = get("phrases_of_expressions", example, "items")
    groups = {}
    for item in items:
      groups.setdefault(item["text"], []).append(item["box_xyxy"])
    phrases = [
      phrase(text, (0, len(text)), boxes) for text, boxes in groups.items()
    ]
    return put("phrases_of_expressions", example, phrases=phrases)

  return op


def write_plain_caption() -> Op:
  """Adds `text`: the caption alone, without `<grounding>`, and `</s>`."""

  def op(example: Example, context: Context) -> Example:
    get("write_plain_caption", example, "caption")
    return write_plain("write_plain_caption", example, context)

  return op


def write_grounded_caption(*, mode: str, tag_probability: float) -> Op:
  """Adds `text`: `<grounding>` and the caption with its boxes, and `</s>`.

  With probability 1 - `tag_probability`, and where no phrase has a box, it is
  the plain caption instead.
  """
  name = "write_grounded_caption"

  def op(example: Example, context: Context) -> Example:
    caption, phrases, rng = get(name, example, "caption", "phrases", "rng")
    if phrases and rng.random() >= tag_probability:
      return write_plain(name, example, context)
    ids, bad = tagged_text(caption, phrases, context, mode=mode)
    example = {**example, "reasons": [*example["reasons"], *bad]}
    if len(bad) == len(phrases):
      example = {**example, "reasons": [*example["reasons"], "no_boxes"]}
      return write_plain(name, example, context)
    return finish(name, example, context, ids)

  return op


def tagged_text(
  text: str,
  phrases: Sequence[markup.Phrase],
  context: Context,
  *,
  mode: markup.Mode = "nested",
  grounding: bool = True,
) -> tuple[list[int], list[str]]:
  """What `tagging.build_good` makes of it.

  Returns:
    Token ids, and "bad_span" for every phrase that was left out.
  """
  ids, left_out = tagging.build_good(
    text, phrases, context.tokenizer, mode, grounding
  )
  return ids, ["bad_span"] * left_out


def phrase(
  text: str, span: tuple[int, int], boxes: Sequence[geometry.BoxXyxy]
) -> markup.Phrase:
  """The characters `span` of a text, with their boxes."""
  start, end = span
  return markup.Phrase(text[start:end], span, [markup.Box(b) for b in boxes])


def write_plain(name: str, example: Example, context: Context) -> Example:
  """Adds `text`, for the op `name`: the plain caption."""
  ids = _caption_ids(example, context)
  if not ids:
    example = {**example, "reasons": [*example["reasons"], "no_text"]}
  return finish(name, example, context, ids)


def _caption_ids(example: Example, context: Context) -> list[int]:
  # Not `encode`: that would read a caption's accidental "<image>" as a tag.
  caption = example.get("caption", "")
  return context.tokenizer.encode_with_offsets(caption)[0]


def finish(
  name: str, example: Example, context: Context, ids: list[int]
) -> Example:
  """Adds `text` and `text_mask`, for the op `name`.

  `ids` are ended with `</s>` or cut to the row; the loss counts all of them.
  """
  vocab = context.tokenizer.vocab
  text, was_cut = packing.fit(ids, context.max_text, vocab)
  if was_cut:
    example = {**example, "reasons": [*example["reasons"], "text_cut"]}
    if len(text) <= 1:
      # Not even the first phrase has room: better words without boxes.
      ids = _caption_ids(example, context)
      text, _ = packing.fit(ids, context.max_text, vocab)
  return put(name, example, text=text, text_mask=[True] * len(text))


def get(name: str, example: Example, *keys: str) -> list[Any]:
  """What the op `name` reads of an example; raises where a key is missing."""
  missing = [key for key in keys if key not in example]
  if missing:
    raise ValueError(
      f"op {name} needs {missing}, which the example has not; it has "
      f"{sorted(example)}. Another recipe or other options may fit this data."
    )
  return [example[key] for key in keys]


def put(name: str, example: Example, **new: Any) -> Example:
  """The example with what the op `name` adds; raises where it is there."""
  clobbered = sorted(set(new) & set(example))
  if clobbered:
    raise ValueError(
      f"op {name} would overwrite {clobbered}; the example has already "
      f"{sorted(example)}"
    )
  return {**example, **new}
