"""What `tools.benchmark inference` measures, here and in Hugging Face's.

Both systems have the same weights and get the same ids, pixels and pictures,
in one process and by turns, so that a slow minute of the machine is slow for
both. Loading and memory are measured in a fresh process for each.
"""

import importlib
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from kosmos2_jax.generation import decode
from kosmos2_jax.generation.beams import BeamOptions
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text import prompts

NO_REPEAT_NGRAM_SIZE = 3  # the released default
TEXT_TOKENS = 12  # of a prompt
# `<object>`, two location tokens and `</object>`: what an answer takes.
BOX_TOKENS = 4
SYSTEMS = ("ours", "theirs")


class Result(NamedTuple):
  """One line of the table.

  Attributes:
    case: what was measured.
    unit: "s" (less is better) or "tokens/s", "GB".
    ours: medians.
    theirs: the same of Hugging Face's; None without it.
    ratio: median of how many times better ours is, repetition by repetition.
    ratios: that of each repetition.
    same_tokens: whether both said the same, where that was compared.
  """

  case: str
  unit: str
  ours: float
  theirs: float | None
  ratio: float | None
  ratios: list[float]
  same_tokens: bool | None = None


class Ours:
  """This project."""

  def __init__(self, checkpoint: Path, batch_size: int):
    self.predictor = Predictor.from_pretrained(
      checkpoint, batch_size=batch_size
    )
    self._encode = jax.jit(decode.encode, static_argnames="model")

  def encode(self, images: np.ndarray) -> None:
    """Latents of pictures [B, 1, height, width, 3]."""
    found = self._encode(
      self.predictor.model, self.predictor.params, jax.device_put(images)
    )
    jax.block_until_ready(found)

  def generate(
    self, row: dict[str, np.ndarray | None], new_tokens: int, num_beams: int
  ) -> np.ndarray:
    """New ids [B, new]; no answer ends early."""
    tokens = row["tokens"]
    output = decode.generate(
      self.predictor.model,
      self.predictor.params,
      *jax.device_put(
        (
          tokens,
          np.full(len(tokens), tokens.shape[1], np.int32),
          row["images"],
          row["image_mask"],
        )
      ),
      max_new_tokens=new_tokens,
      eos_id=self.predictor.tokenizer.vocab.eos_id,
      options=Options(
        min_new_tokens=new_tokens, no_repeat_ngram_size=NO_REPEAT_NGRAM_SIZE
      ),
      beam=BeamOptions(num_beams) if num_beams > 1 else None,
    )
    return np.asarray(output.tokens)

  def locate(self, pictures: Sequence[Any], expressions: Sequence[str]) -> None:
    """One box for each expression."""
    self.predictor.locate_batch(
      pictures, expressions, max_new_tokens=BOX_TOKENS - 1
    )


class Theirs:
  """`transformers`, as its documentation uses it."""

  def __init__(self, checkpoint: Path):
    import torch
    import transformers

    self.torch = torch
    self.model = transformers.Kosmos2ForConditionalGeneration.from_pretrained(
      checkpoint, dtype=torch.float32
    ).eval()
    self.processor = transformers.AutoProcessor.from_pretrained(checkpoint)

  def encode(self, images: np.ndarray) -> None:
    """Latents of pictures [B, 1, height, width, 3]."""
    vision = self.model.vision_model
    with self.torch.inference_mode():
      features = vision(pixel_values=self._pixels(images)).last_hidden_state
      features = vision.model.post_layernorm(features)
      features = self.torch.nn.functional.normalize(features, dim=-1)
      self.model.image_to_text_projection(features)

  def generate(
    self, row: dict[str, np.ndarray | None], new_tokens: int, num_beams: int
  ) -> np.ndarray:
    """New ids [B, new]; no answer ends early."""
    torch, tokens = self.torch, row["tokens"]
    model, picture = self.model.text_model, {}
    if row["images"] is not None:
      model = self.model
      picture = {
        "pixel_values": self._pixels(row["images"]),
        "image_embeds_position_mask": torch.tensor(row["image_mask"]),
      }
    with torch.inference_mode():
      found = model.generate(
        **picture,
        input_ids=torch.tensor(tokens).long(),
        attention_mask=torch.ones(tokens.shape).long(),
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        num_beams=num_beams,
        do_sample=False,
        no_repeat_ngram_size=NO_REPEAT_NGRAM_SIZE,
      )
    return found[:, tokens.shape[1] :].numpy()

  def locate(self, pictures: Sequence[Any], expressions: Sequence[str]) -> None:
    """As many tokens as a box takes, for one expression after the other."""
    for picture, expression in zip(pictures, expressions, strict=True):
      inputs = self.processor(
        text=prompts.refer(expression),
        images=picture,
        num_image_tokens=self.model.config.latent_query_num,
        return_tensors="pt",
      )
      with self.torch.inference_mode():
        self.model.generate(
          **inputs,
          max_new_tokens=BOX_TOKENS,
          min_new_tokens=BOX_TOKENS,
          do_sample=False,
          no_repeat_ngram_size=NO_REPEAT_NGRAM_SIZE,
        )

  def _pixels(self, images):
    flat = images.reshape(-1, *images.shape[2:])
    return self.torch.tensor(flat.transpose(0, 3, 1, 2))


