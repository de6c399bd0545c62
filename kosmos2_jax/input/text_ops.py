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

from kosmos2_jax.input import documents, geometry, packing, shuffling
from kosmos2_jax.text import markup
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
    # <s>, <image>, slots, </image>; see `documents.Writer.picture`.
    return self.max_text + self.num_latents + 3

  def writer(self) -> documents.Writer:
    """An empty document."""
    return documents.Writer(self.tokenizer.vocab, self.num_latents)


Op = Callable[[Example, Context], Example]


def start(example: Example, rng: random.Random) -> Example:
  """An example as the first op gets it: with `rng` and `reasons`."""
  return _put("start", example, rng=rng, reasons=[])


def document_of(example: Example, context: Context) -> documents.Document:
  """What a recipe's last op left, as a document."""
  if "document" in example:
    return example["document"]
  image, text, mask = _get("document_of", example, "image", "text", "text_mask")
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
    given, picture = _get("keep_boxes", example, key, "image_shape")
    items, reasons = [], list(example["reasons"])
    for item in given:
      if item.get("score", score_threshold) < score_threshold:
        reasons.append("low_score")
        continue
      box = _box_in_view(item["box_xyxy"], picture, context)
      if box is not None:
        items.append({**item, "box_xyxy": box})
      elif geometry.is_empty(item["box_xyxy"]):
        reasons.append("empty_box")
      else:
        reasons.append("cropped_out")
    return _put("keep_boxes", {**example, "reasons": reasons}, items=items)

  return op


def _box_in_view(
  box_xyxy: geometry.BoxXyxy, shape: tuple[int, int], context: Context
) -> geometry.BoxXyxy | None:
  if context.view == "squash":
    return geometry.squash_box(box_xyxy)
  height, width = shape
  return geometry.crop_box(
    box_xyxy, height=height, width=width, size=context.image_size
  )


