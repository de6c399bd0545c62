"""Ids and pixels are those of Hugging Face's processor.

That processor puts one picture in front of each text and knows no second one:
so many pictures, so many texts. Prompts with several are compared with what
its tokenizer makes of the same tags, and pictures in a batch of texts.
"""

import json
import random
import shutil

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.convert import processor
from kosmos2_jax.generation import prompting
from kosmos2_jax.text import location
from kosmos2_jax.text.tokenizer import MODEL_FILE, Tokenizer

WORDS = [
  *("a", "the", "two", "red", "big", "dog's", "snow-man,", "on", "left", "of"),
  *("U.S.", "12", "(old)", "naïve", "東京", "é"),
]


@pytest.fixture(scope="module")
def transformers():
  return pytest.importorskip("transformers", reason="needs transformers")


@pytest.fixture(scope="module")
def theirs(reference_dir, transformers):
  folder = reference_dir / "hf_processor"
  return transformers.AutoProcessor.from_pretrained(folder)


def test_the_files_are_those_of_transformers(
  real_tokenizer, reference_dir, tmp_path
):
  processor.write(tmp_path, real_tokenizer, 224)
  for name in (
    "tokenizer.json",
    "tokenizer_config.json",
    "processor_config.json",
  ):
    ours = json.loads((tmp_path / name).read_text())
    wanted = json.loads((reference_dir / "hf_processor" / name).read_text())
    assert ours == wanted, name
  assert (tmp_path / MODEL_FILE).read_bytes() == real_tokenizer.model_bytes


def test_unicode_is_normalised_as_the_original_does(theirs, real_tokenizer):
  ids = real_tokenizer.encode("½ cup")
  assert ids == real_tokenizer.encode("1⁄2 cup")
  assert ids != theirs.tokenizer("½ cup", add_special_tokens=False).input_ids


def make_prompt(rng):
  """Words, tags and boxes in any order, as people write prompts."""
  parts = []
  for _ in range(rng.randint(1, 8)):
    words = " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))
    kind = rng.random()
    if kind < 0.5:
      parts.append(words)
    elif kind < 0.7:
      parts.append(f"<phrase>{rng.choice(['', ' '])}{words}</phrase>")
    elif kind < 0.9:
      bins = [rng.randrange(1024) for _ in range(2 * rng.randint(1, 3))]
      pairs = [
        f"<patch_index_{a:04d}><patch_index_{b:04d}>"
        for a, b in zip(bins[::2], bins[1::2], strict=True)
      ]
      joined = "</delimiter_of_multi_objects/>".join(pairs)
      parts.append(f"<phrase>{words}</phrase><object>{joined}</object>")
    else:
      parts.append(rng.choice(["<grounding>", "</doc>", "</line>", "</chunk>"]))
  return rng.choice(["", "<grounding>", "<grounding> "]) + rng.choice(
    ["", " "]
  ).join(parts)


def test_ids_are_those_of_transformers(theirs, real_tokenizer):
  rng = random.Random(0)
  for _ in range(1000):
    prompt = make_prompt(rng)
    wanted = theirs.tokenizer(prompt, add_special_tokens=False).input_ids
    assert real_tokenizer.encode(prompt) == wanted, prompt


def test_prompts_with_a_picture_are_those_of_transformers(
  theirs, real_tokenizer
):
  rng = random.Random(1)
  picture = Image.new("RGB", (300, 200), (10, 200, 30))
  for _ in range(100):
    prompt = make_prompt(rng)
    wanted = theirs(images=picture, text=prompt)
    row = prompting.make_row(
      prompt, picture, real_tokenizer, num_latents=64, image_size=224
    )
    mask = np.array(wanted["image_embeds_position_mask"]).reshape(-1)
    ids = np.array(wanted["input_ids"]).reshape(-1)
    np.testing.assert_array_equal(row.image_mask, mask.astype(bool))
    # What stands at the slots is never read, and differs.
    slots = mask.astype(bool)
    np.testing.assert_array_equal(np.array(row.tokens)[~slots], ids[~slots])