def measure_loading(checkpoint: Path, with_theirs: bool) -> list[Result]:
  """Time to load, time to a first answer, and most memory of a process."""
  found = {}
  for name in SYSTEMS[: 1 + with_theirs]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
      found[name] = pool.apply(_load_and_answer, (name, checkpoint))
  cases = (
    ("load", "s"),
    ("first answer, compilation included", "s"),
    ("peak memory: load and answer", "GB"),
  )
  results = []
  for i, (case, unit) in enumerate(cases):
    values = {name: [value[i]] for name, value in found.items()}
    results.append(_result(case, unit, values))
  return results


def measure_case(
  case: str,
  unit: str,
  runs: dict[str, Callable[[], float]],
  repeats: int,
  warm_up: Sequence[str] = SYSTEMS,
) -> Result:
  """Runs the systems by turns, the first one alternating; see `Result`.

  Args:
    case: what it is called.
    unit: of what `runs` return.
    runs: system -> one measurement.
    repeats: measurements of each.
    warm_up: systems that first run once without being measured.
  """
  values = {name: [] for name in runs}
  for name in runs:
    if name in warm_up:
      runs[name]()
  for repeat in range(repeats):
    for name in list(runs)[:: -1 if repeat % 2 else 1]:
      values[name].append(runs[name]())
  return _result(case, unit, values)


def seconds(work: Callable[[], Any]) -> float:
  """How long it takes."""
  start = time.perf_counter()
  work()
  return time.perf_counter() - start


def make_row(
  predictor: Predictor, batch_size: int
) -> dict[str, np.ndarray | None]:
  """Prompts of random ids behind a random picture; the same every time."""
  rng = np.random.default_rng(batch_size)
  vocab, model = predictor.tokenizer.vocab, predictor.model
  block, block_mask = predictor.tokenizer.image_prefix(
    model.resampler.num_latents
  )
  text = rng.integers(
    vocab.first_piece_id, vocab.image_id, (batch_size, TEXT_TOKENS)
  )
  size = model.vision.image_size
  return {
    "tokens": np.concatenate(
      [np.tile(block, (batch_size, 1)), text], axis=1
    ).astype(np.int32),
    "image_mask": np.tile(
      [*block_mask, *[False] * TEXT_TOKENS], (batch_size, 1)
    ),
    "images": rng.normal(size=(batch_size, 1, size, size, 3)).astype(
      np.float32
    ),
  }


def without_picture(
  row: dict[str, np.ndarray | None],
) -> dict[str, np.ndarray | None]:
  """The texts alone."""
  tokens = row["tokens"][:, -TEXT_TOKENS:].copy()
  tokens[:, 0] = row["tokens"][:, 0]
  return {"tokens": tokens, "image_mask": None, "images": None}


def _result(case, unit, values) -> Result:
  ours, theirs = (values.get(name) for name in SYSTEMS)
  ratios = []
  if theirs:
    pairs = zip(ours, theirs, strict=True)
    more_is_better = unit == "tokens/s"
    ratios = [a / b if more_is_better else b / a for a, b in pairs]
  return Result(
    case,
    unit,
    statistics.median(ours),
    statistics.median(theirs) if theirs else None,
    statistics.median(ratios) if ratios else None,
    ratios,
  )


def _load_and_answer(name: str, checkpoint: Path) -> tuple[float, ...]:
  """Seconds to load, seconds to a first answer, and peak memory in GB."""
  if name == "theirs":  # ours has been imported already
    importlib.import_module("torch")
    importlib.import_module("transformers")
  start = time.perf_counter()
  system = Ours(checkpoint, 1) if name == "ours" else Theirs(checkpoint)
  loaded = time.perf_counter()
  noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
  system.locate([Image.fromarray(noise)], ["a dog"])
  answered = time.perf_counter()
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
  return loaded - start, answered - loaded, peak