def phrases_of_caption() -> Op:
  """Adds `phrases`: the `items` grouped by their span of the caption.

  Spans in order of first appearance, boxes in the order given.
  """

  def op(example: Example, context: Context) -> Example:
    del context
    items, caption = _get("phrases_of_caption", example, "items", "caption")
    groups, reasons = {}, list(example["reasons"])
    for item in items:
      begin, end = item["start"], item["end"]
      if 0 <= begin < end <= len(caption) and caption[begin:end].strip():
        groups.setdefault((begin, end), []).append(item["box_xyxy"])
      else:
        reasons.append("bad_span")
    phrases = [
      markup.Phrase(caption[begin:end], (begin, end), _boxes(boxes))
      for (begin, end), boxes in groups.items()
    ]
    return _put(
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
    caption, phrases = _get("begin_caption", example, "caption", "phrases")
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
    (items,) = _get("phrases_of_expressions", example, "items")
    groups = {}
    for item in items:
      groups.setdefault(item["text"], []).append(item["box_xyxy"])
    phrases = [
      markup.Phrase(text, (0, len(text)), _boxes(boxes))
      for text, boxes in groups.items()
    ]
    return _put("phrases_of_expressions", example, phrases=phrases)

  return op


def write_plain_caption() -> Op:
  """Adds `text`: the caption alone, without `<grounding>`, and `</s>`."""

  def op(example: Example, context: Context) -> Example:
    _get("write_plain_caption", example, "caption")
    return _write_plain("write_plain_caption", example, context)

  return op


def write_grounded_caption(*, mode: str, tag_probability: float) -> Op:
  """Adds `text`: `<grounding>` and the caption with its boxes, and `</s>`.

  With probability 1 - `tag_probability`, and where no phrase has a box, it is
  the plain caption instead.
  """
  name = "write_grounded_caption"

  def op(example: Example, context: Context) -> Example:
    caption, phrases, rng = _get(name, example, "caption", "phrases", "rng")
    if phrases and rng.random() >= tag_probability:
      return _write_plain(name, example, context)
    try:
      ids = markup.build(caption, phrases, context.tokenizer, mode=mode)
    except ValueError:
      good = [p for p in phrases if _tagged(caption, p, context)]
      bad = ["bad_span"] * (len(phrases) - len(good))
      example = {**example, "reasons": [*example["reasons"], *bad]}
      phrases = good
      ids = markup.build(caption, phrases, context.tokenizer, mode=mode)
    if not phrases:
      example = {**example, "reasons": [*example["reasons"], "no_boxes"]}
      return _write_plain(name, example, context)
    return _finish(name, example, context, ids)

  return op


def write_expressions(*, max_expressions: int | None, loss: str) -> Op:
  """Adds `text`: `<grounding>` and expressions with their boxes, and `</s>`.

  The order is drawn from the example's random numbers. Expressions for which
  there is no room are left out. An example without expressions is a plain
  caption; with `loss="objects"` that has no target at all.

  Args:
    max_expressions: how many of an example are used; None: all.
    loss: "text" predicts everything, "objects" only what follows an
      expression: `<object>`, locations, `</object>`.
  """
  if loss not in ("text", "objects"):
    raise ValueError(f"loss is 'text' or 'objects', found {loss!r}")

  def op(example: Example, context: Context) -> Example:
    phrases, rng = _get("write_expressions", example, "phrases", "rng")
    vocab = context.tokenizer.vocab
    chosen = shuffling.shuffled(phrases, rng)[:max_expressions]
    ids, reasons = [vocab.grounding_id], list(example["reasons"])
    for phrase in chosen:
      expression = phrase.text.strip()
      alone = markup.Phrase(expression, (0, len(expression)), phrase.boxes)
      more = _tagged(expression, alone, context)
      if more is None:
        reasons.append("bad_span")
        continue
      if len(ids) + len(more) + 1 > context.max_text:
        reasons.append("expression_left_out")
        continue
      ids += more
    if len(ids) == 1:
      example = {**example, "reasons": [*reasons, "no_boxes"]}
      result = _write_plain("write_expressions", example, context)
      if loss == "objects":
        result["text_mask"] = [False] * len(result["text"])
      return result
    example = {**example, "reasons": reasons}
    result = _finish("write_expressions", example, context, ids)
    if loss == "objects":
      result["text_mask"] = _in_objects(result["text"], vocab)
    return result

  return op


def _tagged(
  text: str, phrase: markup.Phrase, context: Context
) -> list[int] | None:
  """The text with one phrase, or None where the tokenizer has no token for it.

  Boxes and spans have been checked; that is what `build` may still object to.
  """
  try:
    return markup.build(text, [phrase], context.tokenizer, grounding=False)
  except ValueError:
    return None


def _in_objects(ids: Sequence[int], vocab: Any) -> list[bool]:
  """True from each `<object>` to its `</object>`, both included."""
  # Looked up once: the ids of a vocabulary are computed at every access.
  object_id, object_end_id = vocab.object_id, vocab.object_end_id
  mask, inside = [], False
  for token_id in ids:
    inside = inside or token_id == object_id
    mask.append(inside)
    inside = inside and token_id != object_end_id
  return mask


def _boxes(boxes: Sequence[geometry.BoxXyxy]) -> tuple[markup.Box, ...]:
  return tuple(markup.Box(box) for box in boxes)


def _write_plain(name: str, example: Example, context: Context) -> Example:
  ids = _caption_ids(example, context)
  if not ids:
    example = {**example, "reasons": [*example["reasons"], "no_text"]}
  return _finish(name, example, context, ids)


def _caption_ids(example: Example, context: Context) -> list[int]:
  # Not `encode`: that would read a caption's accidental "<image>" as a tag.
  caption = example.get("caption", "")
  return context.tokenizer.encode_with_offsets(caption)[0]


def _finish(
  name: str, example: Example, context: Context, ids: list[int]
) -> Example:
  """Adds `text` and `text_mask`, ended with `</s>` or cut to the row."""
  vocab = context.tokenizer.vocab
  text, was_cut = packing.fit(ids, context.max_text, vocab)
  if was_cut:
    example = {**example, "reasons": [*example["reasons"], "text_cut"]}
    if len(text) <= 1:
      # Not even the first phrase has room: better words without boxes.
      ids = _caption_ids(example, context)
      text, _ = packing.fit(ids, context.max_text, vocab)
  return _put(name, example, text=text, text_mask=[True] * len(text))


def _get(name: str, example: Example, *keys: str) -> list[Any]:
  missing = [key for key in keys if key not in example]
  if missing:
    raise ValueError(
      f"op {name} needs {missing}, which the example has not; it has "
      f"{sorted(example)}. Another recipe or other options may fit this data."
    )
  return [example[key] for key in keys]


def _put(name: str, example: Example, **new: Any) -> Example:
  clobbered = sorted(set(new) & set(example))
  if clobbered:
    raise ValueError(
      f"op {name} would overwrite {clobbered}; the example has already "
      f"{sorted(example)}"
    )
  return {**example, **new}