def test_several_texts_with_a_picture_each_are_those_of_transformers(
  theirs, real_tokenizer
):
  rng = random.Random(4)
  prompts = [make_prompt(rng) for _ in range(8)]
  pictures = [Image.new("RGB", (30 + i, 20), (i, 20, 30)) for i in range(8)]
  wanted = theirs(images=pictures, text=prompts, padding=True)
  rows = [
    prompting.make_row(
      prompt, picture, real_tokenizer, num_latents=64, image_size=224
    )
    for prompt, picture in zip(prompts, pictures, strict=True)
  ]
  stacked = prompting.stack_rows(rows, real_tokenizer.vocab.pad_id, 1)
  # The slots, too: the rule against repeated n-grams reads these ids.
  np.testing.assert_array_equal(stacked.tokens, wanted["input_ids"])
  np.testing.assert_array_equal(
    stacked.image_mask, wanted["image_embeds_position_mask"]
  )
  real = np.arange(stacked.tokens.shape[1]) < stacked.lengths[:, None]
  np.testing.assert_array_equal(real, wanted["attention_mask"])
  np.testing.assert_allclose(
    stacked.images[:, 0].transpose(0, 3, 1, 2),
    np.array(wanted["pixel_values"]),
    rtol=0,
    atol=1e-6,
  )


@pytest.mark.parametrize("num_images", [2, 3])
@pytest.mark.parametrize("in_text", [True, False])
def test_several_pictures_in_a_prompt(
  theirs, real_tokenizer, num_images, in_text
):
  rng = random.Random(num_images)
  picture = Image.new("RGB", (30, 20))
  block = f"<image>{'<image>' * 64}</image>"
  slot = real_tokenizer.vocab.image_id
  for _ in range(50):
    parts = [make_prompt(rng) for _ in range(num_images + 1)]
    if in_text:
      prompt, spelt = (tag.join(parts) for tag in ("<image>", block))
    else:
      prompt = "".join(parts)
      spelt = block * num_images + prompt
    ids = theirs.tokenizer(spelt, add_special_tokens=False).input_ids
    row = prompting.make_row(
      prompt,
      [picture] * num_images,
      real_tokenizer,
      num_latents=64,
      image_size=224,
    )
    tokens, wanted = np.array(row.tokens), np.array([0, *ids])
    # Where an <image> follows another one, there is a slot.
    slots = np.append(False, (wanted[1:] == slot) & (wanted[:-1] == slot))
    np.testing.assert_array_equal(row.image_mask, slots)
    assert slots.sum() == 64 * num_images
    np.testing.assert_array_equal(tokens[~slots], wanted[~slots])
    assert len(row.images) == num_images


def test_transformers_takes_one_picture_a_text(theirs):
  pictures = [Image.new("RGB", (30, 20))] * 2
  with pytest.raises(ValueError, match="should be the same. Got 1 v.s. 2"):
    theirs(images=pictures, text="a")


def random_box(rng, cells):
  """A box; half of the numbers are borders of cells."""

  def pair():
    while True:
      low, high = sorted(
        rng.randint(0, cells) / cells if rng.random() < 0.5 else rng.random()
        for _ in range(2)
      )
      if low < min(high, 1 - 1e-9):
        return low, high

  (x1, x2), (y1, y2) = pair(), pair()
  return x1, y1, x2, y2


def test_boxes_rounded_up_are_those_of_transformers(theirs, real_tokenizer):
  rng = random.Random(3)
  text = "<grounding><phrase> a dog</phrase> and<phrase> two</phrase> on"
  differ = 0
  for _ in range(300):
    boxes = [random_box(rng, 32) for _ in range(3)]
    wanted = theirs(
      text=text, bboxes=[boxes[0], boxes[1:]], add_special_tokens=False
    ).input_ids
    given = [boxes[0], boxes[1:]]
    up, down = (
      real_tokenizer.encode(prompting.insert_boxes(text, given, 32, rounding))
      for rounding in ("ceil", "floor")
    )
    assert up == np.array(wanted).reshape(-1).tolist(), boxes
    differ += up != down
  assert differ > 100


@pytest.mark.parametrize("num_bins", [1, 2, 7, 10, 16, 32, 49])
def test_cells_rounded_up_are_those_of_transformers(transformers, num_bins):
  del transformers
  from transformers.models.kosmos2 import processing_kosmos2

  theirs = processing_kosmos2.coordinate_to_patch_index
  rng = random.Random(num_bins)
  for _ in range(1000):
    box = random_box(rng, num_bins)
    found = location.box_to_bins(box, num_bins, "ceil")
    assert found == theirs(box, num_bins), box
  for flat in ((0.5, 0.25, 0.5, 0.75), (0.25, 0.5, 0.75, 0.5)):
    for function in (
      lambda box: theirs(box, num_bins),
      lambda box: location.box_to_bins(box, num_bins, "ceil"),
    ):
      with pytest.raises(ValueError, match="x2 > x1|x1 < x2"):
        function(flat)


