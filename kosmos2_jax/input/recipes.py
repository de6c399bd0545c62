"""Recipes: what is made of an example, as a list of ops.

Each function returns the list for its arguments; `RECIPES` has them by name,
for configs.
"""

from collections.abc import Callable

from kosmos2_jax.input import text_ops
from kosmos2_jax.input.text_ops import Op

# Confidence below which the original does not use a box.
SCORE_THRESHOLD = 0.65

# The list of an example that each mode takes its boxes from.
_KEY_OF_MODE = {"phrase": "noun_chunks", "expression": "ref_exps"}


def plain_caption() -> list[Op]:
  """`a dog on a sofa</s>`."""
  return [text_ops.write_plain_caption()]


def grounded_caption(
  *,
  mode: str = "phrase",
  markup: str = "nested",
  prefix: str = "",
  tag_probability: float = 1.0,
  score_threshold: float = SCORE_THRESHOLD,
) -> list[Op]:
  """`<grounding><phrase>a dog</phrase><object>A B</object> on a sofa</s>`.

  Args:
    mode: "phrase" boxes noun chunks, "expression" referring expressions.
    markup: "nested" keeps phrases inside of phrases, "maximal" only the
      outermost, as the original does in its expression mode.
    prefix: words to put before every caption that does not begin so, such as
      "An image of"; the original has none.
    tag_probability: how often an example with boxes is tagged at all; else it
      is a plain caption (the original's training script: 0.5).
    score_threshold: boxes below are not used.
  """
  if not 0 <= tag_probability <= 1:
    raise ValueError(f"tag_probability is 0..1, found {tag_probability}")
  if markup not in ("nested", "maximal"):
    raise ValueError(f"markup is 'nested' or 'maximal', found {markup!r}")
  return [
    text_ops.keep_boxes(_key(mode), score_threshold=score_threshold),
    text_ops.phrases_of_caption(),
    *([text_ops.begin_caption(prefix)] if prefix else []),
    text_ops.write_grounded_caption(
      mode=markup, tag_probability=tag_probability
    ),
  ]


def referring(
  *,
  items: str = "expressions",
  max_expressions: int | None = None,
  loss: str = "text",
  score_threshold: float = SCORE_THRESHOLD,
) -> list[Op]:
  """`<grounding><phrase>the dog</phrase><object>A B</object><phrase>...</s>`.

  All expressions of a picture, one after the other in an order drawn anew for
  every epoch: many boxes to learn from in one row.

  Args:
    items: the list of the example the expressions come from.
    max_expressions: how many of an example are used; None: all.
    loss: "text" predicts expressions and boxes, "objects" boxes only.
    score_threshold: boxes below are not used.
  """
  if items == "expressions":
    grouping = text_ops.phrases_of_expressions()
  elif items in _KEY_OF_MODE.values():
    grouping = text_ops.phrases_of_caption()
  else:
    raise ValueError(
      f"items is 'expressions', 'ref_exps' or 'noun_chunks', found {items!r}"
    )
  if max_expressions is not None and max_expressions < 1:
    raise ValueError(f"max_expressions is 1 or more, found {max_expressions}")
  return [
    text_ops.keep_boxes(items, score_threshold=score_threshold),
    grouping,
    text_ops.write_expressions(max_expressions=max_expressions, loss=loss),
  ]


def _key(mode: str) -> str:
  if mode not in _KEY_OF_MODE:
    raise ValueError(
      f"mode is one of {', '.join(_KEY_OF_MODE)}, found {mode!r}"
    )
  return _KEY_OF_MODE[mode]


RECIPES: dict[str, Callable[..., list[Op]]] = {
  "grounded_caption": grounded_caption,
  "plain_caption": plain_caption,
  "referring": referring,
}
