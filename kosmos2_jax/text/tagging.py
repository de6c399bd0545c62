"""Tags those phrases of a text that can be tagged."""

from collections.abc import Sequence

from kosmos2_jax.text import markup
from kosmos2_jax.text.tokenizer import Tokenizer


def build_good(
  text: str,
  phrases: Sequence[markup.Phrase],
  tokenizer: Tokenizer,
  mode: markup.Mode = "nested",
  grounding: bool = True,
) -> tuple[list[int], int]:
  """What `markup.build` makes of those phrases that it takes.

  Args:
    text: see `markup.build`.
    phrases: with checked boxes and spans; what `build` may still object to is
      a phrase that the tokenizer has no token for.
    tokenizer: see `markup.build`.
    mode: see there.
    grounding: see there.

  Returns:
    Token ids, and how many phrases were left out.
  """

  def build(chosen: Sequence[markup.Phrase]) -> list[int]:
    return markup.build(text, chosen, tokenizer, mode, grounding)

  try:
    return build(phrases), 0
  except ValueError:
    pass
  good = []
  for phrase in phrases:
    try:
      build([phrase])
    except ValueError:
      continue
    good.append(phrase)
  return build(good), len(phrases) - len(good)
