"""The stream: the same batches whatever the shards, the start, the threads."""

import collections
import subprocess
import sys

import numpy as np
import pytest

from configs import common
from kosmos2_jax import batch as batch_lib
from kosmos2_jax.input import image_ops, pipeline, planning, recipes, text_ops
from kosmos2_jax.input.sources import ListSource
from tests.input.conftest import encode, make_example

IMAGE_SIZE, NUM_LATENTS, SEQ_LEN = 16, 3, 60


@pytest.fixture
def kinds(source):
  """Twelve rows of three kinds; the second has a source of its own."""
  other = ListSource([make_example(n) for n in range(100, 105)], "other")
  return [
    pipeline.Kind(
      "captions", source, recipes.grounded_caption(tag_probability=0.5), 6
    ),
    pipeline.Kind("referring", other, recipes.referring(), 4),
    pipeline.Kind("plain", source, recipes.plain_caption(), 2),
  ]


@pytest.fixture
def stream(kinds, small_tokenizer):
  """Opens a stream of the kinds with any options."""

  def open_stream(own_kinds=kinds, **options):
    defaults = {
      "tokenizer": small_tokenizer,
      "image_size": IMAGE_SIZE,
      "num_latents": NUM_LATENTS,
      "seq_len": SEQ_LEN,
      "seed": 1,
    }
    return pipeline.make_stream(own_kinds, **(defaults | options))

  return open_stream


def take(stream, count):
  return [next(stream) for _ in range(count)]


def join(batches):
  """The global batch of its shards' parts."""
  keys = batch_lib.BATCH_KEYS
  return {key: np.concatenate([b[key] for b in batches]) for key in keys}


@pytest.fixture
def expected(stream):
  """Hashes of the first eight batches; more than an epoch of every kind."""
  return [batch_lib.batch_hash(batch) for batch in take(stream(), 8)]


def test_batches_are_batches(stream):
  batches = take(stream(), 3)
  spec = batch_lib.batch_spec(12, SEQ_LEN, num_images=1, image_size=IMAGE_SIZE)
  for step, batch in enumerate(batches):
    batch_lib.check_batch(batch)
    assert {k: (a.shape, str(a.dtype)) for k, a in batch.items()} == spec
    np.testing.assert_array_equal(
      batch["example_index"], np.arange(12) + 12 * step
    )
    assert (batch["image_mask"].sum(1) == NUM_LATENTS).all()
    assert batch["loss_mask"].any(1).all()
    real = batch["segment_ids"] == 1
    assert not (batch["loss_mask"] | batch["image_mask"])[~real].any()


