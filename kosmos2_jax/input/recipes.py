"""Recipes: what is made of an example, as a list of ops.

Each function returns the list for its arguments; `RECIPES` has them by name,
for configs. Each has an example: what is read, what is to be predicted from
it, and T where the loss counts that. There

    <i> _ _ </i>    is a picture with two slots, `<image>` to `</image>`
    <g>             `<grounding>`
    <p> it </p>     `<phrase>`, words, `</phrase>`
    <o> @9 @27 </o> `<object>`, locations of 8 x 8, `</object>`

and a word is one column, whatever tokens it is made of.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kosmos2_jax.input import (
  dialogue_ops,
  dispatch_ops,
  interleaved_ops,
  plain_text_ops,
  question_ops,
  region_ops,
  text_ops,
)
from kosmos2_jax.input.text_ops import Op

# Confidence below which the original does not use a box.
SCORE_THRESHOLD = 0.65

# The list of an example that each mode takes its boxes from.
_KEY_OF_MODE = {"phrase": "noun_chunks", "expression": "ref_exps"}


def plain_caption() -> list[Op]:
  """The caption without boxes.

  `a red circle`:

      tokens  <s> <i> _ _    </i> a red    circle
      targets <i> _   _ </i> a    red circle </s>
      mask    .   .   . .    T    T   T      T
  """
  return [text_ops.write_plain_caption()]


def grounded_caption(
  *,
  mode: str = "phrase",
  markup: str = "nested",
  prefix: str = "",
  tag_probability: float = 1.0,
  score_threshold: float = SCORE_THRESHOLD,
) -> list[Op]:
  """The caption with its boxes, announced by `<grounding>`.

  `a red circle above a square`, a box for "a square":

      tokens  <s> <i> _ _    </i> <g> a   red    circle above
      targets <i> _   _ </i> <g>  a   red circle above  <p>
      mask    .   .   . .    T    T   T   T      T      T

      tokens  <p> a      square </p> <o> @9  @27  </o>
      targets a   square </p>   <o>  @9  @27 </o> </s>
      mask    T   T      T      T    T   T   T    T

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
  """Expressions, each with its boxes: asks where something is.

  All expressions of a picture, one after the other in an order drawn anew for
  every epoch: many boxes to learn from in one row. `a circle`:

      tokens  <s> <i> _ _    </i> <g> <p> a      circle </p> <o> @9  @27  </o>
      targets <i> _   _ </i> <g>  <p> a   circle </p>   <o>  @9  @27 </o> </s>
      mask    .   .   . .    T    T   T   T      T      T    T   T   T    T

  Args:
    items: the list of the example the expressions come from.
    max_expressions: how many of an example are used; None: all.
    loss: "text" predicts expressions and boxes, "objects" boxes only.
    score_threshold: boxes below are not used.
  """
  return [
    *_phrases(items, score_threshold),
    region_ops.write_expressions(max_expressions=max_expressions, loss=loss),
  ]


def region_description(
  *,
  items: str = "expressions",
  max_expressions: int | None = 1,
  loss: str = "answer",
  score_threshold: float = SCORE_THRESHOLD,
) -> list[Op]:
  """Sentences that say what is in a box: the reverse of `referring`.

  One of six templates, `prompts.DESCRIPTIONS`, is drawn for each. The fourth
  begins with the prompt that asks for a description. `the red circle` with it:

      tokens  <s> <i> _ _    </i> <g> <p> It   </p> <o> @9  @27  </o>
      targets <i> _   _ </i> <g>  <p> It  </p> <o>  @9  @27 </o> is
      mask    .   .   . .    .    .   .   .    .    .   .   .    T

      tokens  is  the red     circle.
      targets the red circle. </s>
      mask    T   T   T       T

  Args:
    items: the list of the example the expressions come from.
    max_expressions: how many of an example are used, one after the other in a
      drawn order; None: all there is room for.
    loss: "answer" predicts what follows a box, "text" everything.
    score_threshold: boxes below are not used.
  """
  return [
    *_phrases(items, score_threshold),
    region_ops.write_descriptions(max_expressions=max_expressions, loss=loss),
  ]


def grounded_vqa(
  *,
  grounding: bool = False,
  answer: str = "most_frequent",
  loss: str = "answer",
) -> list[Op]:
  """A question as the evaluation's prompt, and one of its answers.

  `What is red?`, `a circle`:

      tokens  <s> <i> _ _    </i>      Question: What is   red?    Answer:
      targets <i> _   _ </i> Question: What      is   red? Answer: a
      mask    .   .   . .    .         .         .    .    .       T

      tokens  a      circle
      targets circle </s>
      mask    T      T

  Args:
    grounding: whether `<grounding>` comes first.
    answer: "most_frequent", or "drawn": each as often as it was given.
    loss: "answer" predicts the answer and its `</s>`, "text" everything.
  """
  return [
    question_ops.write_answer(answer=answer, grounding=grounding, loss=loss)
  ]


