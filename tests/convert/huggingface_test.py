"""The same numbers as `transformers`, and its folders in and out."""

import copy
import json

import jax
import numpy as np
import pytest

from kosmos2_jax.convert import (
  huggingface,
  loading,
  processor,
  weights,
)
from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.convert.samples import build_theirs, random_params, read_folder

# Vocabulary, decoder (width, depth, MLP, heads), vision (width, depth, MLP,
# heads, picture, patch), latents, pictures of each prompt.
SHAPES = {
  "square": (640, (32, 2, 64, 4), (16, 2, 32, 2, 16, 8), 4, 1),
  "odd sizes": (333, (48, 3, 40, 6), (24, 1, 50, 3, 21, 7), 5, 2),
  "text alone": (333, (48, 3, 40, 6), (24, 1, 50, 3, 21, 7), 5, 0),
  "one head": (128, (16, 1, 24, 1), (8, 1, 8, 1, 8, 8), 1, 1),
  "wide heads": (257, (64, 1, 16, 1), (32, 2, 8, 1, 12, 4), 9, 1),
  "narrow heads": (400, (24, 2, 96, 12), (40, 1, 20, 20, 18, 6), 3, 2),
  "deep": (300, (16, 7, 20, 2), (16, 6, 24, 4, 16, 4), 2, 1),
  "decoder narrower than vision": (
    200,
    (8, 2, 12, 2),
    (64, 1, 32, 8, 8, 2),
    4,
    1,
  ),
  "one patch": (200, (20, 1, 12, 5), (12, 1, 32, 2, 5, 5), 7, 3),
  "many latents": (150, (12, 2, 12, 3), (12, 1, 12, 3, 6, 3), 33, 1),
}

SLOW = pytest.mark.slow


def make_prompts(vocab_size, num_latents, num_images, image_size):
  """Three prompts of different lengths, padded on the right."""
  rng = np.random.default_rng(0)
  length = 9 + num_images * (num_latents + 2)
  tokens = rng.integers(4, vocab_size, (3, length)).astype(np.int32)
  image_mask = np.zeros((3, length), bool)
  tokens[:, 0] = 0
  for i in range(num_images):
    begin = 2 + i * (num_latents + 2)
    image_mask[:, begin : begin + num_latents] = True
  tokens[1, -4:] = 1
  tokens[2, -1:] = 1
  images = rng.normal(size=(3, num_images, image_size, image_size, 3))
  return tokens, image_mask, images.astype(np.float32)