@pytest.mark.parametrize("num_shards", [1, 2, 4])
def test_any_number_of_shards_makes_the_same_batches(
  stream, expected, num_shards
):
  shards = [
    stream(shard_index=i, num_shards=num_shards) for i in range(num_shards)
  ]
  for wanted in expected:
    parts = [next(shard) for shard in shards]
    assert {len(part["tokens"]) for part in parts} == {12 // num_shards}
    assert batch_lib.batch_hash(join(parts)) == wanted


@pytest.mark.parametrize("start_step", range(1, 8))
def test_starting_at_any_step(stream, expected, start_step):
  resumed = stream(start_step=start_step)
  assert resumed.step == start_step
  hashes = [batch_lib.batch_hash(b) for b in take(resumed, 8 - start_step)]
  assert hashes == expected[start_step:]
  assert resumed.step == 8


def test_resuming_with_other_shards_threads_and_buffers(stream, expected):
  options = {"start_step": 3, "num_shards": 2, "num_threads": 5, "prefetch": 7}
  halves = [stream(shard_index=i, **options) for i in range(2)]
  for wanted in expected[3:]:
    parts = [next(half) for half in halves]
    assert batch_lib.batch_hash(join(parts)) == wanted


def test_the_seed_and_the_step_matter(stream, expected):
  assert len(set(expected)) == 8
  hashes = [batch_lib.batch_hash(batch) for batch in take(stream(seed=2), 8)]
  assert not set(hashes) & set(expected)


def test_every_example_comes_once_an_epoch(stream, kinds):
  running = stream()
  # 13 steps of 6 captions are 6 epochs of 13 examples.
  indices = [i for b in take(running, 13) for i in b["example_index"]]
  told = [running.describe(i) for i in indices]
  captions = [text for text in told if text.endswith("as captions")]
  names = [text.split("'")[1] for text in captions]
  orders = [tuple(names[i : i + 13]) for i in range(0, 78, 13)]
  ids = sorted(
    example["id"] for example in kinds[0].source.__getitems__(range(13))
  )
  assert all(sorted(order) == ids for order in orders)
  assert len(set(orders)) == 6


def test_kinds_are_spread_over_the_batch(stream):
  running = stream()
  (batch,) = take(running, 1)
  told = [running.describe(i) for i in batch["example_index"]]
  names = [text.rsplit(" ", 1)[1] for text in told]
  for half in (names[:6], names[6:]):
    assert collections.Counter(half) == {
      "captions": 3,
      "referring": 2,
      "plain": 1,
    }


def test_an_example_is_drawn_anew_every_epoch(stream, kinds):
  kind = pipeline.Kind("referring", kinds[1].source, recipes.referring(), 5)
  running = stream([kind])
  texts = collections.defaultdict(set)
  for batch in take(running, 8):
    for index, row in zip(batch["example_index"], batch["tokens"], strict=True):
      name = running.describe(index).split("'")[1]
      texts[name].add(row.tobytes())
  # Three expressions have six orders; eight draws give four or so of them.
  assert len(texts) == 5
  assert min(map(len, texts.values())) > 1


@pytest.mark.parametrize("view", ["crop", "squash"])
def test_row_and_picture_belong_together(stream, examples, view):
  source = ListSource(examples)
  kind = pipeline.Kind("only", source, recipes.plain_caption(), 4)
  running = stream([kind], view=view)
  (batch,) = take(running, 1)
  tokenizer = running.tokenizer
  for row, index in enumerate(batch["example_index"]):
    name = running.describe(index).split("'")[1]
    (example,) = [e for e in examples if e["id"] == name]
    text = batch["targets"][row][batch["loss_mask"][row]]
    assert tokenizer.decode(text) == example["caption"]
    pixels = image_ops.view(
      image_ops.decode(example["image"]), IMAGE_SIZE, view
    )
    np.testing.assert_array_equal(
      batch["images"][row, 0], image_ops.normalize(pixels)
    )


def test_counts_are_of_the_batches_taken(stream, examples):
  for number in (0, 5):
    examples[number]["expressions"] = []
  source = ListSource(examples)
  kind = pipeline.Kind("only", source, recipes.referring(), 13)
  running = stream([kind], prefetch=5)
  assert running.counts == {}
  for epochs in range(1, 4):
    next(running)
    assert running.counts["no_boxes"] == 2 * epochs
  assert set(running.counts) <= set(text_ops.REASONS)
  # At a later start, what was before is not counted.
  resumed = stream([kind], start_step=2)
  next(resumed)
  assert resumed.counts["no_boxes"] == 2


@pytest.mark.parametrize(
  ("damage", "reason"),
  [
    (lambda image: b"<html>gone</html>", "not a JPEG or PNG"),
    (lambda image: image[: len(image) // 2], "PNG"),
  ],
)
def test_an_image_that_is_no_image_is_named(stream, examples, damage, reason):
  examples[7]["image"] = damage(examples[7]["image"])
  source = ListSource(examples, "toy")
  kind = pipeline.Kind("only", source, recipes.plain_caption(), 1)
  running = stream([kind])
  with pytest.raises(ValueError, match=reason) as caught:
    take(running, 13)
  assert str(caught.value).startswith("example 'example-7' of toy: the image")
  # Batches before it have come, in order.
  assert running.describe(running.step).startswith(
    f"row 0 of step {running.step}: example 'example-7' of toy, record 7, as"
  )


def test_truncated_jpeg_is_named(stream, examples):
  pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
  examples[2]["image"] = encode(pixels, "JPEG")[:900]
  source = ListSource(examples, "toy")
  kind = pipeline.Kind("only", source, recipes.plain_caption(), 13)
  with pytest.raises(ValueError, match=r"^example 'example-2' of toy: the im"):
    next(stream([kind]))


def test_a_closed_stream_has_ended(stream):
  running = stream()
  take(running, 2)
  running.close()
  assert list(running) == []
  running.close()
  stream().close()


def test_a_forgotten_stream_ends_when_another_is_opened(stream):
  running = stream()
  take(running, 1)
  feed = running._feed
  del running
  stream()
  assert list(feed) == []


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "1 / 0"])
def test_a_program_can_end_with_open_streams(ending):
  program = f"""
from kosmos2_jax.input import pipeline, recipes
from kosmos2_jax.input.sources import ListSource
from kosmos2_jax.text import Tokenizer
from tests.input.conftest import make_example

source = ListSource([make_example(n) for n in range(13)])
kinds = [pipeline.Kind("a", source, recipes.grounded_caption(), 64)]
streams = [
  pipeline.make_stream(
    kinds,
    tokenizer=Tokenizer.small(8),
    image_size=16,
    num_latents=3,
    seq_len=60,
    num_threads=4,
    prefetch=6,
  )
  for _ in range(3)
]
for stream in streams:
  next(stream)
{ending}
"""
  run = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True
  )
  expected = {"": 0, "raise SystemExit(3)": 3, "1 / 0": 1}[ending]
  assert run.returncode == expected, run.stderr[-2000:]


