"""The original's checkpoint, `kosmos-2.pt`, read without running it.

A `.pt` file is a pickle: read carelessly, it runs what its author wrote. Here
torch's restricted reader does it, which builds tensors and plain containers.
fairseq also pickled its configuration, objects of classes that need not be
installed: each becomes an empty shell, and only the weights are looked at.
"""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


class TorchFile:
  """The weights of a `.pt` file; a `transfer.Source`.

  Tensors stay on disk (memory-mapped) until they are read.

  Args:
    path: the file.

  Raises:
    FileNotFoundError: when there is no such file.
    ModuleNotFoundError: when torch is not installed.
    ValueError: for a file that is no such checkpoint.
  """

  def __init__(self, path: Path):
    if not path.is_file():
      raise FileNotFoundError(f"there is no file {str(path)!r}")
    content = _load(path)
    weights = content.get("model", content)
    if not isinstance(weights, Mapping) or not all(
      isinstance(name, str) and hasattr(value, "numpy")
      for name, value in weights.items()
    ):
      raise ValueError(
        f"{str(path)!r} holds no weights; expected a dict of tensors, or one"
        f" under 'model', found keys {sorted(map(str, content))[:10]}"
      )
    self._weights = dict(weights)

  def names(self) -> Iterable[str]:
    """All names there are."""
    return self._weights

  def read(self, name: str) -> np.ndarray:
    """One tensor as float32, copied."""
    return np.array(self._weights[name].float().numpy())


def sizes_of(source: TorchFile, num_heads: int = 32) -> dict[str, Any]:
  """The sizes of the model, from the shapes of its weights.

  Heads leave no trace in the shapes: vision has 64 channels a head, as every
  CLIP, decoder and resampler `num_heads`.

  Raises:
    ValueError: when the weights are of another model.
  """

  def shape(name):
    if name not in source.names():
      raise ValueError(f"there is no {name!r}; this is no kosmos-2.pt")
    return source.read(name).shape

  def depth(prefix):
    numbers = {
      int(name[len(prefix) :].split(".")[0])
      for name in source.names()
      if name.startswith(prefix)
    }
    return len(numbers)

  decoder, visual = "gpt_model.decoder.", "img_model.visual."
  vocab_size, width = shape(decoder + "embed_tokens.weight")
  vision_width, _, patch_size, _ = shape(visual + "conv1.weight")
  patches = shape(visual + "positional_embedding")[0] - 1
  return {
    "vocab_size": vocab_size,
    "num_bins": 32,
    "vision": {
      "image_size": round(patches**0.5) * patch_size,
      "patch_size": patch_size,
      "width": vision_width,
      "depth": depth(visual + "transformer.resblocks."),
      "mlp_dim": shape(visual + "transformer.resblocks.0.mlp.c_fc.bias")[0],
      "num_heads": max(vision_width // 64, 1),
    },
    "resampler": {
      "num_latents": shape("img_connector.latent_query")[0],
      "num_heads": num_heads,
      "dropout_rate": 0.1,
    },
    "decoder": {
      "width": width,
      "depth": depth(decoder + "layers."),
      "mlp_dim": shape(decoder + "layers.0.ffn.fc1.bias")[0],
      "num_heads": num_heads,
      "dropout_rate": 0.1,
    },
  }


def _load(path: Path) -> Mapping[str, Any]:
  try:
    import torch
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      f"{str(path)!r} is a PyTorch file, and torch is not installed: install"
      " it, or convert a Hugging Face folder, which needs no torch"
    ) from error
  serialization = torch.serialization
  try:
    unknown = serialization.get_unsafe_globals_in_checkpoint(path)
    shells = [(_shell(name), name) for name in unknown]
    with serialization.safe_globals(shells):
      content = torch.load(
        path, map_location="cpu", weights_only=True, mmap=True
      )
  except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
    reason = str(error).split("\n")[0]
    raise ValueError(
      f"{str(path)!r} cannot be read as weights only: {reason}"
    ) from error
  if not isinstance(content, Mapping):
    raise ValueError(
      f"{str(path)!r} holds a {type(content).__name__}; expected a dict"
    )
  return content


def _shell(name: str) -> type:
  """A class that takes any arguments and does nothing with them."""

  def ignore(self, *args, **kwargs):
    del self, args, kwargs

  return type(
    name.rpartition(".")[2],
    (),
    {"__init__": ignore, "__setstate__": ignore, "__doc__": name},
  )
