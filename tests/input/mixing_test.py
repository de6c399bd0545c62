"""Kinds with no, one and several pictures in one stream, packed and not."""

import collections

import numpy as np
import pytest

from kosmos2_jax import batch as batch_lib
from kosmos2_jax.input import image_ops, pipeline, recipes
from kosmos2_jax.input.sources import ListSource
from tests.input.conftest import COLORS, encode, make_example

IMAGE_SIZE, NUM_LATENTS, SEQ_LEN = 16, 3, 60
LAYOUTS = {
  "rows of their own": {"images_per_row": 3},
  "packed": {"images_per_row": 6, "rows_per_step": 8, "pack_groups": 4},
}


def write_text(example, context):
  """The example's text alone."""
  writer = context.writer()
  ids = context.tokenizer.encode(example["text"])
  writer.text([*ids, context.tokenizer.vocab.eos_id])
  return {**example, "document": writer.document()}


def write_pages(example, context):
  """A word, a picture, a word, a picture, …; then the end."""
  writer = context.writer()
  for word, image in zip(example["words"], example["images"], strict=True):
    writer.text(context.tokenizer.encode(word))
    writer.picture(image)
  writer.text([context.tokenizer.vocab.eos_id])
  return {**example, "document": writer.document()}


def make_pages(number):
  """One to three pictures, each of one grey, with a word before each."""
  count = 1 + number % 3
  levels = [(40 * number + 13 * k) % 256 for k in range(count)]
  return {
    "id": f"pages-{number}",
    "words": [COLORS[(number + k) % len(COLORS)] for k in range(count)],
    "images": [
      encode(np.full((20, 20, 3), level, np.uint8)) for level in levels
    ],
    "levels": levels,
  }


def make_kinds(sizes=(7, 5, 4)):
  texts = ListSource(
    [
      {"id": f"text-{n}", "text": " ".join(COLORS[: 1 + n % 7]) + f" {n}"}
      for n in range(11)
    ],
    "texts",
  )
  pictures = ListSource([make_example(n) for n in range(9)], "pictures")
  pages = ListSource([make_pages(n) for n in range(10)], "pages")
  recipe_of = (recipes.grounded_caption(), [write_text], [write_pages])
  return [
    pipeline.Kind(name, source, recipe, size)
    for name, source, recipe, size in zip(
      ("caption", "text", "pages"),
      (pictures, texts, pages),
      recipe_of,
      sizes,
      strict=True,
    )
  ]


@pytest.fixture(scope="module")
def open_stream(small_tokenizer):
  def open_one(kinds=None, **options):
    defaults = {
      "tokenizer": small_tokenizer,
      "image_size": IMAGE_SIZE,
      "num_latents": NUM_LATENTS,
      "seq_len": SEQ_LEN,
      "seed": 3,
    }
    return pipeline.make_stream(kinds or make_kinds(), **(defaults | options))

  return open_one


@pytest.fixture(scope="module", params=LAYOUTS, ids=str)
def layout(request):
  return LAYOUTS[request.param]


@pytest.fixture(scope="module")
def batches(open_stream, layout):
  """The first five batches, and where their rows come from."""
  stream = open_stream(**layout)
  found = [next(stream) for _ in range(5)]
  segments = [
    [stream.segments(index) for index in batch["example_index"]]
    for batch in found
  ]
  return found, segments, stream


def join(parts):
  keys = batch_lib.BATCH_KEYS
  return {key: np.concatenate([p[key] for p in parts]) for key in keys}


def test_batches_are_batches(batches, layout):
  found, segments, stream = batches
  rows = layout.get("rows_per_step", 16)
  spec = batch_lib.batch_spec(
    rows,
    SEQ_LEN,
    num_images=layout["images_per_row"],
    image_size=IMAGE_SIZE,
  )
  for step, batch in enumerate(found):
    batch_lib.check_batch(batch)
    assert {k: (a.shape, str(a.dtype)) for k, a in batch.items()} == spec
    np.testing.assert_array_equal(
      batch["example_index"], np.arange(rows) + rows * step
    )
    names = [name for row in segments[step] for name in row]
    assert len(names) == 16
    kinds = collections.Counter(name.rsplit(" ", 1)[1] for name in names)
    assert kinds == {"caption": 7, "text": 5, "pages": 4}
  assert not set(stream.counts) & {"no_room", "too_long", "too_many_pictures"}


def test_a_segment_is_its_example(batches, small_tokenizer):
  """Tokens, kind and pictures of every segment are those of its example."""
  found, segments, _ = batches
  names = ("caption", "text", "pages")
  sources = {kind.name: kind.source for kind in make_kinds()}
  several = 0
  for batch, rows in zip(found, segments, strict=True):
    for i, row in enumerate(rows):
      several += len(row) > 1
      assert batch["segment_ids"][i].max() == len(row)
      next_picture = 0
      for number, text in enumerate(row, 1):
        chosen = batch["segment_ids"][i] == number
        tokens = batch["tokens"][i, chosen]
        np.testing.assert_array_equal(
          batch["positions"][i, chosen], np.arange(len(tokens))
        )
        assert tokens[0] == small_tokenizer.vocab.bos_id
        # Shifted inside of the segment, and its end is its own.
        targets = batch["targets"][i, chosen]
        np.testing.assert_array_equal(targets[:-1], tokens[1:])
        assert targets[-1] == small_tokenizer.vocab.eos_id
        kind = text.rsplit(" ", 1)[1]
        assert set(batch["kinds"][i, chosen]) == {names.index(kind) + 1}
        record = int(text.split("record ")[1].split(",")[0])
        [example] = sources[kind].__getitems__([record])
        assert repr(example["id"]) in text
        pictures = example.get("images", [])
        if kind == "caption":
          pictures = [example["image"]]
        slots = batch["image_mask"][i, chosen]
        assert slots.sum() == NUM_LATENTS * len(pictures)
        # The row's slots are filled in order, so these are its pictures.
        before = batch["image_mask"][i, : np.argmax(chosen)].sum()
        assert before == NUM_LATENTS * next_picture
        for encoded in pictures:
          pixels = image_ops.view(image_ops.decode(encoded), IMAGE_SIZE, "crop")
          np.testing.assert_array_equal(
            batch["images"][i, next_picture], image_ops.normalize(pixels)
          )
          next_picture += 1
        if kind == "pages":
          words = targets[batch["loss_mask"][i, chosen]]
          assert small_tokenizer.decode(words).split() == example["words"]
      assert not batch["images"][i, next_picture:].any()
      padding = batch["segment_ids"][i] == 0
      for key in ("loss_mask", "image_mask", "positions", "kinds"):
        assert not batch[key][i, padding].any()
  packed = found[0]["tokens"].shape[0] == 8
  assert bool(several) == packed


