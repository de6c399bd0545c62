"""The op that writes one question and its answer."""

import collections

from kosmos2_jax.input import packing, shuffling, text_ops
from kosmos2_jax.input.text_ops import Context, Example, Op
from kosmos2_jax.text import prompts


def write_answer(*, answer: str, grounding: bool, loss: str) -> Op:
  """Adds `text`: the question as a prompt, one of its `answers`, `</s>`.

  Blank answers are not used. A question without any is a prompt that the loss
  does not count.

  Args:
    answer: "most_frequent" takes the answer given most often, the first of
      those; "drawn" takes each as often as it was given.
    grounding: whether `<grounding>` comes first.
    loss: "answer" predicts the answer and `</s>`, "text" the question, too.
  """
  if answer not in ("most_frequent", "drawn"):
    raise ValueError(f"answer is 'most_frequent' or 'drawn', found {answer!r}")
  if loss not in ("answer", "text"):
    raise ValueError(f"loss is 'answer' or 'text', found {loss!r}")

  def op(example: Example, context: Context) -> Example:
    question, answers, rng = text_ops.get(
      "write_answer", example, "question", "answers", "rng"
    )
    # Not `encode`: that would obey a tag that a text holds by accident.
    encode = context.tokenizer.encode_with_offsets
    given = [text.strip() for text in answers if text.strip()]
    vocab, reasons = context.tokenizer.vocab, list(example["reasons"])
    ids = [vocab.grounding_id] if grounding else []
    ids += encode(prompts.question(question))[0]
    asked = len(ids)
    if given:
      if answer == "drawn":
        chosen = shuffling.drawn(given, rng)
      else:
        chosen = collections.Counter(given).most_common(1)[0][0]
      ids += encode(chosen)[0]
      text, was_cut = packing.fit(ids, context.max_text, vocab)
    else:
      text, was_cut = ids[: context.max_text], len(ids) > context.max_text
    counted = loss == "text"
    mask = [counted] * min(asked, len(text)) + [True] * (len(text) - asked)
    if was_cut:
      reasons.append("text_cut")
    if not any(mask):
      reasons.append("no_target")
    return text_ops.put(
      "write_answer",
      {**example, "reasons": reasons},
      text=text,
      text_mask=mask,
    )

  return op
