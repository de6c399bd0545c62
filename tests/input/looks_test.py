"""Augmentation and fast decoding in the stream of batches."""

import collections
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from configs import common
from kosmos2_jax import batch as batch_lib
from kosmos2_jax.input import geometry, image_ops, pipeline, recipes, text_ops
from kosmos2_jax.input.augmentation import Augmentation
from kosmos2_jax.input.sources import ListSource
from kosmos2_jax.text import markup

SIZE = 48
COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}
ALL = Augmentation(
  crop_area=(0.4, 1.0),
  flip_probability=0.5,
  brightness=0.1,
  contrast=0.1,
  saturation=0.1,
)


def encode(pixels, file_format="PNG"):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, file_format)
  return buffer.getvalue()


def two_sides(number, caption="a red box to the left of a blue box"):
  """A red box on the left and a blue one on the right, and words for it."""
  rng = np.random.default_rng(number)
  height, width = rng.integers(60, 120, 2).tolist()
  pixels = np.full((height, width, 3), 250, np.uint8)
  chunks = []
  for colour, left in (("red", 0.08), ("blue", 0.55)):
    begin, end = int(left * width), int((left + 0.35) * width)
    top, bottom = int(0.25 * height), int(0.8 * height)
    pixels[top:bottom, begin:end] = COLOURS[colour]
    box = (begin / width, top / height, end / width, bottom / height)
    start = caption.index(f"a {colour} box")
    stop = start + len(f"a {colour} box")
    chunks.append({"start": start, "end": stop, "box_xyxy": box, "score": 1.0})
  return {
    "id": str(number),
    "image": encode(pixels),
    "caption": caption,
    "noun_chunks": chunks,
  }


@pytest.fixture
def stream(small_tokenizer):
  def open_stream(examples, per_step=12, recipe=None, **options):
    recipe = recipe or recipes.grounded_caption()
    kind = pipeline.Kind("a", ListSource(examples), recipe, per_step)
    defaults = {
      "tokenizer": small_tokenizer,
      "image_size": SIZE,
      "num_latents": 2,
      "seq_len": 60,
      "seed": 3,
    }
    return pipeline.make_stream([kind], **(defaults | options))

  return open_stream


@pytest.fixture(scope="module")
def examples():
  return [two_sides(number) for number in range(16)]


def hashes(streams, count=3):
  result = []
  for _ in range(count):
    parts = [next(stream) for stream in streams]
    whole = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    result.append(batch_lib.batch_hash(whole))
  return result


def test_what_is_off_changes_nothing(stream, examples):
  plain = hashes([stream(examples)])
  assert hashes([stream(examples, augmentation=Augmentation())]) == plain
  assert not set(hashes([stream(examples, augmentation=ALL)])) & set(plain)


@pytest.mark.parametrize("packed", [{}, {"rows_per_step": 8, "pack_groups": 4}])
def test_augmented_batches_are_those_of_seed_and_step(stream, examples, packed):
  options = {"augmentation": ALL, "images_per_row": 2, "seq_len": 120, **packed}
  expected = hashes([stream(examples, **options)])
  assert len(set(expected)) == 3
  for count in (2, 4):
    shards = [
      stream(examples, shard_index=i, num_shards=count, **options)
      for i in range(count)
    ]
    assert hashes(shards) == expected
  later = stream(examples, start_step=2, num_threads=5, **options)
  assert hashes([later], 1) == expected[2:]


@pytest.mark.parametrize("view", geometry.VIEWS)
def test_words_boxes_and_pixels_agree(stream, examples, view):
  options = Augmentation(crop_area=(0.4, 1.0), flip_probability=0.5)
  running = stream(examples, augmentation=options, view=view, per_step=32)
  sides = collections.Counter()
  seen = 0
  for batch in (next(running), next(running)):
    for tokens, image in zip(batch["targets"], batch["images"], strict=True):
      found = markup.parse(tokens, running.tokenizer)
      pixels = batch_lib.denormalize(image[0]).astype(int)
      red = np.argwhere(np.abs(pixels - COLOURS["red"]).max(-1) < 60)
      blue = np.argwhere(np.abs(pixels - COLOURS["blue"]).max(-1) < 60)
      side = "left" if "left" in found.text else "right"
      assert found.text == f"a red box to the {side} of a blue box"
      if len(red) and len(blue):
        is_left = red[:, 1].mean() < blue[:, 1].mean()
        assert side == ("left" if is_left else "right")
        sides[side] += 1
      for phrase in found.phrases:
        places = red if "red" in phrase.text else blue
        (box,) = phrase.boxes
        top, left = places.min(0) / SIZE
        bottom, right = (places.max(0) + 1) / SIZE
        # Boxes are cells of a grid, pixels are blurred at their borders.
        cell = 1 / running.tokenizer.vocab.num_bins + 2 / SIZE
        expected = (left, top, right, bottom)
        np.testing.assert_allclose(box.xyxy, expected, atol=cell)
        seen += 1
  assert seen > 60
  assert min(sides["left"], sides["right"]) > 10
  assert set(running.counts) <= {"cropped_out", "no_boxes"}
  assert running.counts["cropped_out"] > 0


