"""Random weights, for tests of converters."""

import copy
import json

import jax
import numpy as np
from safetensors.numpy import save_file

from kosmos2_jax.convert import transfer
from kosmos2_jax.models import presets
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
