"""Sizes of named models, as plain numbers, and the one way to build them."""

import copy
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from kosmos2_jax.models import attention as attention_lib
from kosmos2_jax.models.decoder import LOSS_CHUNK, Decoder
from kosmos2_jax.models.kosmos2 import Kosmos2
from kosmos2_jax.models.resampler import PerceiverResampler
from kosmos2_jax.models.vision import VisionEncoder

PRESETS: dict[str, dict[str, Any]] = {
  # The released checkpoint: CLIP ViT-L/14, 64 latents, Magneto XL.
  "kosmos2": {
    "vocab_size": 65_037,
    "num_bins": 32,
    "vision": {
      "image_size": 224,
      "patch_size": 14,
      "width": 1024,
      "depth": 24,
      "mlp_dim": 4096,
      "num_heads": 16,
    },
    "resampler": {"num_latents": 64, "num_heads": 32, "dropout_rate": 0.1},
    "decoder": {
      "width": 2048,
      "depth": 24,
      "mlp_dim": 8192,
      "num_heads": 32,
      "dropout_rate": 0.1,
    },
  },
  # Trained from scratch on pictures of 64 × 64 pixels in minutes on a CPU.
  "shapes": {
    "vocab_size": 1024,
    "num_bins": 16,
    "vision": {
      "image_size": 64,
      "patch_size": 8,
      "width": 128,
      "depth": 1,
      "mlp_dim": 256,
      "num_heads": 4,
      "position_init": "sincos2d",
    },
    "resampler": {
      "num_latents": 16,
      "num_heads": 4,
      "feature_gain": 16.0,
      "latent_init": "grid",
    },
    "decoder": {
      "width": 128,
      "depth": 2,
      "mlp_dim": 256,
      "num_heads": 4,
      "location_init": "sincos2d",
    },
  },
  # For tests: every part present, nothing larger than it must be.
  "tiny": {
    "vocab_size": 601,
    "num_bins": 4,
    "vision": {
      "image_size": 16,
      "patch_size": 8,
      "width": 16,
      "depth": 2,
      "mlp_dim": 32,
      "num_heads": 2,
    },
    "resampler": {"num_latents": 4, "num_heads": 2},
    "decoder": {"width": 16, "depth": 2, "mlp_dim": 32, "num_heads": 2},
  },
}

# Fields of a config's model section that are no sizes.
COMPUTE = ("dtype", "attention", "remat", "unroll", "loss_chunk")


def preset(name: str) -> dict[str, Any]:
  """A copy of the named sizes, free to be changed.

  Raises:
    ValueError: for an unknown name.
  """
  if name not in PRESETS:
    raise ValueError(
      f"there is no model preset {name!r}; choose one of {sorted(PRESETS)}."
    )
  return copy.deepcopy(PRESETS[name])


def split(
  section: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
  """A config's model section as sizes and as ways to compute.

  Sizes belong to a checkpoint; how to compute is each command's own affair.

  Returns:
    The sizes as in `PRESETS`, and the other arguments of `build`.
  """
  sizes = dict(section)
  if not sizes.get("text_only"):
    # Said only where it is so: what a checkpoint says of its sizes stays.
    sizes.pop("text_only", None)
  return sizes, {name: sizes.pop(name) for name in COMPUTE if name in sizes}


def build(
  sizes: Mapping[str, Any],
  *,
  dtype: str = "float32",
  stacked: bool = True,
  attention: str = "xla",
  remat: str = "none",
  unroll: int = 1,
  loss_chunk: int = LOSS_CHUNK,
) -> Kosmos2:
  """The model of these sizes.

  Args:
    sizes: as in `PRESETS`: `vocab_size`, `num_bins` and the sections
      `vision`, `resampler`, `decoder`; with `text_only` True the decoder
      alone is built, and has all the parameters there are.
    dtype: compute type, "float32" or "bfloat16"; parameters are float32.
    stacked: the layers in one loop, or each on its own; see `stacking`.
    attention: of vision encoder and decoder, see `attention.attend`.
    remat: see `stacking.scan_layers`.
    unroll: layers per loop iteration; a large number means no loop at all.
    loss_chunk: see `Decoder`.

  Raises:
    ValueError: for a missing or unknown section or field, a dtype that is
      neither of the two, or an attention that does not take it.
  """
  wanted = {"vocab_size", "num_bins", "vision", "resampler", "decoder"}
  if set(sizes) - {"text_only"} != wanted:
    raise ValueError(
      f"model sizes need exactly {sorted(wanted)}; got {sorted(sizes)}."
    )
  if dtype not in ("float32", "bfloat16"):
    raise ValueError(f'dtype must be "float32" or "bfloat16"; got {dtype!r}.')
  attention_lib.check(attention, dtype)
  kind = jnp.dtype(dtype)
  depthwise = {
    "stacked": stacked,
    "attention": attention,
    "remat": remat,
    "unroll": unroll,
  }
  try:
    vision = VisionEncoder(**sizes["vision"], dtype=kind, **depthwise)
    resampler = PerceiverResampler(
      **sizes["resampler"],
      width=sizes["decoder"]["width"],
      transposed=not stacked,
      dtype=kind,
    )
    decoder = Decoder(
      sizes["vocab_size"],
      sizes["num_bins"],
      **sizes["decoder"],
      dtype=kind,
      loss_chunk=loss_chunk,
      **depthwise,
    )
    if sizes.get("text_only"):
      vision = resampler = None
    return Kosmos2(vision, resampler, decoder)
  except TypeError as error:
    raise ValueError(f"model sizes have a wrong field: {error}") from error
