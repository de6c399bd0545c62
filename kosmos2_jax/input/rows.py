"""The rows of a step: everything of a batch but the decoded pictures."""

from collections.abc import Sequence

import numpy as np

from kosmos2_jax.input import geometry, image_ops, packing, shuffling, text_ops
from kosmos2_jax.input.schedule import Schedule, Slot
from kosmos2_jax.text.tokenizer import Tokenizer

_ROW_DTYPES = {
  "tokens": np.int32,
  "targets": np.int32,
  "loss_mask": np.bool_,
  "image_mask": np.bool_,
  "segment_ids": np.int32,
  "positions": np.int32,
}
_REASON_NUMBERS = {name: i for i, name in enumerate(text_ops.REASONS)}


class RowMaker:
  """Makes the rows of any step, for one shard.

  Attributes:
    schedule: says which examples they are.
    context: what the ops are told.
  """

  def __init__(
    self,
    schedule: Schedule,
    *,
    shard_rows: range,
    tokenizer: Tokenizer,
    image_size: int,
    view: str,
    num_latents: int,
    seq_len: int,
  ):
    """Takes the numbers of the stream; see `make_stream`.

    Raises:
      ValueError: `seq_len` has no room for text.
    """
    prefix = len(tokenizer.image_prefix(num_latents)[0])
    # A row reads one id less than it has: the last is only a target.
    max_text = seq_len + 1 - prefix
    if max_text < 2:
      raise ValueError(
        f"seq_len {seq_len} has no room for text after the {prefix} tokens of"
        f" a picture ({num_latents} latents); make it {prefix + 64} or so"
      )
    self.schedule = schedule
    self.context = text_ops.Context(
      tokenizer, image_size, view, max_text, num_latents
    )
    self._shard_rows = shard_rows
    self._seq_len = seq_len

  def spec(self) -> dict[str, tuple[list[int], type]]:
    """Shape and dtype of the arrays of `rows`, in its order."""
    count = len(self._shard_rows)
    return {
      **{k: ([count, self._seq_len], d) for k, d in _ROW_DTYPES.items()},
      "example_index": ([count], np.int64),
      "reasons": ([count, len(_REASON_NUMBERS)], np.int32),
      "encoded": ([count], np.str_),
    }

  def slots(self, step: int) -> list[Slot]:
    """What the rows of a step are."""
    return self.schedule.slots(step, self._shard_rows)

  def rows(self, step: int) -> list[np.ndarray]:
    """The arrays of `spec`: of a batch, reasons by row, encoded pictures.

    Raises:
      ValueError: an image is no image (names the example), or a recipe needs
        what its examples have not.
    """
    slots = self.slots(step)
    rows, encoded = [], []
    reasons = np.zeros([len(slots), len(_REASON_NUMBERS)], np.int32)
    examples = read_examples(slots)
    for i, (slot, example) in enumerate(zip(slots, examples, strict=True)):
      example = self._write_text(slot, example)
      document = text_ops.document_of(example, self.context)
      rows.append(packing.make_row(document))
      encoded.append(*document.pictures)
      for reason in example["reasons"]:
        reasons[i, _REASON_NUMBERS[reason]] += 1
    pad_id = self.context.tokenizer.vocab.pad_id
    padded = packing.pad_rows(rows, self._seq_len, pad_id)
    index = np.array(self._shard_rows) + step * self.schedule.batch_size
    return [
      *(padded[key] for key in _ROW_DTYPES),
      index.astype(np.int64),
      reasons,
      np.array(encoded, object),
    ]

  def _write_text(
    self, slot: Slot, example: text_ops.Example
  ) -> text_ops.Example:
    try:
      shape = geometry.image_shape(example["image"])
    except ValueError:
      image_ops.decode_or_raise(example["image"], slot.name(example))
      raise
    rng = shuffling.example_random(
      self.schedule.seed, slot.kind.name, "example", slot.position
    )
    example = text_ops.start({**example, "image_shape": shape}, rng)
    for op in slot.kind.recipe:
      example = op(example, self.context)
    return example


def read_examples(slots: Sequence[Slot]) -> list[text_ops.Example]:
  """The examples of the slots; each source is asked once."""
  groups = {}
  for i, slot in enumerate(slots):
    groups.setdefault(id(slot.kind.source), []).append(i)
  result = {}
  for where in groups.values():
    source = slots[where[0]].kind.source
    records = [slots[i].record for i in where]
    result.update(zip(where, source.__getitems__(records), strict=True))
  return [result[i] for i in range(len(slots))]
