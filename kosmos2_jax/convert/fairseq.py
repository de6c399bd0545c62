"""The original's checkpoint, `kosmos-2.pt`, read without running it.

A `.pt` file is a pickle: read carelessly, it runs what its author wrote. Here
torch's restricted reader does it, which builds tensors and plain containers.
fairseq also pickled its configuration, objects of classes that need not be
installed: each becomes an empty shell, and only the weights are looked at.
"""

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kosmos2_jax.convert.transfer import Source


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

  Heads leave no trace in the shapes: those of vision are as every CLIP's of its
  width, decoder and resampler have `num_heads`.

  Raises:
    ValueError: when the weights are of another model.
  """

  def shape(name):
    return _shape(source, name, "kosmos-2.pt")

  decoder = "gpt_model.decoder."
  vocab_size, width = shape(decoder + "embed_tokens.weight")
  return {
    "vocab_size": vocab_size,
    "num_bins": 32,
    "vision": vision_sizes(source, "img_model.visual.", "kosmos-2.pt"),
    "resampler": {
      "num_latents": shape("img_connector.latent_query")[0],
      "num_heads": num_heads,
      "dropout_rate": 0.1,
    },
    "decoder": {
      "width": width,
      "depth": _depth(source, decoder + "layers."),
      "mlp_dim": shape(decoder + "layers.0.ffn.fc1.bias")[0],
      "num_heads": num_heads,
      "dropout_rate": 0.1,
    },
  }


def vision_sizes(source: Source, prefix: str, what: str) -> dict[str, Any]:
  """The sizes of a CLIP's vision encoder, from the shapes of its weights.

  Args:
    source: the file.
    prefix: of the names of the encoder's arrays, as OpenAI calls them.
    what: the file should be, for messages.

  Raises:
    ValueError: when there is no such encoder.
  """
  layers = prefix + "transformer.resblocks."
  width, _, patch_size, _ = _shape(source, prefix + "conv1.weight", what)
  positions, _ = _shape(source, prefix + "positional_embedding", what)
  return {
    "image_size": round((positions - 1) ** 0.5) * patch_size,
    "patch_size": patch_size,
    "width": width,
    "depth": _depth(source, layers),
    "mlp_dim": _shape(source, layers + "0.mlp.c_fc.bias", what)[0],
    "num_heads": _NUM_HEADS.get(width, max(width // 64, 1)),
  }


# open_clip's ViT-H, g and bigG: the only ones whose heads have not 64 channels.
_NUM_HEADS = {1280: 16, 1408: 16, 1664: 16}


def _shape(source: Source, name: str, what: str) -> tuple[int, ...]:
  if name not in source.names():
    raise ValueError(f"there is no {name!r}; this is no {what}")
  return source.read(name).shape


def _depth(source: Source, prefix: str) -> int:
  numbers = {
    name[len(prefix) :].split(".")[0]
    for name in source.names()
    if name.startswith(prefix)
  }
  return len(numbers)


def _load(path: Path) -> Mapping[str, Any]:
  try:
    import torch
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      f"{str(path)!r} is a PyTorch file, and torch is not installed: install"
      " it, or convert a Hugging Face folder, which needs no torch"
    ) from error
  if _is_program(path):
    raise ValueError(
      f"{str(path)!r} is a TorchScript archive, a program with its weights, and"
      " no program from a file is run here; where you trust it, save the"
      " weights alone: torch.save(torch.jit.load('in.pt', 'cpu').state_dict(),"
      " 'weights.pt')"
    )
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


def _is_program(path: Path) -> bool:
  if not zipfile.is_zipfile(path):
    return False
  with zipfile.ZipFile(path) as archive:
    # Only TorchScript has constants beside the pickle.
    return any(n.endswith("/constants.pkl") for n in archive.namelist())


def _shell(name: str) -> type:
  """A class that takes any arguments and does nothing with them."""

  def ignore(self, *args, **kwargs):
    del self, args, kwargs

  return type(
    name.rpartition(".")[2],
    (),
    {"__init__": ignore, "__setstate__": ignore, "__doc__": name},
  )
