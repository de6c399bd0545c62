"""Weights in safetensors files, read and written array by array."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from kosmos2_jax.convert import transfer

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
DTYPES = ("float32", "float16", "bfloat16")
_DTYPE_OF = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# Bytes of one weights file; the library's own limit.
MAX_SHARD_BYTES = 50 * 10**9


class SafetensorsFile:
  """The weights of one file; a `transfer.Source`.

  Args:
    path: the file.

  Raises:
    ValueError: for a file that is truncated or no safetensors file.
  """

  def __init__(self, path: Path):
    self._path = path
    with _open(path) as opened:
      self._names = tuple(opened.keys())

  def names(self) -> Iterable[str]:
    """All names there are."""
    return self._names

  def read(self, name: str) -> np.ndarray:
    """One array, copied; the file is closed again, so no pages of it stay."""
    with _open(self._path) as opened:
      return np.array(opened.get_tensor(name))

  def types(self) -> set[str]:
    """The types of its arrays, as the format calls them."""
    with _open(self._path) as opened:
      names = opened.keys()
      return {opened.get_slice(name).get_dtype() for name in names}


class SafetensorsFolder:
  """The weights of a folder; a `transfer.Source`.

  Args:
    folder: with `model.safetensors`, or an index and the files it names.

  Raises:
    FileNotFoundError: when there are no such files.
    ValueError: for a file that is truncated or no safetensors file, or an
      index that disagrees with its files.
  """

  def __init__(self, folder: Path):
    self._folder = folder
    self._file_of: dict[str, SafetensorsFile] = {}
    index = folder / INDEX_FILE
    if index.is_file():
      weight_map = read_json(index).get("weight_map", {})
      files = sorted({folder / Path(name).name for name in weight_map.values()})
    elif (folder / WEIGHTS_FILE).is_file():
      weight_map, files = {}, [folder / WEIGHTS_FILE]
    else:
      raise FileNotFoundError(
        f"{str(folder)!r} has neither {WEIGHTS_FILE} nor {INDEX_FILE}"
      )
    for file in files:
      if not file.is_file():
        raise FileNotFoundError(
          f"{str(file)!r}, which {INDEX_FILE} names, is not there"
        )
      opened = SafetensorsFile(file)
      self._file_of |= dict.fromkeys(opened.names(), opened)
    if weight_map and set(weight_map) != set(self._file_of):
      wrong = sorted(set(weight_map) ^ set(self._file_of))
      raise ValueError(
        f"{str(index)!r} and its files disagree about {len(wrong)} weights,"
        f" first {wrong[0]}; the download may be incomplete"
      )

  def names(self) -> Iterable[str]:
    """All names there are."""
    return self._file_of

  def read(self, name: str) -> np.ndarray:
    """One array, see `SafetensorsFile.read`."""
    return self._file_of[name].read(name)

  def dtype(self) -> str:
    """The type that all weights have in the file, one of `DTYPES`.

    Raises:
      ValueError: for weights of several types, or of another one.
    """
    found = set()
    for file in set(self._file_of.values()):
      found |= file.types()
    found = {name for name in found if "F" in name}  # indices are no weights
    if len(found) != 1 or not found <= set(_DTYPE_OF):
      raise ValueError(
        f"expected weights of one type, {', '.join(_DTYPE_OF)}; found"
        f" {', '.join(sorted(found))} in {str(self._folder)!r}"
      )
    return _DTYPE_OF[found.pop()]


def write(
  folder: Path,
  params: dict[str, Any],
  vocab_size: int,
  *,
  dtype: str = "float32",
  max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
  """Writes the weights and consumes the parameters.

  Args:
    folder: exists.
    params: nested; taken apart while they are written, see `transfer.export`.
    vocab_size: rows of the embedding that are no padding.
    dtype: of the arrays in the file.
    max_shard_bytes: a file that would be larger becomes several and an index.

  Raises:
    ValueError: for another dtype, or parameters without a counterpart.
  """
  if dtype not in DTYPES:
    raise ValueError(f"dtype is one of {DTYPES}; found {dtype!r}")
  kind = np.dtype(_numpy_type(dtype))
  shards: list[dict[str, np.ndarray]] = [{}]
  size = total = 0
  for name, array in transfer.export(params, vocab_size, "huggingface"):
    array = array.astype(kind, copy=False)
    if shards[-1] and size + array.nbytes > max_shard_bytes:
      shards.append({})
      size = 0
    shards[-1][name] = array
    size += array.nbytes
    total += array.nbytes
  if len(shards) == 1:
    save_file(shards[0], folder / WEIGHTS_FILE, metadata={"format": "pt"})
    return
  weight_map = {}
  for i, shard in enumerate(shards, start=1):
    name = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
    save_file(shard, folder / name, metadata={"format": "pt"})
    weight_map |= dict.fromkeys(shard, name)
  index = {
    "metadata": {"total_size": total},
    "weight_map": dict(sorted(weight_map.items())),
  }
  (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n")


def _open(file: Path) -> safe_open:
  try:
    return safe_open(file, "numpy")
  except SafetensorError as error:
    raise ValueError(
      f"{str(file)!r} is no complete safetensors file ({error}); download it"
      " again"
    ) from error


def read_json(path: Path | epath.Path) -> dict[str, Any]:
  """The object in a JSON file; ValueError if there is none."""
  try:
    content = json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(f"{str(path)!r} is no JSON: {error}") from error
  if not isinstance(content, dict):
    raise ValueError(f"{str(path)!r} holds no JSON object")
  return content


def _numpy_type(name: str) -> Any:
  if name != "bfloat16":
    return name
  import ml_dtypes

  return ml_dtypes.bfloat16