def test_the_only_picture_of_images_is_augmented_like_any(stream, examples):
  """Records with all fields, as `data/jsonl` has them."""
  records = [
    {
      **{key: value for key, value in example.items() if key != "image"},
      "images": [example["image"]],
      "ref_exps": [],
      "expressions": [],
      "question": "",
      "answers": [],
      "messages": [],
      "message_phrases": [],
    }
    for example in examples
  ]
  by_fields = {"recipe": recipes.by_fields()}
  for options in ({}, {"augmentation": ALL}):
    found = hashes([stream(records, **by_fields, **options)])
    assert found == hashes([stream(examples, **options)])
  running = stream(records, augmentation=ALL, **by_fields)
  assert "flip_refused" not in (next(running) and running.counts)
  # Turns may speak of the picture in any way.
  turns = [
    {"role": "user", "text": "<image> What is it?"},
    {"role": "assistant", "text": "two boxes"},
  ]
  talk = {**records[0], "messages": turns}
  always = Augmentation(flip_probability=1.0)
  mirrored = next(stream([talk], augmentation=always, **by_fields))
  plain = next(stream([talk], **by_fields))
  np.testing.assert_allclose(mirrored["images"], plain["images"], atol=0.02)


def test_words_that_refuse_are_counted(stream):
  caption = "a red box, right behind it a blue box"
  example = two_sides(0, caption)
  running = stream([example], augmentation=Augmentation(flip_probability=1.0))
  batch = next(running)
  assert running.counts == {"flip_refused": 12}
  plain = next(stream([example]))
  np.testing.assert_array_equal(batch["tokens"], plain["tokens"])
  assert "flip_refused" in text_ops.REASONS


def _pictures(example, context):
  """A recipe for several pictures, without any words."""
  writer = context.writer()
  for picture in example["images"]:
    writer.picture(picture)
  writer.text([5, 6])
  return {**example, "document": writer.document()}


def test_pictures_among_words_are_cut_but_not_mirrored(stream):
  row = np.linspace(0, 250, 64).astype(np.uint8)
  ramp = np.broadcast_to(row[None, :, None], (64, 64, 3))
  example = {"id": "0", "images": [encode(ramp)] * 2}
  options = {"images_per_row": 3, "recipe": [_pictures], "per_step": 4}
  always = Augmentation(crop_area=(0.3, 0.5), flip_probability=1.0)
  batch = next(stream([example], augmentation=always, **options))
  first, second, none = np.moveaxis(batch["images"], 1, 0)
  assert not none.any()
  assert (np.abs(first - second).max((1, 2, 3)) > 0.01).all()
  rising = np.diff(batch["images"][:, :2].mean((2, 4)), axis=-1)
  assert rising.shape[-1] == SIZE - 1
  assert (rising.mean(-1) > 0).all()
  # Where boxes lie in them, they are as the view shows them.
  example["message_phrases"] = [{"box_xyxy": (0.0, 0.0, 1.0, 1.0)}]
  whole = next(stream([example], augmentation=always, **options))
  plain = next(stream([example], **options))
  np.testing.assert_array_equal(whole["images"], plain["images"])


def photograph(height, width):
  y, x = np.mgrid[:height, :width]
  waves = [np.sin(x / 19), np.cos(y / 21), np.sin((x + y) / 25)]
  return (127.5 + 120 * np.stack(waves, -1)).astype(np.uint8)


@pytest.mark.parametrize(
  ("shape", "ratio"),
  [((95, 200), 1), ((96, 200), 2), ((300, 192), 4), ((400, 390), 8)],
)
def test_large_jpegs_are_decoded_smaller(stream, shape, ratio):
  encoded = encode(photograph(*shape), "JPEG")
  part = geometry.view_xyxy(*shape, SIZE, "crop")
  assert geometry.decode_ratio(encoded, shape, part, SIZE) == ratio
  scaled = image_ops.decode_scaled(tf.constant(encoded), tf.constant(ratio))
  assert scaled.shape[:2] == [-(-side // ratio) for side in shape]
  example = {"id": "0", "image": encoded, "caption": "waves"}
  options = {"recipe": recipes.plain_caption(), "per_step": 1}
  fast = next(stream([example], fast_decode=True, **options))
  exact = next(stream([example], **options))
  difference = batch_lib.denormalize(fast["images"]).astype(int)
  difference -= batch_lib.denormalize(exact["images"])
  difference = np.abs(difference)
  assert (ratio == 1) == (difference.max() <= 1)
  # Smooth waves: what is left out has little to say.
  assert difference.mean() < 2


def test_a_png_is_never_decoded_smaller(stream):
  encoded = encode(photograph(400, 400))
  part = (0.0, 0.0, 1.0, 1.0)
  assert geometry.decode_ratio(encoded, (400, 400), part, SIZE) == 1


def test_a_small_part_is_decoded_finer():
  encoded = encode(photograph(400, 400), "JPEG")
  part = (0.0, 0.0, 0.5, 1.0)
  assert geometry.decode_ratio(encoded, (400, 400), part, SIZE) == 4


@pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method:DeprecationWarning"  # ml_collections
)
def test_the_defaults_of_configs_are_off():
  data = common.base("tiny").data
  assert Augmentation(**data.augmentation.to_dict()) == Augmentation()
  assert not data.fast_decode
