"""A model with its weights and its tokenizer: rows in, numbers out.

`Predictor` is this with the questions people ask; here is what they share.
"""

import collections
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kosmos2_jax.generation import prompting, requests, scoring
from kosmos2_jax.generation.beams import BeamOptions
from kosmos2_jax.generation.placement import DEFAULT, Placement
from kosmos2_jax.generation.prompting import ImageLike
from kosmos2_jax.generation.sampling import Options
from kosmos2_jax.generation.scoring import Score
from kosmos2_jax.models.kosmos2 import Kosmos2
from kosmos2_jax.text.tokenizer import Tokenizer

# The published models were trained on rows of this many tokens. Positions are
# sinusoids, so this is where training ended, not where the arithmetic does.
MAX_LENGTH = 2048


class Engine:
  """Encodes prompts, decodes answers and scores continuations.

  Attributes:
    model: the flax module.
    params: its parameters, on any devices.
    tokenizer: text to ids and back.
    step: the training step of the parameters, where known.
    batch_size: prompts that run at once; more are cut into several runs.
    no_repeat_ngram_size: default of `generate`; 3 for the released model.
    max_length: longest row, prompt and answer together, in tokens.
    placement: where rows go; parameters are there already.
  """

  def __init__(
    self,
    model: Kosmos2,
    params: Mapping[str, Any],
    tokenizer: Tokenizer,
    *,
    step: int | None = None,
    batch_size: int = 16,
    no_repeat_ngram_size: int = 0,
    max_length: int = MAX_LENGTH,
    placement: Placement = DEFAULT,
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
    self.no_repeat_ngram_size = no_repeat_ngram_size
    self.max_length = max_length
    self.placement = placement

  def score(
    self,
    prompts: Sequence[prompting.Text],
    continuations: Sequence[prompting.Text],
    images: Sequence[ImageLike | Sequence[ImageLike] | None] | None = None,
  ) -> list[Score]:
    """Returns how probable each continuation is after its prompt.

    Args:
      prompts: see `generate`.
      continuations: text, whose tokens are those it has on its own, or ids.
      images: see `generate`.

    Raises:
      FileNotFoundError, TypeError: see `generate`.
      ValueError: see there; or a continuation without tokens.
    """
    texts = [prompting.token_ids(x, self.tokenizer) for x in continuations]
    if not all(texts):
      raise ValueError(
        f"the continuation {continuations[texts.index([])]!r} has no tokens."
      )
    if len(texts) != len(prompts):
      raise ValueError(
        f"there are {len(prompts)} prompts and {len(texts)} continuations;"
        " give one continuation for each prompt."
      )

    def joined():
      rows = self._rows(prompts, images, 0)
      for row, text in zip(rows, texts, strict=True):
        self._check_length(row, len(text))
        image_mask = row.image_mask + [False] * len(text)
        yield (
          row._replace(tokens=row.tokens + text, image_mask=image_mask),
          len(text),
        )

    return scoring.score(
      self.model,
      self.params,
      joined(),
      pad_id=self.tokenizer.vocab.pad_id,
      batch_size=self.batch_size,
      placement=self.placement,
    )

  def encode(
    self,
    text: str,
    images: ImageLike | Sequence[ImageLike] | None = None,
    boxes: Sequence[prompting.PhraseBoxes] | None = None,
    *,
    rounding: str = "floor",
  ) -> dict[str, np.ndarray]:
    """Returns what the model takes for one prompt.

    Args:
      text: see `generate`.
      images: its pictures.
      boxes: for each `<phrase>` of the text None, a box or several, written
        behind it as location tokens; normalised `x1, y1, x2, y2`.
      rounding: of their lower right corners; "floor" as the original, "ceil"
        as Hugging Face's processor (see `text.location`).

    Returns:
      `tokens` int32 [1, T], `image_mask` bool [1, T], and with pictures
      `images` float32 [1, M, height, width, 3]; see `logits`.

    Raises:
      FileNotFoundError, TypeError: see `generate`.
      ValueError: see there; or boxes that do not fit the text.
    """
    if boxes is not None:
      num_bins = self.tokenizer.vocab.num_bins
      text = prompting.insert_boxes(text, boxes, num_bins, rounding)
    [row] = self._rows([text], [images], 0)
    encoded = {
      "tokens": np.array([row.tokens], np.int32),
      "image_mask": np.array([row.image_mask], bool),
    }
    if row.images:
      encoded["images"] = np.stack(row.images)[None]
    return encoded

  def logits(
    self,
    tokens: np.ndarray,
    images: np.ndarray | None = None,
    image_mask: np.ndarray | None = None,
  ) -> np.ndarray:
    """Returns float32 [B, T, V]: the logits of the token after each.

    Args:
      tokens: int32 [B, T]; `<pad>` fills rows that are shorter, on the right.
      images: see `encode`.
      image_mask: see `encode`.
    """
    tokens = np.asarray(tokens, np.int32)
    segment_ids = (tokens != self.tokenizer.vocab.pad_id).astype(np.int32)
    inputs = jax.device_put((tokens, images, image_mask, segment_ids))
    return jax.device_get(requests.logits(self.model, self.params, *inputs))

  def _rows(
    self,
    prompts: Sequence[prompting.Text],
    images: Sequence[ImageLike | Sequence[ImageLike] | None] | None,
    max_new_tokens: int,
  ) -> Iterator[prompting.Row]:
    if images is None:
      images = [None] * len(prompts)
    if len(images) != len(prompts):
      raise ValueError(
        f"there are {len(prompts)} prompts but {len(images)} entries of"
        " images; give one entry (None, a picture or a list) for each prompt."
      )
    prepare = self._remembering()
    for prompt, pictures in zip(prompts, images, strict=True):
      row = prompting.make_row(
        prompt,
        pictures,
        self.tokenizer,
        num_latents=self.model.resampler.num_latents,
        image_size=self.model.vision.image_size,
        prepare=prepare,
      )
      self._check_length(row, max_new_tokens)
      yield row

  def _remembering(self):
    """`prepare_image` that gives equal pictures as the same array.

    That is how rows about one picture find each other.
    """
    recent = collections.OrderedDict()
    # One object again and again is prepared once.
    last = None, None

    def prepare(image, size):
      nonlocal last
      if image is last[0]:
        return last[1]
      prepared = prompting.prepare_image(image, size)
      key = hashlib.blake2b(prepared.tobytes()).digest()
      recent[key] = recent.pop(key, prepared)
      if len(recent) > self.batch_size:
        recent.popitem(last=False)
      last = image, recent[key]
      return recent[key]

    return prepare

  def _check_length(self, row: prompting.Row, more: int) -> None:
    if len(row.tokens) + more > self.max_length:
      raise ValueError(
        f"the prompt has {len(row.tokens)} tokens with its pictures; with up"
        f" to {more} new ones that is more than the {self.max_length} of the"
        " context: shorten the prompt (of a conversation, leave out the first"
        " turns) or lower max_new_tokens."
      )

  def _generate(
    self,
    rows: Iterable[prompting.Row],
    max_new_tokens: int,
    eos_id: int,
    options: Options,
    beam: BeamOptions | None = None,
    seeds: Sequence[int] = (),
  ) -> list[list[requests.Answer]]:
    return requests.generate(
      self.model,
      self.params,
      rows,
      vocab=self.tokenizer.vocab,
      eos_id=eos_id,
      batch_size=self.batch_size,
      max_new_tokens=max_new_tokens,
      options=options,
      beam=beam,
      seeds=seeds,
      placement=self.placement,
    )
