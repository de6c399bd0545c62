"""The front door for people who only want to use a checkpoint.

    predictor = Predictor.from_pretrained("runs/shapes")
    predictor.ground(image).phrases
    predictor.locate(image, "the red circle left of the blue square")

Pictures go in as PIL images, uint8 arrays or paths; strings, floats and small
frozen dataclasses come out, never an array of a device. Neither TensorFlow
nor torch is imported.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from kosmos2_jax.convert import loading
from kosmos2_jax.generation import decode, prompting
from kosmos2_jax.generation.answers import Generation, leading_boxes
from kosmos2_jax.generation.prompting import ImageLike
from kosmos2_jax.models.kosmos2 import Kosmos2
from kosmos2_jax.text import markup
from kosmos2_jax.text import prompts as prompt_texts
from kosmos2_jax.text.grounded import Box, GroundedText
from kosmos2_jax.text.tokenizer import Tokenizer

# The published models were trained on rows of this many tokens. Positions are
# sinusoids, so this is where training ended, not where the arithmetic does.
MAX_LENGTH = 2048
MAX_NEW_TOKENS = 256
MAX_BOX_TOKENS = 32  # room for ten boxes of one expression


class Predictor:
  """A model with its weights and its tokenizer, ready to be asked.

  Attributes:
    model: the flax module.
    params: its parameters, on any devices.
    tokenizer: text to ids and back.
    step: the training step of the parameters, where known.
    batch_size: prompts that run at once; more are cut into several runs.
    max_length: longest row, prompt and answer together, in tokens.
  """

  def __init__(
    self,
    model: Kosmos2,
    params: Mapping[str, Any],
    tokenizer: Tokenizer,
    *,
    step: int | None = None,
    batch_size: int = 16,
    max_length: int = MAX_LENGTH,
  ):
    """Keeps its arguments; see the attributes.

    Raises:
      ValueError: if the tokenizer is not the model's.
    """
    theirs = (model.decoder.vocab_size, model.decoder.num_bins)
    ours = (tokenizer.vocab.size, tokenizer.vocab.num_bins)
    if theirs != ours:
      raise ValueError(
        f"the model has {theirs[0]} ids and {theirs[1]} bins a side, the"
        f" tokenizer {ours[0]} and {ours[1]}; use the tokenizer the model was"
        " trained with."
      )
    self.model = model
    self.params = params
    self.tokenizer = tokenizer
    self.step = step
    self.batch_size = batch_size
    self.max_length = max_length

  @classmethod
  def from_pretrained(
    cls,
    path: str | os.PathLike,
    *,
    dtype: str | None = None,
    batch_size: int = 16,
  ) -> "Predictor":
    """Reads a checkpoint.

    Args:
      path: a workdir that `train.py` wrote (its newest checkpoint), a folder
        that `tools.convert` wrote, a Hugging Face folder of Kosmos-2, or the
        original's `kosmos-2.pt` with its tokenizer beside it.
      dtype: compute type, "float32" or "bfloat16"; by default a workdir's own,
        else float32.
      batch_size: see the class.

    Raises:
      FileNotFoundError: if there is nothing, or a part of it is missing.
      ModuleNotFoundError: for a `.pt` file where torch is not installed.
      ValueError: if it is no such checkpoint, or the weights are not those of
        the model it describes.
    """
    loaded = loading.load(Path(path), dtype)
    params = loading.to_device(loaded.params)
    return cls(
      loaded.model,
      params,
      loaded.tokenizer,
      step=loaded.step,
      batch_size=batch_size,
    )

  def generate(
    self,
    prompts: Sequence[str],
    images: Sequence[ImageLike | Sequence[ImageLike] | None] | None = None,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
  ) -> list[Generation]:
    """Continues prompts greedily, each up to `</s>`.

    Args:
      prompts: any lengths. Pictures come before the text, in order, unless
        the prompt says where with one `<image>` for each.
      images: for each prompt None, one picture, or a list of them; None if
        no prompt has any.
      max_new_tokens: where an answer is cut off.

    Raises:
      FileNotFoundError, TypeError: for a picture that cannot be read.
      ValueError: for a picture that cannot be read, a wrong number of
        pictures, or a prompt that leaves no room for the answer.
    """
    eos_id = self.tokenizer.vocab.eos_id
    answers = []
    for tokens, log_probs in self._generate(
      prompts, images, max_new_tokens, eos_id
    ):
      finished = bool(tokens) and tokens[-1] == eos_id
      size = len(tokens) - finished
      answers.append(
        Generation(
          self.tokenizer.decode(tokens[:size]),
          tuple(tokens[:size]),
          tuple(log_probs[:size]),
          finished,
        )
      )
    return answers

  def ground(
    self,
    image: ImageLike,
    prompt: str = prompt_texts.grounded_caption(),
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
  ) -> GroundedText:
    """Returns prompt and answer as plain text with the boxes of its phrases.

    Raises:
      FileNotFoundError, TypeError, ValueError: see `generate`.
    """
    [text] = self.ground_batch([image], [prompt], max_new_tokens=max_new_tokens)
    return text

  def ground_batch(
    self,
    images: Sequence[ImageLike],
    prompts: Sequence[str],
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
  ) -> list[GroundedText]:
    """`ground` for several pictures, each with its own prompt."""
    answers = self.generate(prompts, images, max_new_tokens=max_new_tokens)
    return [
      markup.parse(
        [*self.tokenizer.encode(prompt), *answer.tokens], self.tokenizer
      )
      for prompt, answer in zip(prompts, answers, strict=True)
    ]

  def locate(self, image: ImageLike, expression: str) -> list[Box]:
    """Returns the boxes of what an expression describes, best first.

    The score of a box is the probability the model gave its two location
    tokens. An answer that is no list of boxes gives an empty list.

    Raises:
      FileNotFoundError, TypeError, ValueError: see `generate`.
    """
    [boxes] = self.locate_batch([image], [expression])
    return sorted(boxes, key=lambda box: -box.score)

  def locate_batch(
    self,
    images: Sequence[ImageLike],
    expressions: Sequence[str],
    *,
    max_new_tokens: int = MAX_BOX_TOKENS,
  ) -> list[list[Box]]:
    """`locate` for several pictures; boxes in the order they were written.

    That order is the one the published protocol scores: its first box counts.
    """
    vocab = self.tokenizer.vocab
    answers = self._generate(
      [prompt_texts.refer(expression) for expression in expressions],
      images,
      max_new_tokens,
      # The answer is over where its list of boxes is: nothing after is read.
      vocab.object_end_id,
    )
    return [leading_boxes(*answer, vocab) for answer in answers]

  def _generate(
    self,
    prompts: Sequence[str],
    images: Sequence[ImageLike | Sequence[ImageLike] | None] | None,
    max_new_tokens: int,
    eos_id: int,
  ) -> list[tuple[list[int], list[float]]]:
    """New ids (`eos_id` included, if reached) and their log-probabilities."""
    if images is None:
      images = [None] * len(prompts)
    if len(images) != len(prompts):
      raise ValueError(
        f"there are {len(prompts)} prompts but {len(images)} entries of"
        " images; give one entry (None, a picture or a list) for each prompt."
      )
    answers = []
    for start in range(0, len(prompts), self.batch_size):
      chunk = slice(start, start + self.batch_size)
      rows = [
        self._row(prompt, pictures, max_new_tokens)
        for prompt, pictures in zip(prompts[chunk], images[chunk], strict=True)
      ]
      answers += self._decode(rows, max_new_tokens, eos_id)
    return answers

  def _row(
    self,
    prompt: str,
    pictures: ImageLike | Sequence[ImageLike] | None,
    max_new_tokens: int,
  ) -> prompting.Row:
    row = prompting.make_row(
      prompt,
      pictures,
      self.tokenizer,
      num_latents=self.model.resampler.num_latents,
      image_size=self.model.vision.image_size,
    )
    if len(row.tokens) + max_new_tokens > self.max_length:
      raise ValueError(
        f"the prompt has {len(row.tokens)} tokens with its pictures; with up"
        f" to {max_new_tokens} new ones that is more than the"
        f" {self.max_length} of the context: shorten the prompt or lower"
        " max_new_tokens."
      )
    return row

  def _decode(
    self, rows: Sequence[prompting.Row], max_new_tokens: int, eos_id: int
  ) -> list[tuple[list[int], list[float]]]:
    stacked = prompting.stack_rows(rows, self.tokenizer.vocab.pad_id)
    # Explicit transfers both ways: a transfer guard around training is quiet.
    output = jax.device_get(
      decode.generate(
        self.model,
        self.params,
        *jax.device_put(stacked),
        max_new_tokens=max_new_tokens,
        eos_id=eos_id,
      )
    )
    return [
      (output.tokens[i, :n].tolist(), output.log_probs[i, :n].tolist())
      for i, n in enumerate(output.lengths[: len(rows)].tolist())
    ]