@pytest.mark.parametrize("num_shards", [1, 2, 4])
@pytest.mark.parametrize("start_step", [0, 3])
def test_any_hosts_from_any_step(
  open_stream, batches, layout, num_shards, start_step
):
  expected = [batch_lib.batch_hash(batch) for batch in batches[0]]
  assert len(set(expected)) == 5
  shards = [
    open_stream(
      shard_index=i,
      num_shards=num_shards,
      start_step=start_step,
      num_threads=1 + i,
      **layout,
    )
    for i in range(num_shards)
  ]
  for wanted in expected[start_step:]:
    parts = [next(shard) for shard in shards]
    assert batch_lib.batch_hash(join(parts)) == wanted
  total = sum((shard.counts for shard in shards), collections.Counter())
  if not start_step:
    assert total == batches[2].counts


def test_what_finds_no_room_is_counted_by_kind(open_stream):
  options = {"images_per_row": 6, "rows_per_step": 4, "pack_groups": 2}
  stream = open_stream(make_kinds((14, 10, 8)), **options)
  kept, kinds = 0, collections.Counter()
  for _ in range(4):
    batch = next(stream)
    for index in batch["example_index"]:
      segments = stream.segments(index)
      kinds.update(name.rsplit(" ", 1)[1] for name in segments)
    kept += batch["segment_ids"].max(axis=1).sum()
  assert kept == kinds.total()
  assert stream.counts["no_room"] == 4 * 32 - kept > 0
  for name, per_step in (("caption", 14), ("text", 10), ("pages", 8)):
    count = stream.kind_counts[name]["no_room"]
    assert count == 4 * per_step - kinds[name] > 0
    assert f"{name} {count}" in next(
      line for line in stream.left_out() if line.startswith("no_room: ")
    )


def test_examples_with_too_many_pictures_are_left_out(open_stream):
  stream = open_stream(images_per_row=2)
  batch = next(stream)
  told = [stream.segments(i) for i in batch["example_index"]]
  records = [
    int(name.split("record ")[1].split(",")[0]) if "pages" in name else 0
    for [name] in told
  ]
  too_many = [record % 3 == 2 for record in records]
  empty = batch["segment_ids"].max(axis=1) == 0
  np.testing.assert_array_equal(empty, too_many)
  assert sum(too_many) > 0
  assert stream.kind_counts["pages"]["too_many_pictures"] == sum(too_many)
  assert stream.counts["too_many_pictures"] == sum(too_many)
  # Without any room for pictures, texts are left.
  stream = open_stream(images_per_row=0)
  batch = next(stream)
  assert batch["images"].shape == (16, 0, IMAGE_SIZE, IMAGE_SIZE, 3)
  assert stream.counts["too_many_pictures"] == 7 + 4
  assert not batch["image_mask"].any()


def test_examples_longer_than_a_row_are_counted(open_stream):
  source = ListSource([{"id": "long", "text": "red " * 100}])
  kinds = [pipeline.Kind("text", source, [write_text], 2)]
  for options in ({}, {"rows_per_step": 2}):
    stream = open_stream(kinds, **options)
    assert not next(stream)["segment_ids"].any()
    assert stream.counts == {"too_long": 2}


@pytest.mark.parametrize(
  "image", [b"", b"<html>", encode(np.zeros((9, 9, 3), np.uint8))[:60]]
)
def test_a_damaged_picture_among_several_is_named(open_stream, image):
  pages = make_pages(2)
  pages["images"][1] = image
  kind = pipeline.Kind("pages", ListSource([pages], "toy"), [write_pages], 1)
  with pytest.raises(
    ValueError, match=r"^example 'pages-2' of toy, picture 2:"
  ):
    next(open_stream([kind], images_per_row=3))


def test_numbers_that_do_not_go_together(open_stream):
  packed = {"rows_per_step": 6, "pack_groups": 3}
  with pytest.raises(ValueError, match=r"3 groups \(pack_groups\) .* 2 shards"):
    open_stream(num_shards=2, **packed)
  with pytest.raises(ValueError, match="rows_per_step 6 cannot be .* 4 groups"):
    open_stream(rows_per_step=6, pack_groups=4)
  with pytest.raises(ValueError, match="1 or more, found 0 and 1"):
    open_stream(rows_per_step=0)
  with pytest.raises(ValueError, match="images_per_row is 0 or more, found -1"):
    open_stream(images_per_row=-1)
