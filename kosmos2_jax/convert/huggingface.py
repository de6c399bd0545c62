"""Sizes of Hugging Face's `Kosmos2ForConditionalGeneration`, in and out.

What lies in its folder:

config.json                    sizes
model.safetensors              see `weights`
generation_config.json         how its `generate` decodes
sentencepiece.bpe.model, tokenizer.json, processor_config.json, …
                               see `processor`
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from kosmos2_jax.convert.weights import read_json

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"
MODEL_TYPE = "kosmos-2"

# What the two sections of config.json must say, because it is what is computed
# here. A missing field has this value in the library, too.
_FIXED = {
  "text_config": {
    "activation_function": "gelu",
    "scale_embedding": True,
    "layer_norm_eps": 1e-5,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
  },
  "vision_config": {
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "num_channels": 3,
  },
}


def is_folder(path: Path) -> bool:
  """Tells whether a folder holds a Kosmos-2 of Hugging Face."""
  config = path / CONFIG_FILE
  return config.is_file() and "model_type" in read_json(config)


def read_sizes(folder: Path, num_bins: int) -> dict[str, Any]:
  """The sizes of a folder's model, as in `models.presets`.

  Args:
    folder: with config.json.
    num_bins: cells per side of the location grid, which config.json lacks.

  Raises:
    ValueError: for another kind of model, or one that computes something else.
  """
  path = folder / CONFIG_FILE
  config = read_json(path)
  if config.get("model_type") != MODEL_TYPE:
    raise ValueError(
      f"{str(path)!r} is of model type {config.get('model_type')!r}; expected"
      f" {MODEL_TYPE!r}"
    )
  text, vision = (config.get(name) or {} for name in _FIXED)
  _check_fixed(path, "text_config", text)
  text = {**_TEXT_DEFAULTS, **text}
  return {
    "vocab_size": text["vocab_size"],
    "num_bins": num_bins,
    "vision": vision_sizes(path, {**_VISION_DEFAULTS, **vision}),
    "resampler": {
      "num_latents": config.get("latent_query_num", 64),
      "num_heads": text["attention_heads"],
      "dropout_rate": text["attention_dropout"],
    },
    "decoder": {
      "width": text["embed_dim"],
      "depth": text["layers"],
      "mlp_dim": text["ffn_dim"],
      "num_heads": text["attention_heads"],
      "dropout_rate": text["dropout"],
    },
  }


def vision_sizes(path: Path, section: Mapping[str, Any]) -> dict[str, Any]:
  """The sizes of a vision encoder, as in `models.presets`.

  Args:
    path: of config.json, for messages.
    section: what it says of the vision encoder, with every size.

  Raises:
    ValueError: for an encoder that computes something else.
  """
  _check_fixed(path, "vision_config", section)
  return {
    "image_size": _one(section["image_size"]),
    "patch_size": _one(section["patch_size"]),
    "width": section["hidden_size"],
    "depth": section["num_hidden_layers"],
    "mlp_dim": section["intermediate_size"],
    "num_heads": section["num_attention_heads"],
  }


def ngram_size(folder: Path | epath.Path) -> int:
  """`no_repeat_ngram_size` of generation_config.json; 0 where it is not."""
  path = folder / GENERATION_FILE
  found = read_json(path) if path.is_file() else {}
  return found.get("no_repeat_ngram_size") or 0


_TEXT_DEFAULTS = {
  "vocab_size": 65037,
  "embed_dim": 2048,
  "layers": 24,
  "ffn_dim": 8192,
  "attention_heads": 32,
  "dropout": 0.1,
  "attention_dropout": 0.1,
}
_VISION_DEFAULTS = {
  "image_size": 224,
  "patch_size": 14,
  "hidden_size": 1024,
  "num_hidden_layers": 24,
  "intermediate_size": 4096,
  "num_attention_heads": 16,
}


def write_config(
  folder: Path, sizes: Mapping[str, Any], dtype: str = "float32"
) -> None:
  """Writes config.json; raises as `config_of`."""
  _write_json(folder / CONFIG_FILE, config_of(sizes, dtype))


def config_of(
  sizes: Mapping[str, Any], dtype: str = "float32"
) -> dict[str, Any]:
  """The content of config.json.

  Raises:
    ValueError: for sizes that Hugging Face's model cannot have.
  """
  vision, resampler, decoder = (
    sizes[name] for name in ("vision", "resampler", "decoder")
  )
  if vision.get("stem", "patch") != "patch":
    raise ValueError(
      f"Hugging Face's model has no stem {vision['stem']!r}; only models with"
      ' vision.stem "patch" can be exported'
    )
  if resampler["num_heads"] != decoder["num_heads"]:
    raise ValueError(
      "Hugging Face's model has as many heads in the resampler as in the"
      f" decoder; found {resampler['num_heads']} and {decoder['num_heads']}"
    )
  return {
    "architectures": ["Kosmos2ForConditionalGeneration"],
    "dtype": dtype,
    "latent_query_num": resampler["num_latents"],
    "model_type": MODEL_TYPE,
    "text_config": {
      "model_type": "kosmos_2_text_model",
      "vocab_size": sizes["vocab_size"],
      "embed_dim": decoder["width"],
      "layers": decoder["depth"],
      "ffn_dim": decoder["mlp_dim"],
      "attention_heads": decoder["num_heads"],
      "dropout": decoder.get("dropout_rate", 0.0),
      "attention_dropout": resampler.get("dropout_rate", 0.0),
      "activation_dropout": 0.0,
      "max_position_embeddings": 2048,
      "tie_word_embeddings": True,
      **_FIXED["text_config"],
    },
    "tie_word_embeddings": True,
    "vision_config": {
      "model_type": "kosmos_2_vision_model",
      "hidden_size": vision["width"],
      "image_size": vision["image_size"],
      "intermediate_size": vision["mlp_dim"],
      "num_attention_heads": vision["num_heads"],
      "num_hidden_layers": vision["depth"],
      "patch_size": vision["patch_size"],
      **_FIXED["vision_config"],
    },
  }


def write_generation(folder: Path, no_repeat_ngram_size: int) -> None:
  """Writes generation_config.json."""
  content = {
    "bos_token_id": 0,
    "eos_token_id": 2,
    "no_repeat_ngram_size": no_repeat_ngram_size,
    "pad_token_id": 1,
  }
  _write_json(folder / GENERATION_FILE, content)


def _write_json(path: Path, content: dict[str, Any]) -> None:
  path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _check_fixed(path: Path, section: str, found: Mapping[str, Any]) -> None:
  for name, value in _FIXED[section].items():
    if found.get(name, value) != value:
      raise ValueError(
        f"{section}.{name} in {str(path)!r} is {found[name]!r}; only"
        f" {value!r} can be computed here"
      )


def _one(size: int | list[int]) -> int:
  """A side, written as one number or as two equal ones."""
  sides = [size] if isinstance(size, int) else list(size)
  if len(set(sides)) != 1:
    raise ValueError(f"pictures and patches are squares here; found {sides}")
  return sides[0]
