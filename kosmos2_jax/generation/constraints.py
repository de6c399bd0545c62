"""The grammar of boxes, as masks over the vocabulary.

    </phrase> <object> UL LR (DELIMITER UL LR)* </object>

UL is any location, LR one that is not above or left of it.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from kosmos2_jax.text.vocab import Vocab


@dataclasses.dataclass(frozen=True)
class BoxGrammar:
  """What may follow inside of `<object>` … `</object>`; static.

  Attributes:
    vocab: the layout of the ids.
    required: after `</phrase>`, `<object>` must follow.
  """

  vocab: Vocab
  required: bool = False

  def allowed(
    self, history: Int[Array, "B S"], lengths: Int[Array, " B"], vocab_size: int
  ) -> Bool[Array, "B V"]:
    """True for every token that may be the next one of its row.

    Outside of object blocks everything is. The last two tokens of a row tell
    where it is.

    Args:
      history: tokens of each row.
      lengths: how many of them count, at least 1.
      vocab_size: columns of the logits.
    """
    vocab = self.vocab

    def token(back):
      place = jnp.maximum(lengths - back, 0)[:, None]
      found = jnp.take_along_axis(history, place, axis=1)
      return jnp.where(lengths[:, None] >= back, found, vocab.pad_id)

    last, before = token(1), token(2)
    ids = jnp.arange(vocab_size)[None]
    first = vocab.first_location_id

    def is_location(value):
      return (value >= first) & (value < first + vocab.num_locations)

    def opens(value):
      return (value == vocab.object_id) | (value == vocab.delimiter_id)

    def row_column(value):
      return jnp.divmod(value - first, vocab.num_bins)

    (last_row, last_column), (row, column) = row_column(last), row_column(ids)
    not_before = (row >= last_row) & (column >= last_column)
    ends = (ids == vocab.delimiter_id) | (ids == vocab.object_end_id)
    upper_left = opens(last)
    lower_right = is_location(last) & opens(before)
    behind_pair = is_location(last) & is_location(before)
    allowed = jnp.where(upper_left, is_location(ids), True)
    allowed &= jnp.where(lower_right, is_location(ids) & not_before, True)
    allowed &= jnp.where(behind_pair, ends, True)
    if self.required:
      after_phrase = last == vocab.phrase_end_id
      allowed &= jnp.where(after_phrase, ids == vocab.object_id, True)
    return allowed
