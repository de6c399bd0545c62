"""Documents: what a recipe makes of an example, before rows are packed.

A document is read from its `<s>` on by itself: whatever else lies in its row
is masked. Pictures stand anywhere among the words, in the order of its list.
"""

from collections.abc import Sequence
from typing import NamedTuple

from kosmos2_jax.text.vocab import Vocab


class Document(NamedTuple):
  """One example as tokens.

  Attributes:
    ids: beginning with `<s>`.
    predicted: True where an id counts as a target. Never the first one, nor
      those of a picture: `<image>`, slots, `</image>`.
    slots: True where a latent of a picture stands.
    pictures: encoded, in the order of their slots.
  """

  ids: Sequence[int]
  predicted: Sequence[bool]
  slots: Sequence[bool]
  pictures: Sequence[bytes]

  @property
  def num_tokens(self) -> int:
    """Places in a row: the last id is a target only."""
    return len(self.ids) - 1


class Writer:
  """Writes a document from left to right.

      writer = Writer(vocab, num_latents)
      writer.picture(encoded)
      writer.text(ids)
      writer.document()

  Attributes:
    num_ids: how many there are so far.
  """

  def __init__(self, vocab: Vocab, num_latents: int):
    """Begins with `<s>`; a picture takes `num_latents` slots."""
    image_id, end_id = vocab.image_id, vocab.image_end_id
    self._picture_ids = [image_id] * (1 + num_latents) + [end_id]
    self._picture_slots = [False, *[True] * num_latents, False]
    self._ids, self._predicted, self._slots = [vocab.bos_id], [False], [False]
    self._pictures = []

  @property
  def num_ids(self) -> int:
    """Ids so far, `<s>` included."""
    return len(self._ids)

  def picture(self, encoded: bytes) -> None:
    """Adds `<image>`, slots, `</image>`: never predicted."""
    self._ids += self._picture_ids
    self._slots += self._picture_slots
    self._predicted += [False] * len(self._picture_ids)
    self._pictures.append(encoded)

  def text(
    self, ids: Sequence[int], predicted: bool | Sequence[bool] = True
  ) -> None:
    """Adds words, tags or locations; `predicted` for all or one by one.

    Raises:
      ValueError: `predicted` has another length.
    """
    if isinstance(predicted, bool):
      predicted = [predicted] * len(ids)
    if len(predicted) != len(ids):
      raise ValueError(
        f"{len(ids)} ids need as many marks of whether they are predicted,"
        f" found {len(predicted)}"
      )
    self._ids += ids
    self._predicted += predicted
    self._slots += [False] * len(ids)

  def document(self) -> Document:
    """All that was added."""
    return Document(self._ids, self._predicted, self._slots, self._pictures)
