"""Opens a checkpoint of any kind that this project knows."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
from etils import epath

from kosmos2_jax.convert import (
  fairseq,
  huggingface,
  processor,
  transfer,
  weights,
)
from kosmos2_jax.models import presets, stacking
from kosmos2_jax.models.kosmos2 import Kosmos2
from kosmos2_jax.text.tokenizer import MODEL_FILE, Tokenizer
from kosmos2_jax.training import checkpoint, saved_params, state, workdir

KINDS = (
  "a workdir that train.py wrote, a Hugging Face folder of Kosmos-2, or the"
  " original's kosmos-2.pt"
)
AnyPath = Path | epath.Path
TORCH_SUFFIXES = (".pt", ".pth", ".bin")


class Checkpoint(NamedTuple):
  """A model, its weights and its tokenizer.

  Attributes:
    model: the flax module.
    sizes: what it was built from, see `models.presets`.
    params: nested; numpy arrays or arrays on the first device.
    tokenizer: the one it was trained with.
    step: the training step, where known.
    no_repeat_ngram_size: the decoding default that came with it.
    dropped: one line for each array of a foreign file that is not needed.
  """

  model: Kosmos2
  sizes: dict[str, Any]
  params: dict[str, Any]
  tokenizer: Tokenizer
  step: int | None = None
  no_repeat_ngram_size: int = 0
  dropped: tuple[str, ...] = ()


def load(
  path: str | os.PathLike,
  dtype: str | None = None,
  *,
  stacked: bool = True,
  use_ema: bool = True,
) -> Checkpoint:
  """Reads a checkpoint.

  Args:
    path: one of `KINDS`; a workdir may be anywhere that epath opens.
    dtype: compute type of the model; by default a workdir's own, else float32.
    stacked: how the model holds its layers, see `models.stacking`.
    use_ema: takes a workdir's averaged parameters, where it has them.

  Raises:
    FileNotFoundError: when there is nothing, or a part of it is missing.
    ValueError: for anything that is no such checkpoint, or whose weights are
      not those of the model it describes.
  """
  path = _open(path)
  if not isinstance(path, Path):
    return _workdir(path, dtype, stacked, use_ema)
  if path.is_file() and path.suffix in TORCH_SUFFIXES:
    return _fairseq(path, dtype or "float32", stacked)
  if not path.is_dir():
    raise FileNotFoundError(f"there is no {str(path)!r}; give {KINDS}")
  if huggingface.is_folder(path):
    return _huggingface(path, dtype or "float32", stacked)
  return _workdir(path, dtype, stacked, use_ema)


def describe(path: str | os.PathLike) -> tuple[dict[str, Any], Tokenizer]:
  """Sizes and tokenizer of a checkpoint, without its weights.

  Raises: as `load`.
  """
  path = _open(path)
  if not isinstance(path, Path):
    _check_workdir(path)
    sizes, _, tokenizer = read_workdir(path)
    return sizes, tokenizer
  if path.is_file() and path.suffix in TORCH_SUFFIXES:
    sizes = fairseq.sizes_of(fairseq.TorchFile(path))
    return sizes, Tokenizer.from_file(
      path.parent / MODEL_FILE, sizes["num_bins"]
    )
  if not path.is_dir():
    raise FileNotFoundError(f"there is no {str(path)!r}; give {KINDS}")
  if huggingface.is_folder(path):
    tokenizer = processor.read(path)
    return huggingface.read_sizes(path, tokenizer.vocab.num_bins), tokenizer
  _check_workdir(path)
  sizes, _, tokenizer = read_workdir(path)
  return sizes, tokenizer


def read_workdir(folder: AnyPath) -> tuple[dict[str, Any], str, Tokenizer]:
  """Sizes, compute type and tokenizer of a run, which may not have begun.

  Raises:
    ValueError: for a description that is none.
    OSError: when a part of it is missing.
  """
  file = folder / workdir.MODEL_FILE
  description = json.loads(file.read_text())
  if not {"sizes", "dtype"} <= set(description):
    raise ValueError(
      f"{str(file)!r} should say 'sizes' and 'dtype' of the model; it has"
      f" {sorted(description)}."
    )
  sizes = description["sizes"]
  model_bytes = (folder / MODEL_FILE).read_bytes()
  tokenizer = Tokenizer.from_bytes(model_bytes, sizes["num_bins"])
  return sizes, description["dtype"], tokenizer


def folder_of(path: str | os.PathLike) -> AnyPath:
  """The folder of a checkpoint: itself, or the one that its file is in."""
  folder = _open(path)
  return folder.parent if folder.is_file() else folder


def _open(path: str | os.PathLike) -> AnyPath:
  """The path; one of this machine is a plain one, for foreign libraries."""
  return epath.Path(path) if "://" in os.fspath(path) else Path(path)


def to_device(params: dict[str, Any]) -> dict[str, Any]:
  """Moves parameters to the first device, one after the other.

  Changes the tree itself, so that no array is kept in both places.
  """
  for name, value in params.items():
    is_tree = isinstance(value, dict)
    params[name] = to_device(value) if is_tree else jax.device_put(value)
  return params


def _workdir(
  folder: AnyPath, dtype: str | None, stacked: bool, use_ema: bool
) -> Checkpoint:
  _check_workdir(folder)
  sizes, own_dtype, tokenizer = read_workdir(folder)
  model = presets.build(sizes, dtype=dtype or own_dtype)
  params, step = saved_params.restore(folder, model, use_ema=use_ema)
  if not stacked:
    model = presets.build(sizes, dtype=dtype or own_dtype, stacked=False)
    params = stacking.separate(params)
  # Converted checkpoints keep the default they came with.
  ngram_size = huggingface.ngram_size(folder)
  return Checkpoint(model, sizes, params, tokenizer, step, ngram_size)


def _check_workdir(folder: AnyPath) -> None:
  for name in (workdir.MODEL_FILE, MODEL_FILE, checkpoint.FOLDER):
    if not (folder / name).exists():
      raise FileNotFoundError(
        f"{str(folder)!r} is not a workdir of train.py: it has no {name!r};"
        f" give {KINDS}"
      )


def _huggingface(folder: Path, dtype: str, stacked: bool) -> Checkpoint:
  tokenizer = processor.read(folder)
  sizes = huggingface.read_sizes(folder, tokenizer.vocab.num_bins)
  source = weights.SafetensorsFolder(folder)
  loaded = _foreign(source, sizes, tokenizer, dtype, "huggingface", stacked)
  return loaded._replace(no_repeat_ngram_size=huggingface.ngram_size(folder))


def _fairseq(path: Path, dtype: str, stacked: bool) -> Checkpoint:
  source = fairseq.TorchFile(path)
  sizes = fairseq.sizes_of(source)
  tokenizer = Tokenizer.from_file(path.parent / MODEL_FILE, sizes["num_bins"])
  # The original's decoder has that rule built in.
  loaded = _foreign(source, sizes, tokenizer, dtype, "fairseq", stacked)
  return loaded._replace(no_repeat_ngram_size=3)


def _foreign(source, sizes, tokenizer, dtype, system, stacked):
  model = presets.build(sizes, dtype=dtype, stacked=stacked)
  params, dropped = transfer.load(
    source,
    jax.eval_shape(lambda: state.init_params(model, jax.random.key(0))),
    sizes["vocab_size"],
    system,
  )
  return Checkpoint(model, sizes, params, tokenizer, dropped=tuple(dropped))
