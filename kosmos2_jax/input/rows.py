"""The rows of a step: everything of a batch but the decoded pictures."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from kosmos2_jax.input import (
  dispatch_ops,
  geometry,
  image_ops,
  packing,
  text_ops,
)
from kosmos2_jax.input.augmentation import Augmentation
from kosmos2_jax.input.documents import Document
from kosmos2_jax.input.looks import Look, Looks
from kosmos2_jax.input.schedule import Layout, Schedule, Slot
from kosmos2_jax.text.tokenizer import Tokenizer


class Group(NamedTuple):
  """The examples of consecutive groups, and the rows they found a place in.

  Attributes:
    slots: what the examples are.
    documents: what the recipes made of them.
    looks: how the pictures of each document are looked at.
    rows: for each row, which of them are its segments.
    reasons: what was left out and why, for each of them.
  """

  slots: list[Slot]
  documents: list[Document]
  looks: list[list[Look]]
  rows: list[list[int]]
  reasons: list[list[str]]


# Why an example is in no row at all.
NO_PLACE = {
  "no_room": "examples that found no room in the rows of their step",
  "too_long": "examples longer than a row; a recipe should have cut them",
  "too_many_pictures": "examples with more pictures than images_per_row",
}


def reasons() -> dict[str, str]:
  """What may be left out of rows, by the names in `Stream.counts`."""
  return {**text_ops.REASONS, **NO_PLACE}


class RowMaker:
  """Makes the rows of any step, for one shard.

  Attributes:
    schedule: says which examples they are.
    layout: says which rows they may go to.
    context: what the ops are told.
    looks: says how pictures are looked at.
    images_per_row: pictures a row has room for.
  """

  def __init__(
    self,
    schedule: Schedule,
    layout: Layout,
    *,
    groups: range,
    tokenizer: Tokenizer,
    image_size: int,
    view: str,
    num_latents: int,
    seq_len: int,
    images_per_row: int,
    augmentation: Augmentation,
    fast_decode: bool,
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
    if images_per_row < 0:
      raise ValueError(f"images_per_row is 0 or more, found {images_per_row}")
    self.schedule = schedule
    self.layout = layout
    self.context = text_ops.Context(
      tokenizer, image_size, view, max_text, num_latents
    )
    self.looks = Looks(
      augmentation,
      context=self.context,
      seed=schedule.seed,
      fast_decode=fast_decode,
    )
    self.images_per_row = images_per_row
    self._groups = groups
    self._seq_len = seq_len
    self._kind_numbers = {k.name: i for i, k in enumerate(schedule.kinds, 1)}
    self._reason_numbers = {name: i for i, name in enumerate(reasons())}

  def spec(self) -> dict[str, tuple[list[int], type]]:
    """Shape and dtype of the arrays of `rows`, in its order."""
    count = len(self.layout.rows(self._groups))
    row = [count, self._seq_len]
    num_kinds, num_reasons = len(self._kind_numbers), len(self._reason_numbers)
    return {
      **{key: (row, dtype) for key, dtype in packing.ROW_DTYPES.items()},
      "example_index": ([count], np.int64),
      "reasons": ([num_kinds, num_reasons], np.int32),
      "encoded": ([count, self.images_per_row], np.str_),
      **self.looks.spec([count, self.images_per_row]),
    }

  def rows(self, step: int) -> list[np.ndarray]:
    """The arrays of `spec`: of a batch, reasons by kind, pictures, looks.

    A row's pictures are in the order of their slots; "" where it has fewer.

    Raises:
      ValueError: an image is no image (names the example), or a recipe needs
        what its examples have not.
    """
    group = self._make(step, self._groups)
    numbers = [self._kind_numbers[slot.kind.name] for slot in group.slots]
    rows, looks = [], []
    encoded = np.full([len(group.rows), self.images_per_row], b"", object)
    for i, chosen in enumerate(group.rows):
      rows.append(
        packing.join_rows(
          [packing.make_row(group.documents[k], numbers[k]) for k in chosen]
        )
      )
      pictures = [p for k in chosen for p in group.documents[k].pictures]
      encoded[i, : len(pictures)] = pictures
      looks.append([look for k in chosen for look in group.looks[k]])
    counts = np.zeros(
      [len(self._kind_numbers), len(self._reason_numbers)], np.int32
    )
    for number, found in zip(numbers, group.reasons, strict=True):
      for reason in found:
        counts[number - 1, self._reason_numbers[reason]] += 1
    pad_id = self.context.tokenizer.vocab.pad_id
    padded = packing.pad_rows(rows, self._seq_len, pad_id)
    index = np.array(self.layout.rows(self._groups), np.int64)
    return [
      *(padded[key] for key in packing.ROW_DTYPES),
      index + step * self.layout.num_rows,
      counts,
      encoded,
      *self.looks.arrays(looks, encoded.shape),
    ]

  def row_slots(self, step: int, row: int) -> list[Slot]:
    """What the segments of one row of the global batch are, in order."""
    first = row // self.layout.group_rows
    groups = range(first, first + 1)
    if not self.layout.packed:
      return self.schedule.slots(step, self.layout.examples(groups))
    group = self._make(step, groups)
    return [group.slots[k] for k in group.rows[row % self.layout.group_rows]]

  def sizes(self, step: int) -> list[tuple[str, int, int]]:
    """Kind, tokens and pictures of every example of a step of this shard."""
    slots = self.schedule.slots(step, self.layout.examples(self._groups))
    result = []
    for slot, example in zip(slots, read_examples(slots), strict=True):
      document, _, _ = self.write(slot, example)
      size = document.num_tokens, len(document.pictures)
      result.append((slot.kind.name, *size))
    return result

  def pictures(self, step: int) -> Iterator[tuple[str, bytes]]:
    """The encoded pictures of a step, each with how errors call it."""
    slots = self.schedule.slots(step, self.layout.examples(self._groups))
    for slot, example in zip(slots, read_examples(slots), strict=True):
      document, _, _ = self.write(slot, example)
      yield from name_pictures(slot.name(example), document)

  def _make(self, step: int, groups: range) -> Group:
    """Reads, writes and packs the examples of consecutive groups."""
    slots = self.schedule.slots(step, self.layout.examples(groups))
    examples = read_examples(slots)
    result = Group(slots, [], [], [], [])
    for slot, example in zip(slots, examples, strict=True):
      document, looks, reasons = self.write(slot, example)
      result.documents.append(document)
      result.looks.append(looks)
      result.reasons.append(reasons)
    start = 0
    for number in groups:
      size = len(self.layout.examples(range(number, number + 1)))
      result.rows.extend(self._pack(result, range(start, start + size)))
      start += size
    return result

  def _pack(self, group: Group, members: range) -> list[list[int]]:
    """Rows of one group; who found no place is told so in its reasons."""
    candidates = []
    for k in members:
      document = group.documents[k]
      if len(document.pictures) > self.images_per_row:
        group.reasons[k].append("too_many_pictures")
      elif document.num_tokens > self._seq_len:
        group.reasons[k].append("too_long")
      else:
        candidates.append(k)
    if not self.layout.packed:
      return [candidates]
    chosen = [group.documents[k] for k in candidates]
    rows = packing.pack(
      [document.num_tokens for document in chosen],
      [len(document.pictures) for document in chosen],
      self.layout.group_rows,
      self._seq_len,
      self.images_per_row,
    )
    placed = [[candidates[j] for j in row] for row in rows]
    for k in set(candidates).difference(*placed):
      group.reasons[k].append("no_room")
    return placed

  def write(
    self, slot: Slot, example: text_ops.Example
  ) -> tuple[Document, list[Look], list[str]]:
    """The document of an example, its looks, and what is left out of it."""
    example, name = dispatch_ops.lone_picture(example), slot.name(example)
    image = example.get("image")
    if image:
      try:
        shape = geometry.image_shape(image)
      except ValueError:
        image_ops.decode_or_raise(image, name)
        raise
      example = {**example, "image_shape": shape}
    document, looks, reasons = self.looks.write(slot, example)
    for picture, encoded in name_pictures(name, document):
      if not encoded:  # "" stands for no picture from here on.
        image_ops.decode_or_raise(b"", picture)
    return document, looks, reasons


def name_pictures(
  name: str, document: Document
) -> Iterator[tuple[str, bytes | None]]:
  """The pictures of the example `name`, each with how errors call it."""
  if len(document.pictures) == 1:
    yield name, document.pictures[0]
    return
  for number, encoded in enumerate(document.pictures, 1):
    yield f"{name}, picture {number}", encoded


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