def test_missing_annotations_are_named(stream, examples):
  del examples[3]["expressions"]
  kind = pipeline.Kind("only", ListSource(examples), recipes.referring(), 13)
  with pytest.raises(ValueError, match=r"needs \['expressions'\]"):
    next(stream([kind]))


def test_what_cannot_be_divided_is_told(stream):
  with pytest.raises(ValueError, match=r"12 rows \(captions 6, .* 8 shards"):
    stream(num_shards=8)
  with pytest.raises(ValueError, match=r"0\.\.1 for 2 shards, found 2"):
    stream(shard_index=2, num_shards=2)


def test_wrong_numbers(stream, kinds):
  with pytest.raises(ValueError, match="seq_len 6 has no room"):
    stream(seq_len=6)
  with pytest.raises(ValueError, match="found 'stretch'"):
    stream(view="stretch")
  with pytest.raises(ValueError, match="different names, found"):
    stream([kinds[0], kinds[0]])
  with pytest.raises(ValueError, match=r"found \[\]"):
    stream([])
  nothing = pipeline.Kind("none", ListSource([]), recipes.plain_caption(), 1)
  with pytest.raises(ValueError, match="'none' needs .* 0 examples in list"):
    stream([nothing])


def test_kinds_from_plain_descriptions(source):
  loaded = []

  def load(dataset, split):
    loaded.append((dataset, split))
    return source

  spec = {
    "name": "a",
    "dataset": "shapes",
    "split": "train",
    "recipe": "referring",
    "per_step": 3,
    "options": {"max_expressions": 2},
  }
  kinds = pipeline.make_kinds([spec, {**spec, "name": "b"}], load)
  assert [(k.name, k.per_step, k.source) for k in kinds] == [
    ("a", 3, source),
    ("b", 3, source),
  ]
  assert loaded == [("shapes", "train")]
  with pytest.raises(ValueError, match="'a' has the recipe 'refer'; there are"):
    pipeline.make_kinds([{**spec, "recipe": "refer"}], load)
  for options in ({"maximum": 2}, {"max_expressions": 0}):
    with pytest.raises(ValueError, match="options of data kind 'a': "):
      pipeline.make_kinds([{**spec, "options": options}], load)


@pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning"  # ml_collections
)
def test_plans_without_packing_have_a_row_for_each_document(
  stream, kinds, expected
):
  """Whatever the numbers say that are for packing alone."""
  data = common.base("tiny").data.to_dict()
  data |= {"seq_len": SEQ_LEN, "rows_per_step": 5, "pack_groups": 7}
  by_name = {kind.name: kind.source for kind in kinds}
  recipe_of = {
    "captions": ("grounded_caption", {"tag_probability": 0.5}),
    "referring": ("referring", {}),
    "plain": ("plain_caption", {}),
  }
  specs = [
    {
      "name": kind.name,
      "dataset": kind.name,
      "split": "train",
      "recipe": recipe_of[kind.name][0],
      "options": recipe_of[kind.name][1],
      "per_step": kind.per_step,
    }
    for kind in kinds
  ]
  opened = stream()

  def plan(**options):
    return planning.plan_stream(
      specs,
      data | options,
      lambda name, split: by_name[name],
      opened.tokenizer,
      image_size=IMAGE_SIZE,
      num_latents=NUM_LATENTS,
      seed=1,
    )

  alone = plan(pack=False)
  assert alone.num_rows == 12
  assert alone.kind_names == ("captions", "referring", "plain")
  batch = next(alone.open(1))
  assert batch["segment_ids"].max() == 1
  assert batch_lib.batch_hash(batch) == expected[1]
  # Packed, every document is what its own row was.
  plans = (alone, plan(pack=True, pack_groups=1, images_per_row=4))
  assert plans[1].num_rows == 5
  found = []
  for each in plans:
    running, documents = each.open(), {}
    batch = next(running)
    for row, index in enumerate(batch["example_index"]):
      for number, name in enumerate(running.segments(index), 1):
        chosen = batch["segment_ids"][row] == number
        documents[name] = [
          batch[key][row, chosen].tolist()
          for key in ("tokens", "targets", "loss_mask", "positions", "kinds")
        ]
    found.append(documents)
  assert len(found[0]) == 12
  assert len(found[1]) > 5
  assert found[1].items() <= found[0].items()
