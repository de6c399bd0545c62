"""Logits of `transformers` itself, to hold ours against.

Asks for `transformers` only when it is called: it is no dependency, and beside
this only `benchmarks.systems` asks for it.
"""

import importlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

_PAD_ID = 1


class Case(NamedTuple):
  """Random input of one kind.

  Attributes:
    name: the kind.
    tokens: ids; 1 fills rows that are shorter.
    image_mask: slots of image latents.
    images: normalised; M may be 0.
  """

  name: str
  tokens: Int[np.ndarray, "B T"]
  image_mask: Bool[np.ndarray, "B T"]
  images: Float[np.ndarray, "B M height width 3"]

  @property
  def real(self) -> Bool[np.ndarray, "B T"]:
    """True where there is no padding."""
    return self.tokens != _PAD_ID


def missing() -> str:
  """What would have to be installed for `logits`; "" if nothing."""
  names = []
  for name in ("torch", "transformers"):
    try:
      importlib.import_module(name)
    except ImportError:
      names.append(name)
  return " ".join(names)


def logits(
  folder: Path, cases: Sequence[Case], dtypes: Sequence[str]
) -> Iterator[list[np.ndarray]]:
  """Runs a Hugging Face folder in float32 on the CPU.

  Args:
    folder: its weights must be safetensors, which hold no code.
    cases: what goes in.
    dtypes: the weights are rounded to each of these types, one after the
      other, and kept as float32.

  Yields:
    For each type the logits of every case, float32 [B, T, V].

  Raises:
    ImportError: see `missing`.
  """
  import torch
  import transformers

  bars = transformers.utils.logging
  shown = bars.is_progress_bar_enabled()
  bars.disable_progress_bar()
  try:
    # Their deprecations are their own affair.
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      model = transformers.Kosmos2ForConditionalGeneration.from_pretrained(
        folder.absolute(),
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
      ).eval()
  finally:
    if shown:
      bars.enable_progress_bar()
  for dtype in dtypes:
    with torch.no_grad(), warnings.catch_warnings():
      warnings.simplefilter("ignore")
      for value in model.parameters():
        value.copy_(value.to(getattr(torch, dtype)))
      found = [_run(torch, model, case) for case in cases]
    yield found


def _run(torch, model, case: Case) -> np.ndarray:
  inputs = {
    "input_ids": torch.tensor(case.tokens, dtype=torch.long),
    "attention_mask": torch.tensor(case.real, dtype=torch.long),
  }
  if not case.images.shape[1]:
    return model.text_model(**inputs).logits.numpy()
  pixels = case.images.reshape(-1, *case.images.shape[2:])
  return model(
    **inputs,
    pixel_values=torch.tensor(pixels.transpose(0, 3, 1, 2)),
    image_embeds_position_mask=torch.tensor(case.image_mask),
  ).logits.numpy()