def their_logits(model, tokens, image_mask, images):
  import torch

  inputs = {
    "input_ids": torch.tensor(tokens, dtype=torch.long),
    "attention_mask": torch.tensor(tokens != 1, dtype=torch.long),
  }
  if images.shape[1]:
    pixels = images.reshape(-1, *images.shape[2:]).transpose(0, 3, 1, 2)
    inputs["pixel_values"] = torch.tensor(pixels)
    inputs["image_embeds_position_mask"] = torch.tensor(image_mask)
  else:
    model = model.text_model
  with torch.no_grad():
    return model(**inputs).logits.numpy()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
  "name",
  # One of them while you work, all of them before you hand in.
  [n if n == "odd sizes" else pytest.param(n, marks=SLOW) for n in SHAPES],
)
def test_logits_are_those_of_transformers(name, tmp_path):
  vocab_size, decoder, vision, num_latents, num_images = SHAPES[name]
  theirs = build_theirs(vocab_size, decoder, vision, num_latents)
  theirs.save_pretrained(tmp_path / "theirs")
  sizes, model, params = read_folder(tmp_path / "theirs")
  tokens, image_mask, images = make_prompts(
    vocab_size, num_latents, num_images, vision[4]
  )
  wanted = their_logits(theirs, tokens, image_mask, images)
  apply = jax.jit(model.apply)
  found = apply(
    {"params": params},
    tokens,
    images if num_images else None,
    image_mask if num_images else None,
    (tokens != 1).astype(np.int32),
  )[..., :vocab_size]
  real = tokens != 1
  difference = np.abs(np.asarray(found) - wanted)[real].max()
  spread = wanted[real].max() - wanted[real].min()
  assert difference <= 2e-5 * spread
  # And back: the very bytes.
  (tmp_path / "ours").mkdir()
  weights.write(tmp_path / "ours", params, vocab_size)
  assert (tmp_path / "ours/model.safetensors").read_bytes() == (
    tmp_path / "theirs/model.safetensors"
  ).read_bytes()
  huggingface.write_config(tmp_path / "ours", sizes)
  assert huggingface.read_sizes(tmp_path / "ours", 3) == sizes


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_transformers_opens_what_we_write(tmp_path):
  transformers = pytest.importorskip("transformers", reason="needs it")
  tokenizer = Tokenizer.small(4)
  sizes = presets.preset("tiny") | {"vocab_size": tokenizer.vocab.size}
  _, params = random_params(sizes)
  kept = copy.deepcopy(params)
  huggingface.write_config(tmp_path, sizes)
  huggingface.write_generation(tmp_path, 3)
  processor.write(tmp_path, tokenizer, sizes["vision"]["image_size"])
  weights.write(tmp_path, params, sizes["vocab_size"])
  load = transformers.Kosmos2ForConditionalGeneration.from_pretrained
  theirs, report = load(tmp_path, output_loading_info=True)
  assert not any(report[key] for key in report if key != "conversion_errors")
  assert theirs.generation_config.no_repeat_ngram_size == 3
  tokens, image_mask, images = make_prompts(
    tokenizer.vocab.size, sizes["resampler"]["num_latents"], 1, 16
  )
  wanted = their_logits(theirs.eval(), tokens, image_mask, images)
  loaded = loading.load(tmp_path)
  jax.tree.map(np.testing.assert_array_equal, loaded.params, kept)
  found = jax.jit(loaded.model.apply)(
    {"params": kept},
    tokens,
    images,
    image_mask,
    (tokens != 1).astype(np.int32),
  )[..., : tokenizer.vocab.size]
  real = tokens != 1
  np.testing.assert_allclose(
    np.asarray(found)[real], wanted[real], rtol=0, atol=2e-5 * np.ptp(wanted)
  )


@pytest.mark.parametrize(
  ("section", "field", "value"),
  [
    ("text_config", "activation_function", "relu"),
    ("text_config", "scale_embedding", False),
    ("vision_config", "hidden_act", "gelu"),
    ("vision_config", "layer_norm_eps", 1e-6),
  ],
)
def test_other_arithmetic_is_refused(folder, section, field, value):
  path = folder / "config.json"
  config = json.loads(path.read_text())
  config[section][field] = value
  path.write_text(json.dumps(config))
  with pytest.raises(ValueError, match=rf"{section}\.{field} .* is {value!r}"):
    huggingface.read_sizes(folder, 3)


def test_other_models_and_broken_configs_are_refused(folder):
  path = folder / "config.json"
  config = json.loads(path.read_text())
  path.write_text(json.dumps(config | {"model_type": "llava"}))
  with pytest.raises(ValueError, match="model type 'llava'; expected"):
    huggingface.read_sizes(folder, 3)
  config["vision_config"]["image_size"] = [21, 28]
  path.write_text(json.dumps(config))
  with pytest.raises(ValueError, match="are squares"):
    huggingface.read_sizes(folder, 3)
  path.write_text("{")
  with pytest.raises(ValueError, match="is no JSON"):
    huggingface.read_sizes(folder, 3)


def test_sizes_that_transformers_cannot_have_are_refused(odd_sizes, tmp_path):
  sizes = copy.deepcopy(odd_sizes)
  sizes["resampler"]["num_heads"] = 3
  with pytest.raises(ValueError, match="found 3 and 6"):
    huggingface.write_config(tmp_path, sizes)
  sizes = presets.preset("shapes")
  sizes["vision"]["stem"] = "conv"
  with pytest.raises(ValueError, match='stem "patch"'):
    huggingface.write_config(tmp_path, sizes)
