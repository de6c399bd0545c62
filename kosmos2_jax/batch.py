"""The Batch: what the input hands to the model, as a plain dict of arrays.

Dims used in shapes and jaxtyping annotations everywhere in this project:

  B  batch                  P  patches of an image     N  heads
  M  images per row         L  latents per image       H  head dim
  T  query tokens           S  key/value tokens        D  decoder width
  E  vision width           F  MLP width               V  vocabulary

A batch has exactly these keys:

  tokens         int32    [B, T]   token ids the model reads
  targets        int32    [B, T]   the token that follows each one
  loss_mask      bool     [B, T]   True: this target counts
  image_mask     bool     [B, T]   True: slot filled by an image latent
  segment_ids    int32    [B, T]   0: padding, 1..: number of the segment
  positions      int32    [B, T]   0-based inside the segment, 0 on padding
  kinds          int32    [B, T]   0: padding, 1..: number of the data kind
  images         float32  [B, M, height, width, 3]   normalised pixels
  example_index  int64    [B]      number of the row in the whole stream

The True slots of a row's `image_mask` are filled in order: slot k of row b
gets `latents[b].reshape(M * L, D)[k]`. A row with fewer pictures than M has
zeros behind them, and so does a row without any. An example is one segment of
one row; a row without segments is all padding.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

Batch = dict[str, np.ndarray]

_DTYPES = {
  "tokens": "int32",
  "targets": "int32",
  "loss_mask": "bool",
  "image_mask": "bool",
  "segment_ids": "int32",
  "positions": "int32",
  "kinds": "int32",
  "images": "float32",
  "example_index": "int64",
}

BATCH_KEYS = tuple(_DTYPES)

# "Normalised" pixels are (pixel / 255 - mean) / stddev: the mean and standard
# deviation of CLIP's training pictures, by channel.
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STDDEV = (0.26862954, 0.26130258, 0.27577711)


def batch_spec(
  batch_size: int,
  seq_len: int,
  *,
  num_images: int,
  image_size: int,
) -> dict[str, tuple[tuple[int, ...], str]]:
  """Shape and dtype of every array of a batch, by key."""
  row = (batch_size, seq_len)
  shapes = dict.fromkeys(BATCH_KEYS, row)
  shapes["images"] = (batch_size, num_images, image_size, image_size, 3)
  shapes["example_index"] = (batch_size,)
  return {key: (shapes[key], _DTYPES[key]) for key in BATCH_KEYS}


def check_batch(batch: Mapping[str, Any]) -> None:
  """Raises ValueError when keys, dtypes or shapes are not those of a batch."""
  missing = sorted(set(BATCH_KEYS) - set(batch))
  unknown = sorted(set(batch) - set(BATCH_KEYS))
  if missing or unknown:
    raise ValueError(
      f"a batch has the keys {', '.join(BATCH_KEYS)}; "
      f"missing here: {missing or 'none'}, unknown: {unknown or 'none'}"
    )
  tokens_shape = tuple(batch["tokens"].shape)
  images_shape = tuple(batch["images"].shape)
  if len(tokens_shape) != 2:
    raise ValueError(f"batch['tokens'] is [B, T], found shape {tokens_shape}")
  for key, dtype in _DTYPES.items():
    array = batch[key]
    if str(array.dtype) != dtype:
      raise ValueError(f"batch[{key!r}] is {dtype}, found {array.dtype}")
    if key == "images":
      good = (
        len(images_shape) == 5
        and images_shape[0] == tokens_shape[0]
        and images_shape[-1] == 3
      )
      expected = f"[{tokens_shape[0]}, M, height, width, 3]"
    else:
      shape = tokens_shape[:1] if key == "example_index" else tokens_shape
      good = tuple(array.shape) == shape
      expected = str(list(shape))
    if not good:
      raise ValueError(
        f"batch[{key!r}] has shape {expected} beside tokens of shape "
        f"{list(tokens_shape)}, found {list(array.shape)}"
      )


def batch_hash(batch: Mapping[str, Any]) -> str:
  """SHA-256 (hex) over the keys, dtypes, shapes and bytes of a batch."""
  check_batch(batch)
  digest = hashlib.sha256()
  for key in BATCH_KEYS:
    array = np.ascontiguousarray(batch[key])
    digest.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def denormalize(
  images: Float32[np.ndarray, "*shape 3"],
) -> UInt8[np.ndarray, "*shape 3"]:
  """The pixels whose normalised values these are, for drawing."""
  scaled = np.asarray(images) * np.float32(IMAGE_STDDEV)
  pixels = (scaled + np.float32(IMAGE_MEAN)) * 255.0
  return np.clip(np.round(pixels), 0, 255).astype(np.uint8)