@pytest.mark.parametrize(
  ("mode", "size"),
  [
    ("RGB", (640, 480)),
    ("RGB", (224, 224)),
    ("L", (50, 300)),
    ("RGBA", (9, 9)),
  ],
)
def test_pixels_are_those_of_transformers(theirs, mode, size):
  rng = np.random.default_rng(0)
  channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
  pixels = rng.integers(0, 256, (*size[::-1], *channels), dtype=np.uint8)
  picture = Image.fromarray(pixels, mode)
  wanted = theirs(images=picture, text="a")["pixel_values"]
  found = prompting.prepare_image(picture, 224)
  np.testing.assert_allclose(
    found.transpose(2, 0, 1), np.array(wanted)[0], rtol=0, atol=1e-6
  )


def test_a_tokenizer_of_json_alone_gives_the_same_ids(
  reference_dir, real_tokenizer, tmp_path
):
  for name in ("tokenizer.json", "processor_config.json"):
    shutil.copy(reference_dir / "hf_processor" / name, tmp_path)
  found = processor.read(tmp_path)
  assert found.vocab == real_tokenizer.vocab
  rng = random.Random(2)
  for _ in range(300):
    prompt = make_prompt(rng) + rng.choice(["", " ½ cup", "\tﬁne Ａ", " …"])
    ids = real_tokenizer.encode(prompt)
    assert found.encode(prompt) == ids
    assert found.decode(ids) == real_tokenizer.decode(ids)


@pytest.mark.parametrize("num_bins", [4, 16])
def test_what_is_written_reads_back(tmp_path, num_bins):
  small = Tokenizer.small(num_bins)
  processor.write(tmp_path, small, 64)
  assert processor.read(tmp_path).vocab == small.vocab
  assert processor.read(tmp_path).model_bytes == small.model_bytes
  (tmp_path / MODEL_FILE).unlink()
  # The JSON has all: the number of bins, the pieces, and bytes for the rest.
  (tmp_path / processor.PROCESSOR_FILE).unlink()
  found = processor.read(tmp_path)
  assert found.vocab == small.vocab
  for text in ("a red circle", "An image of Übermut 🎈", "two  blue\tstars"):
    assert found.encode(text) == small.encode(text)


def test_transformers_reads_the_small_tokenizer_alike(transformers, tmp_path):
  small = Tokenizer.small(4)
  processor.write(tmp_path, small, 64)
  theirs = transformers.AutoProcessor.from_pretrained(tmp_path)
  box = "".join(
    f"<patch_index_{i:04d}>"
    for i in location.box_to_bins((0.1, 0.1, 0.9, 0.6), 4)
  )
  for text in (
    f"<grounding>An image of<phrase> a dog</phrase><object>{box}</object>",
    "Übermut 🎈 on a sofa",
  ):
    ids = theirs.tokenizer(text, add_special_tokens=False).input_ids
    assert ids == small.encode(text)
    assert theirs.tokenizer.decode(ids) == small.decode(ids)


def test_no_tokenizer_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError, match="has no tokenizer: neither"):
    processor.read(tmp_path)


def test_other_tokenizers_are_refused(tmp_path):
  path = tmp_path / processor.TOKENIZER_FILE
  path.write_text(json.dumps({"model": {"type": "BPE", "vocab": {}}}))
  with pytest.raises(ValueError, match="is a BPE tokenizer"):
    processor.read(tmp_path)
  vocab = [["<unk>", 0.0], ["a", -1.0]]
  path.write_text(json.dumps({"model": {"type": "Unigram", "vocab": vocab}}))
  with pytest.raises(ValueError, match=r"begins with \['<s>', '<pad>'"):
    processor.read(tmp_path)
  vocab = [[name, 0.0] for name in ("<s>", "<pad>", "</s>", "<unk>", "a")]
  path.write_text(json.dumps({"model": {"type": "Unigram", "vocab": vocab}}))
  with pytest.raises(ValueError, match="ends with '<mask>'"):
    processor.read(tmp_path)
  settings = {"num_patch_index_tokens": 1000}
  (tmp_path / processor.PROCESSOR_FILE).write_text(json.dumps(settings))
  with pytest.raises(ValueError, match="1000 location tokens"):
    processor.read(tmp_path)