def instruction() -> list[Op]:
  """A dialogue about any number of pictures; the loss counts answers.

  `<image> What is red?`, `a circle`, `Where?`, `left`; pictures at the
  beginning of a question stand before it, all others where "<image>" is:

      tokens  <s> <i> _ _    </i>      Question: What is   red?    Answer:
      targets <i> _   _ </i> Question: What      is   red? Answer: a
      mask    .   .   . .    .         .         .    .    .       T

      tokens  a      circle </s>      Question: Where?  Answer: left
      targets circle </s>   Question: Where?    Answer: left    </s>
      mask    T      T      .         .         .       T       T

  See `dialogue_ops.write_dialogue` for system messages, boxes of phrases, and
  what happens to dialogues that are too long.
  """
  return [dialogue_ops.write_dialogue()]


def language_instruction() -> list[Op]:
  """An instruction, its input and the output, without pictures.

  They are messages of a user and an assistant. Their lines end as those of
  `text` do; the loss counts the output. `Name a color:` and below it `red or
  two`, output `red`:

      tokens  <s>  Name a      color: </line> red or  two     </line> red
      targets Name a    color: </line> red    or  two </line> red     </s>
      mask    .    .    .      .      .       .   .   .       T       T
  """
  return [dialogue_ops.write_instruction()]


def interleaved(
  *, max_pictures: int = 5, keep_single_image_probability: float = 0.5
) -> list[Op]:
  """A document of words and pictures; the loss counts words.

  `a circle`, a picture, `red`, a picture, `the end`:

      tokens  <s> a      circle <i> _ _    </i> red <i> _ _    </i> the end
      targets a   circle <i>    _   _ </i> red  <i> _   _ </i> the  end </s>
      mask    T   T      .      .   . .    T    .   .   . .    T    T   T

  Of the words before the first picture the last three sentences are kept, of
  those behind the last picture the first three.

  Args:
    max_pictures: how many a document keeps; what follows is left out.
    keep_single_image_probability: a document with one picture keeps it with
      this probability (half of them, in the paper); else it is text alone, all
      of it. Another example instead would make the stream depend on more than
      (seed, step).
  """
  return [
    interleaved_ops.write_interleaved(
      max_pictures=max_pictures,
      keep_single_image_probability=keep_single_image_probability,
    )
  ]


def text() -> list[Op]:
  """Lines of text without pictures; the loss counts all.

  `a red circle`, a blank line, `the end`:

      tokens  <s> a   red    circle  </line> the end
      targets a   red circle </line> the     end </s>
      mask    T   T   T      T       T       T   T

  Of a text longer than the row a window of whole lines is drawn.
  """
  return [plain_text_ops.write_lines()]


def by_fields(
  *,
  describe_probability: float = 0.5,
  options: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Op]:
  """For data whose examples differ: the recipe that an example's fields ask.

  The first of these whose fields are there and not empty:

      messages              instruction
      question, answers     grounded_vqa
      expressions           referring or region_description
      caption, noun_chunks  grounded_caption
      caption               plain_caption

  A recipe of one picture takes the only one of `images` where there is no
  `image`. With a question, and `red` as its answer:

      tokens  <s> <i> _ _    </i>      Question: What   color?  Answer: red
      targets <i> _   _ </i> Question: What      color? Answer: red     </s>
      mask    .   .   . .    .         .         .      .       T       T

  Args:
    describe_probability: how often expressions are described, not referred to.
    options: arguments of the recipes, by name.
  """
  options = dict(options or {})
  ops = {
    name: RECIPES[name](**options.pop(name, {})) for name in dispatch_ops.FIELDS
  }
  if options:
    raise ValueError(
      f"options has arguments for {', '.join(sorted(options))}; by_fields uses"
      f" {', '.join(dispatch_ops.FIELDS)}"
    )
  return [dispatch_ops.dispatch(ops, describe_probability=describe_probability)]


def _phrases(items: str, score_threshold: float) -> list[Op]:
  """Adds `phrases`: expressions, or what phrases of the caption say."""
  if items == "expressions":
    grouping = text_ops.phrases_of_expressions()
  elif items in _KEY_OF_MODE.values():
    grouping = text_ops.phrases_of_caption()
  else:
    raise ValueError(
      f"items is 'expressions', 'ref_exps' or 'noun_chunks', found {items!r}"
    )
  return [
    text_ops.keep_boxes(items, score_threshold=score_threshold),
    grouping,
  ]


def _key(mode: str) -> str:
  if mode not in _KEY_OF_MODE:
    raise ValueError(
      f"mode is one of {', '.join(_KEY_OF_MODE)}, found {mode!r}"
    )
  return _KEY_OF_MODE[mode]


RECIPES: dict[str, Callable[..., list[Op]]] = {
  "by_fields": by_fields,
  "grounded_caption": grounded_caption,
  "grounded_vqa": grounded_vqa,
  "instruction": instruction,
  "interleaved": interleaved,
  "language_instruction": language_instruction,
  "plain_caption": plain_caption,
  "referring": referring,
  "region_description": region_description,
  "text": text,
}
