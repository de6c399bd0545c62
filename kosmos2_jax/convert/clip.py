"""A CLIP's vision encoder, with which training can start.

Read are OpenAI's and open_clip's weights (`.pt`, `.bin`, `.pth` or
`.safetensors`) and Hugging Face's folders (`CLIPModel`, `CLIPVisionModel`,
`CLIPVisionModelWithProjection`). The text tower and the projection head have
no place here and are left out. The encoder computes QuickGELU, as OpenAI's
models do. A Hugging Face folder says what its model computes; a plain file
does not, so of open_clip's files only those called "quickgelu" fit.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kosmos2_jax.convert import fairseq, huggingface, transfer, weights
from kosmos2_jax.convert.mapping import CLIP_DROPPED
from kosmos2_jax.models.vision import VisionEncoder

KINDS = (
  "weights of OpenAI's or open_clip's CLIP (.pt, .bin, .pth, .safetensors), or"
  " a Hugging Face folder of CLIP"
)
MODEL_TYPES = ("clip", "clip_vision_model")
TORCH_SUFFIXES = (".pt", ".bin", ".pth")
# What `transformers` takes where config.json says nothing.
_DEFAULTS = {
  "image_size": 224,
  "patch_size": 32,
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "intermediate_size": 3072,
  "num_attention_heads": 12,
}


def load(
  path: Path, vision_sizes: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
  """Reads the vision encoder of a CLIP, one array at a time.

  Args:
    path: one of `KINDS`.
    vision_sizes: of our encoder, the section `vision` of `models.presets`.

  Returns:
    The parameters of `models.vision.VisionEncoder` as float32 arrays, and one
    line for each group of arrays that was left out on purpose.

  Raises:
    FileNotFoundError: when there is nothing, or a part of it is missing.
    ModuleNotFoundError: for a PyTorch file when torch is not installed.
    ValueError: for anything that is no CLIP, or one of other sizes; and
      listing every array that is missing, unknown or of another shape.
  """
  source, system, found = _open(path)
  _check_sizes(path, found, vision_sizes)
  size = vision_sizes["image_size"]
  encoder = VisionEncoder(**vision_sizes)
  abstract = jax.eval_shape(
    lambda: encoder.init(jax.random.key(0), jnp.zeros((1, size, size, 3)))
  )
  vision = _VisionSource(source)
  try:
    params, _ = transfer.load(vision, {"vision": abstract["params"]}, 0, system)
  except ValueError as error:
    raise ValueError(f"{str(path)!r}: {error}") from error
  return params["vision"], vision.dropped


def start_from(
  path: str, sizes: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
  """What a fresh run takes from a CLIP.

  Args:
    path: one of `KINDS`, or "" for nothing.
    sizes: of the model, see `models.presets`.
    say: is told, line by line, what was read and what was left out.

  Returns:
    `known` of `training.state.init_state`: the parameters under `vision`, or
    nothing.

  Raises:
    FileNotFoundError, ModuleNotFoundError, ValueError: see `load`.
  """
  if not path:
    return {}
  vision, dropped = load(Path(path), sizes["vision"])
  say(f"the vision encoder starts from {path}")
  for line in dropped:
    say(f"left out of it: {line}")
  return {"vision": vision}


class _VisionSource:
  """The arrays of the vision encoder alone, fused ones in thirds.

  Attributes:
    dropped: one line for each reason why others are left out.
  """

  def __init__(self, source: transfer.Source):
    self._source = source
    names = sorted(source.names())
    self.dropped = []
    for why, beginnings in CLIP_DROPPED.items():
      found = [name for name in names if name.startswith(beginnings)]
      names = [name for name in names if name not in set(found)]
      if found:
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        self.dropped.append(f"{found[0]}{others}: {why}")
    self._names = [part for name in names for part in _parts(name)]

  def names(self) -> Iterable[str]:
    """As in the columns of `mapping.TABLE`."""
    return self._names

  def read(self, name: str) -> np.ndarray:
    """One array, or the third of one: queries, keys, values."""
    if not name.endswith("]"):
      return self._source.read(name)
    fused = self._source.read(name[:-3])
    # Where the length is no multiple of three, some part has a wrong shape.
    return np.array_split(fused, 3)["qkv".index(name[-2])]


def _parts(name: str) -> list[str]:
  if name.endswith((".in_proj_weight", ".in_proj_bias")):
    return [f"{name}[{part}]" for part in "qkv"]
  return [name]


def _open(path: Path) -> tuple[transfer.Source, str, dict[str, Any]]:
  """The arrays, the column of `mapping.TABLE` for them, and the sizes."""
  if path.is_dir():
    sizes = _folder_sizes(path)
    source = weights.SafetensorsFolder(path)
    whole = any(name.startswith("vision_model.") for name in source.names())
    return source, "clip" if whole else "clip_vision", sizes
  if not path.is_file():
    raise FileNotFoundError(f"there is no {str(path)!r}; give {KINDS}")
  if path.suffix in TORCH_SUFFIXES:
    source = fairseq.TorchFile(path)
  elif path.suffix == ".safetensors":
    source = weights.SafetensorsFile(path)
  else:
    raise ValueError(f"{str(path)!r} is of no known kind; give {KINDS}")
  what = (
    "CLIP transformer of OpenAI or open_clip (of a Hugging Face CLIP give the"
    " folder)"
  )
  try:
    return source, "openai", fairseq.vision_sizes(source, "visual.", what)
  except ValueError as error:
    raise ValueError(f"{str(path)!r}: {error}") from error


def _folder_sizes(folder: Path) -> dict[str, Any]:
  path = folder / huggingface.CONFIG_FILE
  if not path.is_file():
    raise FileNotFoundError(
      f"{str(folder)!r} has no {huggingface.CONFIG_FILE}; give {KINDS}"
    )
  config = weights.read_json(path)
  if config.get("model_type") not in MODEL_TYPES:
    raise ValueError(
      f"{str(path)!r} is of model type {config.get('model_type')!r}; expected"
      f" one of {MODEL_TYPES}"
    )
  if config["model_type"] == "clip":
    # Early files have a second section, which then is the one that holds.
    sections = [config.get(n) for n in ("vision_config", "vision_config_dict")]
  else:
    sections = [config]
  section = dict(_DEFAULTS)
  for found in sections:
    section |= found or {}
  return huggingface.vision_sizes(path, section)


def _check_sizes(
  path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
  found = {**found, "stem": "patch"}
  wanted = {"stem": "patch", **wanted}
  wrong = [name for name in found if found[name] != wanted[name]]
  if wrong:
    differences = ", ".join(
      f"{name} {found[name]} and not {wanted[name]}" for name in wrong
    )
    flags = " ".join(
      f"--config.model.vision.{name}={found[name]}" for name in wrong
    )
    raise ValueError(
      f"the vision encoder of {str(path)!r} has {differences} as the model:"
      f" set {flags}, or give another CLIP"
    )
