"""Two implementations that do the same work: ours and `transformers`."""

import importlib
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from kosmos2_jax.generation import decode
from kosmos2_jax.generation.beams import BeamOptions
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text import prompts

SYSTEMS = ("ours", "theirs")
NO_REPEAT_NGRAM_SIZE = 3  # the released default
# `<object>`, two location tokens and `</object>`: what an answer takes.
BOX_TOKENS = 4


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


def load_and_answer(name: str, checkpoint: Path) -> tuple[float, ...]:
  """Seconds to load, seconds to a first answer, and peak memory in GB."""
  if name == SYSTEMS[1]:  # ours has been imported already
    importlib.import_module("torch")
    importlib.import_module("transformers")
  start = time.perf_counter()
  system = Ours(checkpoint, 1) if name == SYSTEMS[0] else Theirs(checkpoint)
  loaded = time.perf_counter()
  noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
  system.locate([Image.fromarray(noise)], ["a dog"])
  answered = time.perf_counter()
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
  return loaded - start, answered - loaded, peak
