"""Ops that write about one box at a time: what is where, and where is what."""

from collections.abc import Callable, Sequence

from kosmos2_jax.input import packing, shuffling, text_ops
from kosmos2_jax.input.text_ops import Context, Example, Op
from kosmos2_jax.text import markup, prompts
from kosmos2_jax.text.vocab import Vocab

# Ids of what is said of one phrase, and which of them are predicted; None
# where the tokenizer has no token for the phrase.
_Said = tuple[list[int], list[bool]] | None
_LOSSES = {
  "expressions": ("text", "objects"),
  "descriptions": ("text", "answer"),
}


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
  _check_loss("expressions", loss)

  def say(phrase: markup.Phrase, example: Example, context: Context) -> _Said:
    del example
    ids = _tagged(phrase.text.strip(), None, phrase.boxes, context)
    if ids is None:
      return None
    if loss == "text":
      return ids, [True] * len(ids)
    return ids, _in_objects(ids, context.tokenizer.vocab)

  return _write(
    "write_expressions", say, max_expressions, loss == "text", False
  )


def write_descriptions(*, max_expressions: int | None, loss: str) -> Op:
  """Adds `text`: `<grounding>` and sentences that say what is in a box.

  One of `prompts.DESCRIPTIONS` is drawn for each expression, as is their
  order; `</s>` follows the last. An expression that ends with a full stop is
  given no second one. Without expressions as `write_expressions`.

  Args:
    max_expressions: how many of an example are used; None: all.
    loss: "text" predicts everything, "answer" only what follows a box, and
      `</s>`.
  """
  _check_loss("descriptions", loss)

  def say(phrase: markup.Phrase, example: Example, context: Context) -> _Said:
    template = shuffling.drawn(prompts.DESCRIPTIONS, example["rng"])
    expression = phrase.text.strip()
    if not context.tokenizer.encode_with_offsets(expression)[0]:
      return None
    stop = prompts.full_stop(expression)
    before = template.before + template.phrase
    span = len(template.before), len(before)
    sentence = f"{before}{template.after} {expression}{stop}"
    ids = _tagged(sentence, span, phrase.boxes, context)
    if ids is None or loss == "text":
      return ids and (ids, [True] * len(ids))
    asked = ids.index(context.tokenizer.vocab.object_end_id) + 1
    return ids, [False] * asked + [True] * (len(ids) - asked)

  return _write(
    "write_descriptions", say, max_expressions, loss == "text", True
  )


def _write(
  name: str,
  say: Callable[[markup.Phrase, Example, Context], _Said],
  max_expressions: int | None,
  everything: bool,
  predict_end: bool,
) -> Op:
  """Adds `text`: what is said of the phrases, as far as there is room.

  Args:
    name: of the op.
    say: what is said of one phrase.
    max_expressions: how many phrases are used.
    everything: whether the loss counts `<grounding>`, `</s>`, and a caption
      that stands in where no phrase has a box.
    predict_end: whether it counts `</s>` anyway.
  """
  if max_expressions is not None and max_expressions < 1:
    raise ValueError(f"max_expressions is 1 or more, found {max_expressions}")

  def op(example: Example, context: Context) -> Example:
    phrases, rng = text_ops.get(name, example, "phrases", "rng")
    vocab = context.tokenizer.vocab
    ids, mask = [vocab.grounding_id], [everything]
    reasons = list(example["reasons"])
    for phrase in shuffling.shuffled(phrases, rng)[:max_expressions]:
      said = say(phrase, example, context)
      if said is None:
        reasons.append("bad_span")
      elif len(ids) + len(said[0]) + 1 > context.max_text:
        reasons.append("expression_left_out")
      else:
        ids += said[0]
        mask += said[1]
    if len(ids) == 1:
      example = {**example, "reasons": [*reasons, "no_boxes"]}
      result = text_ops.write_plain(name, example, context)
      if not everything:
        result["text_mask"] = [False] * len(result["text"])
      return result
    text, _ = packing.fit(ids, context.max_text, vocab)
    mask.append(everything or predict_end)
    example = {**example, "reasons": reasons}
    return text_ops.put(name, example, text=text, text_mask=mask)

  return op


def _tagged(
  text: str,
  span: tuple[int, int] | None,
  boxes: Sequence[markup.Box],
  context: Context,
) -> list[int] | None:
  """The text with one phrase, its span or all of it; None without tokens."""
  start, end = span or (0, len(text))
  phrase = markup.Phrase(text[start:end], (start, end), boxes)
  ids, bad = text_ops.tagged_text(text, [phrase], context, grounding=False)
  return None if bad else ids


def _in_objects(ids: Sequence[int], vocab: Vocab) -> list[bool]:
  """True from each `<object>` to its `</object>`, both included."""
  # Looked up once: the ids of a vocabulary are computed at every access.
  object_id, object_end_id = vocab.object_id, vocab.object_end_id
  mask, inside = [], False
  for token_id in ids:
    inside = inside or token_id == object_id
    mask.append(inside)
    inside = inside and token_id != object_end_id
  return mask


def _check_loss(what: str, loss: str) -> None:
  known = _LOSSES[what]
  if loss not in known:
    raise ValueError(f"loss is {known[0]!r} or {known[1]!r}, found {loss!r}")
