"""Ops that write text without pictures, line by line."""

from collections.abc import Sequence

from kosmos2_jax.input import shuffling, text_ops
from kosmos2_jax.input.text_ops import Context, Example, Op
from kosmos2_jax.text import prompts


def write_lines() -> Op:
  """Adds `document`: the lines of a text, all of them predicted.

  Blank lines are left out. Each line is closed with `</line>`, the last one of
  the text with `</s>`. Of a text longer than the row a window of whole lines is
  drawn, as many as fit from its first one on; no window but the first can be
  made longer by beginning earlier and ending with the text. A line longer than
  the row stands alone and is cut, so that nothing closes it, as in the
  original.
  """

  def op(example: Example, context: Context) -> Example:
    text, rng = text_ops.get("write_lines", example, "text", "rng")
    tokenizer, reasons = context.tokenizer, list(example["reasons"])
    vocab = tokenizer.vocab
    lines = []
    for line in prompts.lines(text):
      lines.append([*tokenizer.encode_with_offsets(line)[0], vocab.line_id])
    if lines:
      lines[-1][-1] = vocab.eos_id
    else:
      # As the original: the end of nothing.
      reasons.append("no_text")
      lines = [[vocab.eos_id]]
    room = context.max_ids - 1
    if sum(map(len, lines)) > room:
      reasons.append("text_window")
      lines = _window(lines, shuffling.drawn(_starts(lines, room), rng), room)
      if len(lines[0]) > room:
        reasons.append("line_cut")
        lines = [lines[0][:room]]
    writer = context.writer()
    for ids in lines:
      writer.text(ids)
    return text_ops.put(
      "write_lines",
      {**example, "reasons": reasons},
      document=writer.document(),
    )

  return op


def _starts(lines: Sequence[Sequence[int]], room: int) -> range:
  """Lines a window may begin with: up to the first that sees the end."""
  first, length = len(lines) - 1, len(lines[-1])
  while first and length + len(lines[first - 1]) <= room:
    first -= 1
    length += len(lines[first])
  return range(first + 1)


def _window(
  lines: Sequence[list[int]], start: int, room: int
) -> list[list[int]]:
  """The line `start` and as many behind it as there is room for."""
  end, length = start + 1, len(lines[start])
  while end < len(lines) and length + len(lines[end]) <= room:
    length += len(lines[end])
    end += 1
  return list(lines[start:end])
