"""The processor of `transformers`, to hold the input's speed against.

Asks for `transformers` only when it is made: it is no dependency.
"""

import importlib
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from kosmos2_jax.input.costs import Cost, measure
from kosmos2_jax.input.sources import Example


class Theirs:
  """The processor of `transformers`, as its documentation uses it."""

  def __init__(
    self,
    folder: str,
    examples: Sequence[Example],
    *,
    per_step: int,
    num_steps: int,
    seq_len: int,
  ):
    """Opens the processor of a folder.

    Args:
      folder: as `AutoProcessor` opens it.
      examples: with encoded pictures; reading them is not counted.
      per_step: examples of a batch.
      num_steps: batches of one measurement.
      seq_len: length of the rows.
    """
    transformers = importlib.import_module("transformers")
    self._processor = transformers.AutoProcessor.from_pretrained(folder)
    self._examples = examples
    self._texts = [tagged(example) for example in self._examples]
    self._per_step, self._num_steps = per_step, num_steps
    self._seq_len = seq_len
    self._next = 0
    self._batch()

  def run(self) -> Cost:
    """As many examples as ours, in as large batches."""

    def take() -> None:
      for _ in range(self._num_steps):
        self._batch()

    return measure(take, self._per_step * self._num_steps)

  def _batch(self) -> Any:
    count = len(self._examples)
    chosen = [(self._next + i) % count for i in range(self._per_step)]
    self._next = (self._next + self._per_step) % count
    images = [
      Image.open(io.BytesIO(self._examples[i]["image"])).convert("RGB")
      for i in chosen
    ]
    return self._processor(
      images=images,
      text=[self._texts[i][0] for i in chosen],
      bboxes=[self._texts[i][1] for i in chosen],
      padding="max_length",
      truncation=True,
      max_length=self._seq_len,
      return_tensors="np",
    )


def tagged(example: Example) -> tuple[str, list[list[tuple[float, ...]]]]:
  """A caption with `<phrase>` tags and the boxes of each, for `transformers`.

  Of phrases that overlap, the earlier and then the longer one is kept.
  """
  groups: dict[tuple[int, int], list[tuple[float, ...]]] = {}
  for item in example["noun_chunks"]:
    span = (item["start"], item["end"])
    groups.setdefault(span, []).append(tuple(item["box_xyxy"]))
  caption, done = example["caption"], 0
  parts, boxes = ["<grounding>"], []
  for start, end in sorted(groups, key=lambda span: (span[0], -span[1])):
    if start < done:
      continue
    words = caption[start:end]
    parts += [caption[done:start], f"<phrase>{words}</phrase>"]
    boxes.append(groups[start, end])
    done = end
  return "".join([*parts, caption[done:]]), boxes
