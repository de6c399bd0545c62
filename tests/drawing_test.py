"""The picture of what the model is fed."""

import io

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax import batch as batch_lib
from kosmos2_jax import drawing, visualize
from kosmos2_jax.input import documents, packing
from kosmos2_jax.training import metrics


@pytest.fixture
def batch(small_tokenizer):
  """One row: a picture, "a dog" with a box, padding behind it."""
  vocab = small_tokenizer.vocab
  prefix, slots = small_tokenizer.image_prefix(4)
  box = [vocab.location_id(0), vocab.location_id(27)]
  text = small_tokenizer.encode("<grounding><phrase>a dog</phrase>")
  ids = [*prefix, *text, vocab.object_id, *box, vocab.object_end_id, 2]
  length, room = len(ids) - 1, 40
  row = {
    "tokens": np.full((1, room), vocab.pad_id, np.int32),
    "targets": np.full((1, room), vocab.pad_id, np.int32),
    "loss_mask": np.zeros((1, room), bool),
    "image_mask": np.zeros((1, room), bool),
    "segment_ids": np.zeros((1, room), np.int32),
    "images": np.zeros((1, 1, 16, 16, 3), np.float32),
    "example_index": np.zeros(1, np.int64),
  }
  row["tokens"][0, :length] = ids[:-1]
  row["targets"][0, :length] = ids[1:]
  row["loss_mask"][0, len(prefix) - 1 : length] = True
  row["image_mask"][0, : len(prefix)] = slots
  row["segment_ids"][0, :length] = 1
  return row


def test_tokens_are_coloured_by_whether_they_are_predicted(
  batch, small_tokenizer, monkeypatch
):
  drawn = {}

  def draw_grounding(image, grounded, lines):
    drawn.update(grounded=grounded, lines=lines)
    return Image.fromarray(image)

  monkeypatch.setattr(visualize, "draw_grounding", draw_grounding)
  drawing.draw_row(batch, 0, small_tokenizer, ["title"])
  title, runs = drawn["lines"]
  assert title == "title"
  words = [(text, color) for text, color in runs if text != " "]
  grey = [text for text, color in words if color == visualize.GRAY]
  dark = [text for text, color in words if color == visualize.BLACK]
  assert grey == ["<s>", "<image>", "4 slots", "</image>"]
  assert dark[:2] == ["<grounding>", "<phrase>"]
  assert dark[-1] == "</s>"
  assert "<patch_index_0027>" in dark
  [phrase] = drawn["grounded"].phrases
  assert phrase.text == "a dog"
  assert len(phrase.boxes) == 1


def test_a_row_becomes_a_picture(batch, small_tokenizer):
  picture = drawing.draw_row(batch, 0, small_tokenizer, ["title"])
  assert isinstance(picture, Image.Image)
  assert min(picture.size) >= 256


def test_segments_have_their_own_pictures(small_tokenizer, monkeypatch):
  """Two pictures, none, one: in one row, and a row of nothing."""
  vocab = small_tokenizer.vocab
  rows = []
  for count, words in ((2, "two dogs"), (0, "no dog"), (1, "one dog")):
    writer = documents.Writer(vocab, 4)
    for number in range(count):
      writer.text(small_tokenizer.encode("see"))
      writer.picture(b"picture")
      box = [vocab.object_id, vocab.location_id(number), vocab.location_id(27)]
      phrase = small_tokenizer.encode(f"<phrase>box {number}</phrase>")
      writer.text([*phrase, *box, vocab.object_end_id])
    writer.text([*small_tokenizer.encode(words), vocab.eos_id])
    rows.append(packing.make_row(writer.document()))
  packed = [packing.join_rows(rows), packing.join_rows([])]
  batch = packing.pad_rows(packed, 120, vocab.pad_id)
  levels = np.float32([0, 0.5, 1, -9]).reshape(4, 1, 1, 1)
  batch["images"] = np.broadcast_to(levels, (2, 4, 16, 16, 3))
  drawn, written = [], []
  real = visualize.draw_grounding, visualize.add_lines

  def draw_grounding(image, grounded, lines=(), **options):
    drawn.append((image, [phrase.text for phrase in grounded.phrases]))
    written.extend(lines)
    return real[0](image, grounded, lines=lines, **options)

  def add_lines(image, lines, **options):
    written.extend(lines)
    return real[1](image, lines, **options)

  monkeypatch.setattr(visualize, "draw_grounding", draw_grounding)
  monkeypatch.setattr(visualize, "add_lines", add_lines)
  titles = ["first", "second", "third"]
  picture = drawing.draw_row(batch, 0, small_tokenizer, titles)
  used = int(np.count_nonzero(batch["segment_ids"][0]))
  told = [line for line in written if isinstance(line, str)]
  assert told == [*titles, f"3 examples, {used} of 120 tokens, 3 of 4 pictures"]
  assert len({image.tobytes() for image, _ in drawn}) == 3
  assert [phrases for _, phrases in drawn] == [["box 0"], ["box 1"], ["box 0"]]
  for (image, _), given in zip(drawn, batch["images"][0], strict=False):
    np.testing.assert_array_equal(image, batch_lib.denormalize(given))
  # Each segment has a frame of its own colour.
  colors = {color for _, color in picture.getcolors(picture.width**2 * 9)}
  assert colors >= set(visualize.COLORS[:3])
  assert not colors & {visualize.COLORS[3]}
  assert drawing.draw_row(batch, 1, small_tokenizer, []).width == 512
  assert written[-1] == "0 examples, 0 of 120 tokens, 0 of 4 pictures"


class _Stream:
  """Batches, each of another index, and what their rows are called."""

  def __init__(self, batch):
    self._batch = batch

  def __iter__(self):
    for index in range(3):
      yield {**self._batch, "example_index": np.array([index])}

  def segments(self, example_index):
    return [f"row {example_index}"]


class _Reporter(metrics.Reporter):
  """Keeps the pictures."""

  def __init__(self, takes_pictures):
    super().__init__(None, 9, io.StringIO())
    self.takes_pictures = takes_pictures
    self.written = []

  def write_images(self, step, images):
    self.written.append((step, images))


@pytest.mark.parametrize("takes_pictures", [True, False])
def test_the_first_batch_is_drawn_on_the_way(
  batch, small_tokenizer, takes_pictures
):
  reporter, stream = _Reporter(takes_pictures), _Stream(batch)
  found = drawing.draw_first(stream, 7, reporter, small_tokenizer)
  assert not reporter.written  # before it is asked for
  assert [int(each["example_index"][0]) for each in found] == [0, 1, 2]
  assert len(reporter.written) == takes_pictures
  for step, images in reporter.written:
    wanted = drawing.draw_rows(
      next(iter(stream)), 8, small_tokenizer, stream.segments
    )
    assert step == 7
    np.testing.assert_array_equal(images["input/first_batch"], wanted)
