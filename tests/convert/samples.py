"""Random weights, for tests of converters."""

import copy
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from kosmos2_jax.convert import huggingface, processor, transfer, weights
from kosmos2_jax.convert.golden import Golden
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text import markup
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import state as state_lib


def random_params(sizes, seed=0):
  """Parameters of these sizes with random entries in every array."""
  model = presets.build(sizes)
  abstract = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  rng = np.random.default_rng(seed)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), abstract
  )
  params["decoder"]["embedding"][sizes["vocab_size"] :] = 0
  return abstract, params


def read_folder(folder, num_bins=3):
  """Sizes, model and parameters of a Hugging Face folder."""
  sizes = huggingface.read_sizes(folder, num_bins)
  model = presets.build(sizes)
  abstract, _ = random_params(sizes)
  source = weights.SafetensorsFolder(folder)
  params, dropped = transfer.load(
    source, abstract, sizes["vocab_size"], "huggingface"
  )
  assert not dropped
  return sizes, model, params


def build_theirs(vocab_size, decoder, vision, num_latents, seed=0):
  """A model of transformers with random entries in every array."""
  torch = pytest.importorskip("torch", reason="needs torch")
  transformers = pytest.importorskip("transformers", reason="needs it")
  width, depth, mlp_dim, heads = decoder
  config = transformers.Kosmos2Config(
    text_config={
      "vocab_size": vocab_size,
      "embed_dim": width,
      "layers": depth,
      "ffn_dim": mlp_dim,
      "attention_heads": heads,
    },
    vision_config={
      "hidden_size": vision[0],
      "num_hidden_layers": vision[1],
      "intermediate_size": vision[2],
      "num_attention_heads": vision[3],
      "image_size": vision[4],
      "patch_size": vision[5],
    },
    latent_query_num=num_latents,
  )
  torch.manual_seed(seed)
  model = transformers.Kosmos2ForConditionalGeneration(config).eval()
  with torch.no_grad():
    for name, value in model.named_parameters():
      noise = torch.randn_like(value)
      # Larger than initial weights, so that every layer matters.
      norm = name.endswith("weight") and value.ndim == 1
      value.copy_(
        1 + 0.3 * noise if norm else 2 * noise / value.shape[-1] ** 0.5
      )
  return model


def fairseq_sizes(vocab_size):
  """As `fairseq.sizes_of` reads: 64 channels a vision head, 32 other heads."""
  return {
    "vocab_size": vocab_size,
    "num_bins": 32,
    "vision": {
      "image_size": 12,
      "patch_size": 4,
      "width": 128,
      "depth": 2,
      "mlp_dim": 24,
      "num_heads": 2,
    },
    "resampler": {"num_latents": 5, "num_heads": 32, "dropout_rate": 0.1},
    "decoder": {
      "width": 32,
      "depth": 3,
      "mlp_dim": 40,
      "num_heads": 32,
      "dropout_rate": 0.1,
    },
  }


def fairseq_state(params, vocab_size):
  """The state dict of a `kosmos-2.pt`, with its tied matrix and buffers."""
  torch = pytest.importorskip("torch", reason="needs torch")
  state = {
    name: torch.tensor(array)
    for name, array in transfer.export(
      copy.deepcopy(params), vocab_size, "fairseq"
    )
  }
  decoder = "gpt_model.decoder."
  state[decoder + "output_projection.weight"] = state[
    decoder + "embed_tokens.weight"
  ]
  state[decoder + "embed_positions._float_tensor"] = torch.zeros(1)
  state[decoder + "self_attn_sope.scale"] = torch.ones(32)
  return state


def huggingface_folder(folder):
  """A Hugging Face folder of a model for pictures of 16 pixels, 3 x 3 bins.

  Returns the folder and the parameters.
  """
  tokenizer = Tokenizer.small(3)
  sizes = presets.preset("tiny")
  sizes |= {"num_bins": 3, "vocab_size": tokenizer.vocab.size}
  sizes["decoder"]["depth"] = 1
  params = random_params(sizes)[1]
  folder.mkdir()
  huggingface.write_config(folder, sizes)
  huggingface.write_generation(folder, 4)
  processor.write(folder, tokenizer, sizes["vision"]["image_size"])
  weights.write(folder, copy.deepcopy(params), sizes["vocab_size"])
  return folder, params


def clip_folder(folder, sizes, seed=0):
  """Writes a Hugging Face CLIP of these sizes; returns what is in it."""
  vision, params = sizes["vision"], random_params(sizes, seed)[1]["vision"]
  tree = {"vision": copy.deepcopy(params)}
  arrays = dict(transfer.export(tree, 0, "clip"))
  arrays["visual_projection.weight"] = np.zeros((10, vision["width"]))
  folder.mkdir(exist_ok=True)
  save_file(arrays, folder / "model.safetensors")
  config = {
    "model_type": "clip_vision_model",
    "hidden_size": vision["width"],
    "image_size": vision["image_size"],
    "intermediate_size": vision["mlp_dim"],
    "num_attention_heads": vision["num_heads"],
    "num_hidden_layers": vision["depth"],
    "patch_size": vision["patch_size"],
  }
  (folder / "config.json").write_text(json.dumps(config))
  return params


def golden_of_tiny(picture, most=24):
  """A small model and a `Golden` of what it answers about a picture."""
  tokenizer = Tokenizer.small(4)
  sizes = presets.preset("tiny") | {"vocab_size": tokenizer.vocab.size}
  _, params = random_params(sizes)
  norm, eos_id = params["decoder"]["final_norm"], tokenizer.vocab.eos_id
  ending = params["decoder"]["embedding"][eos_id]
  # Random models hardly ever end: lean towards the ending id until this does.
  for _ in range(100):
    norm["bias"] = (norm["bias"] + 0.05 * ending).astype(np.float32)
    predictor = Predictor(presets.build(sizes), params, tokenizer)
    [answer] = predictor.generate(
      ["a red"], [picture], max_new_tokens=most, no_repeat_ngram_size=3
    )
    if answer.finished:
      break
  assert answer.finished
  assert len(answer.tokens) >= 3
  encoded = predictor.encode("a red", picture)
  ids = [*encoded["tokens"][0].tolist(), *answer.tokens, eos_id]
  image_mask = np.zeros((1, len(ids)), bool)
  count = encoded["image_mask"].shape[1]
  image_mask[:, :count] = encoded["image_mask"]
  logits = predictor.logits(np.array([ids]), encoded["images"], image_mask)
  grounded = markup.parse(
    [*tokenizer.encode("a red"), *answer.tokens], tokenizer
  )
  return predictor, Golden(
    "tiny",
    "a red",
    tuple(ids[:count]),
    tuple(ids[count:]),
    grounded.text,
    grounded.phrases,
    tuple(map(tuple, logits[0, count : count + 3, :3].tolist())),
  )
