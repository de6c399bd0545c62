"""What a training step computes, in floating-point operations, by formula."""

from collections.abc import Collection, Mapping
from typing import Any

PARTS = ("vision", "resampler", "decoder")


def train_flops(
  sizes: Mapping[str, Any],
  *,
  num_rows: int,
  seq_len: int,
  num_images: int,
  trained: Collection[str] = PARTS,
) -> float:
  """Model FLOPs of one training step, the numerator of an MFU.

  The convention, to be named with every MFU:

  * 6 for each weight of a matrix product and token: 2 forward, 4 backward.
    The tied embedding counts once, as the head, with the rows that the
    vocabulary has; looking tokens up is free. Biases, norms, activations,
    softmax and the optimizer are not counted.
  * Attention to `seq_len` tokens counts the causal half, whatever is packed
    into the row: 6 · T · D for a token and layer. The vision encoder and the
    resampler attend to everything, and count in full.
  * What is computed again in the backward pass (remat) is not counted.
  * Padding is computed, and counted: `num_rows`, `seq_len` and `num_images`
    are the shape of a batch. For the work that was of use, give the numbers
    of what was in it.
  * A part that is not trained costs its forward pass alone, unless something
    before it is trained: then 4 for each weight, as gradients pass through it.

  At the released sizes: 8.65 GFLOP for a text token in a row of 2,048, and
  0.485 TFLOP for a picture in the vision encoder (ViT-L/14, its first layer
  with it 0.486), plus 0.023 in the resampler.

  Args:
    sizes: of the model, see `presets.PRESETS`. Without `vision` and
      `resampler` it is the decoder alone.
    num_rows: rows of the global batch.
    seq_len: tokens T of a row.
    num_images: pictures that are encoded.
    trained: the parts, of `PARTS`, whose weights are updated.

  Raises:
    ValueError: for a part that there is not, or pictures without an encoder.
  """
  if unknown := sorted(set(trained) - set(PARTS)):
    raise ValueError(f"the model's parts are {PARTS}; found {unknown}.")
  if num_images and not sizes.get("vision"):
    raise ValueError(
      f"a model without vision encodes no pictures; found {num_images}."
    )
  total, upstream = 0.0, False
  for part in PARTS:
    if not sizes.get(part):
      continue
    count = num_rows * seq_len if part == "decoder" else num_images
    weights, attention = _forward(part, sizes, seq_len)
    own = part in trained
    # Forward; gradients of weights; gradients of what came in.
    passes = 1 + own + (own or upstream)
    # Attention has no weights: both of its products go back, or neither.
    both = 3 if own or upstream else 1
    total += count * (passes * weights + both * attention)
    upstream = upstream or own
  return total


def _forward(
  part: str, sizes: Mapping[str, Any], seq_len: int
) -> tuple[float, float]:
  """Forward FLOPs of a token (decoder) or picture: with weights, without."""
  decoder = sizes["decoder"]
  width = decoder["width"]
  if part == "decoder":
    weights = decoder["depth"] * _layer(width, decoder["mlp_dim"])
    weights += sizes["vocab_size"] * width
    # Two products with half of T keys each: 2 · 2 · T/2 · D.
    return 2.0 * weights, decoder["depth"] * 2.0 * seq_len * width
  vision = sizes["vision"]
  features, patch = vision["width"], vision["patch_size"]
  patches = (vision["image_size"] // patch) ** 2
  tokens = patches + 1  # and the class token
  if part == "vision":
    weights = tokens * vision["depth"] * _layer(features, vision["mlp_dim"])
    weights += patches * 3 * patch**2 * features
    attention = vision["depth"] * 4.0 * tokens**2 * features
    return 2.0 * weights, attention
  latents = sizes["resampler"]["num_latents"]
  # Queries and output of the latents; keys and values of patches and latents.
  products = 2 * latents + 2 * (tokens + latents)
  weights = tokens * features * width + products * width**2
  return 2.0 * weights, 4.0 * latents * (tokens + latents) * width


def _layer(width: int, mlp_dim: int) -> int:
  """Weights of a layer's six products."""
  return 4 * width**2 + 2 * width * mlp_dim
