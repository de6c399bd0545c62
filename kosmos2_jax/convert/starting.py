"""What a run starts with: random numbers, a CLIP's encoder, or a checkpoint."""

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import numpy as np
from etils import epath

from kosmos2_jax.convert import clip, loading, resizing
from kosmos2_jax.convert.resizing import Resize
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import workdir


class Start:
  """Sizes, tokenizer and parameters of a run before its first step.

  With `init_from`, sizes and tokenizer are the checkpoint's, resized. Once a
  run is described in its folder they are those of the folder, so that it goes
  on where the checkpoint it began with is gone.

  Attributes:
    sizes: of the model, see `models.presets`.
    tokenizer: what the model is trained with.
  """

  # Arguments that a config has under these names.
  FIELDS: ClassVar = ("init_from", "vision_from", "resize")

  def __init__(
    self,
    sizes: Mapping[str, Any],
    tokenizer: str,
    *,
    init_from: str = "",
    vision_from: str = "",
    resize: Any = None,
    folder: str | os.PathLike | None = None,
  ):
    """Reads sizes and tokenizer; weights are read by `parameters`.

    Args:
      sizes: of the config, used without `init_from`; a `vocab_size` of 0 is
        the tokenizer's.
      tokenizer: of the config, used without `init_from`.
      init_from: one of `loading.KINDS`, or "".
      vision_from: one of `clip.KINDS`, or "".
      resize: a mapping of fields of `Resize`; with `init_from` alone.
      folder: the workdir, if there is one.

    Raises:
      FileNotFoundError, ValueError: no such checkpoint or tokenizer; or both
        `init_from` and `vision_from`.
    """
    if init_from and vision_from:
      raise ValueError(
        "config.init_from is a whole model and config.vision_from its vision"
        f" encoder; expected one of them, found {init_from!r} and"
        f" {vision_from!r}: leave one empty"
      )
    resize = dict(resize or {})
    self._resize = Resize(**{**resize, "words": tuple(resize.get("words", ()))})
    if self._resize != Resize() and not init_from:
      raise ValueError(
        "config.resize is of the checkpoint that config.init_from names, and"
        " that is empty: set config.model and config.data.tokenizer instead"
      )
    self._init_from = init_from
    self._vision_from = vision_from
    if init_from:
      folder = None if folder is None else epath.Path(folder)
      began = folder is not None and (folder / workdir.MODEL_FILE).exists()
      if began:
        self.sizes, _, self.tokenizer = loading.read_workdir(folder)
      else:
        self.sizes, self.tokenizer = resizing.describe(
          *loading.describe(init_from), self._resize
        )
    else:
      self.tokenizer = Tokenizer.load(tokenizer, sizes["num_bins"])
      vocab_size = sizes["vocab_size"] or self.tokenizer.vocab.size
      self.sizes = {**sizes, "vocab_size": vocab_size}

  def parameters(self, say: Callable[[str], None]) -> dict[str, Any]:
    """What is known of the parameters: numpy arrays by part of the model.

    Args:
      say: is told, line by line, what was read and what was left out.

    Raises:
      FileNotFoundError, ModuleNotFoundError, ValueError: see `loading.load`
        and `clip.load`; or the checkpoint is of another model than the folder.
    """
    if not self._init_from:
      return clip.start_from(self._vision_from, self.sizes, say)
    loaded = loading.load(self._init_from)
    old = loaded.sizes, loaded.tokenizer
    new = resizing.describe(*old, self._resize)
    if new[0] != self.sizes:
      raise ValueError(
        f"expected a model of the sizes in the workdir's {workdir.MODEL_FILE}"
        f" in {self._init_from!r}, found others: start in another --workdir"
      )
    step = "" if loaded.step is None else f", step {loaded.step}"
    say(
      f"the model starts from {self._init_from}{step}: weights, sizes and"
      " tokenizer are its own, not those of config.model and config.data"
    )
    for line in loaded.dropped:
      say(f"left out of it: {line}")
    params = jax.tree.map(np.asarray, dict(loaded.params))
    if self._resize == Resize():
      return params
    for name, was, now in _changes(old, new):
      say(f"resized: {name} {was} -> {now}")
    return resizing.parameters(params, old, new)


def _changes(old, new):
  """What is resized: its name, and the numbers before and now."""
  for name, size in (
    ("image_size", lambda sizes: sizes["vision"]["image_size"]),
    ("num_bins", lambda sizes: sizes["num_bins"]),
    ("vocab_size", lambda sizes: sizes["vocab_size"]),
  ):
    if size(old[0]) != size(new[0]):
      yield name, size(old[0]), size(new[0])
