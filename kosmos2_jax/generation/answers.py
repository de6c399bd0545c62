"""What a model answered: the new text, and the boxes it begins with."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

from kosmos2_jax.text import location
from kosmos2_jax.text.grounded import Box
from kosmos2_jax.text.vocab import Vocab


@dataclasses.dataclass(frozen=True)
class Generation:
  """What followed one prompt.

  Attributes:
    text: the new text with its tags, without the prompt.
    tokens: the new ids, without the one that ended them.
    log_probs: natural log-probability of each of `tokens`.
    finished: True if the model ended by itself, False if it was cut off.
    score: the sum of the log-probabilities, the end's included; with beams
      that of what the rules left, divided by length^penalty.
    alternatives: further answers to the same prompt, next best first; only
      beam search gives any.
  """

  text: str
  tokens: tuple[int, ...]
  log_probs: tuple[float, ...]
  finished: bool
  score: float = 0.0
  alternatives: tuple["Generation", ...] = ()


def leading_boxes(
  tokens: Sequence[int], log_probs: Sequence[float], vocab: Vocab
) -> list[Box]:
  """Reads the boxes of the object block that `tokens` begin with.

  The grammar is the original's: `<object>`, location pairs separated by the
  delimiter, `</object>`. Anything else, a block that is left open included,
  is no answer and gives no box.

  Args:
    tokens: ids generated after `<phrase>…</phrase>`.
    log_probs: natural log-probability of each.
    vocab: the layout of the ids.

  Returns:
    Boxes as written, each scored with the probability of its two tokens.
  """
  boxes = []
  for start in range(1, len(tokens) - 2, 3):
    opening = vocab.object_id if start == 1 else vocab.delimiter_id
    pair = tokens[start : start + 2]
    if tokens[start - 1] != opening or not all(map(vocab.is_location, pair)):
      break
    boxes.append(
      Box(
        location.bins_to_box(*map(vocab.bin_of, pair), vocab.num_bins),
        math.exp(sum(log_probs[start : start + 2])),
      )
    )
    if tokens[start + 2] == vocab.object_end_id:
      return boxes
  return []


def before_another(tokens: Sequence[int], vocab: Vocab) -> list[int]:
  """An answer up to where the model itself begins another example.

  After solved examples it may go on with one more: a picture or `<grounding>`.

  Args:
    tokens: new ids.
    vocab: the layout of the ids.
  """
  begins = vocab.image_id, vocab.grounding_id
  return list(itertools.takewhile(lambda token: token not in begins, tokens))
