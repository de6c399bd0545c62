"""Grounders of phrases by name, and the one that is this project's model.

`data.grit.build.grounding` says what a grounder is. jax, torch and the rest
are loaded when a grounder that needs them is made.
"""

import inspect
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.grit.build.asking import Grounder
from data.grit.build.detectors import DetectorGrounder
from data.grit.build.grounding import Found, Request, ScoredBox
from data.grit.build.precomputed import BATCH_SIZE, PrecomputedGrounder
from kosmos2_jax.text import prompts
from kosmos2_jax.text.vocab import OBJECT

# How a phrase is asked: by its words alone, or after the words before it.
PROMPTS = ("phrase", "caption")
MAX_NEW_TOKENS = 32  # room for ten boxes of a phrase


class Kosmos2Grounder:
  """A `Grounder`: a checkpoint of this project, or the released Kosmos-2.

  Nothing but boxes can be answered. The score of a box is the probability of
  its two location tokens, before that constraint. A picture is encoded once
  for all of its phrases, and the same question about it is asked once: its
  boxes go to the first of the spans, since as many boxes of the same things
  for the others would be suppressed anyway. With the prompt "caption",
  repeated words are another question at each place.

  A phrase gets no box if its prompt has more tokens than the context leaves
  room for, or if it, or the caption before it, holds what would be read as a
  special token, such as `<image>`.

  Attributes:
    batch_size: requests that are asked at once, and questions that run at once.
    identity: kind, name, hash of the weights, and the options.
    num_not_asked: phrases so far that got no box for the reasons above.
  """

  def __init__(
    self,
    checkpoint: str | os.PathLike,
    batch_size: int = 16,
    prompt: str = "phrase",
    dtype: str | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
  ):
    """Opens the checkpoint.

    Args:
      checkpoint: see `Predictor.from_pretrained`.
      batch_size: see the attributes.
      prompt: "phrase" asks `<grounding><phrase>{phrase}</phrase>`; "caption"
        puts the caption up to the phrase before it, as Flickr30k Entities is
        evaluated.
      dtype: see `Predictor.from_pretrained`.
      max_new_tokens: where the boxes of a phrase are cut off; three for each.

    Raises:
      FileNotFoundError, ModuleNotFoundError: see `Predictor.from_pretrained`.
      ValueError: see there; or an option that is out of range.
    """
    if batch_size < 1 or max_new_tokens < 3:
      raise ValueError(
        "batch_size is 1 or more and max_new_tokens 3 or more; got"
        f" batch_size={batch_size} and max_new_tokens={max_new_tokens}."
      )
    if prompt not in PROMPTS:
      raise ValueError(f"prompt is one of {list(PROMPTS)}; got {prompt!r}.")
    from kosmos2_jax.evals.fingerprint import params_hash
    from kosmos2_jax.predictor import Predictor

    self._predictor = Predictor.from_pretrained(
      checkpoint, dtype=dtype, batch_size=batch_size
    )
    self.batch_size = batch_size
    self.num_not_asked = 0
    self._prompt = prompt
    self._max_new_tokens = max_new_tokens
    step = self._predictor.step
    self.identity: dict[str, str | int | float | bool] = {
      "kind": "kosmos2",
      "checkpoint": Path(checkpoint).name,
      **({} if step is None else {"step": step}),
      "hash": params_hash(self._predictor.params),
      "dtype": dtype or "of the checkpoint",
      "prompt": prompt,
      "max_new_tokens": max_new_tokens,
    }

  def ground(self, requests: Sequence[Request]) -> Found:
    """See `Grounder`; boxes in the order they were written."""
    found: Found = [[[] for _ in request.spans] for request in requests]
    images, texts, places = [], [], []
    for number, request in enumerate(requests):
      asked = set()
      for place, span in enumerate(request.spans):
        text = self._text(request.caption, span)
        if text in asked:
          continue
        if text is None:
          self._pass_over(request, span)
          continue
        asked.add(text)
        images.append(request.image)
        texts.append(text)
        places.append((number, place))
    if not texts:
      return found
    answers = self._predictor.locate_batch(
      images, texts, max_new_tokens=self._max_new_tokens, as_prompts=True
    )
    for (number, place), boxes in zip(places, answers, strict=True):
      found[number][place] = [ScoredBox(box.xyxy, box.score) for box in boxes]
    return found

  def _text(self, caption: str, span: tuple[int, int]) -> str | None:
    """The prompt of a phrase, None if it cannot be asked."""
    start, end = span
    before, phrase = caption[:start], caption[start:end]
    if self._prompt == "phrase":
      before, text = "", prompts.refer(phrase)
    else:
      text = prompts.refer_within(before, phrase)
    tokenizer = self._predictor.tokenizer
    parts = [*tokenizer.split(before), *tokenizer.split(phrase)]
    if not phrase.strip() or any(isinstance(part, int) for part in parts):
      return None
    num_latents = self._predictor.model.resampler.num_latents
    used = len(tokenizer.image_prefix(num_latents)[0])
    used += len(tokenizer.encode(text + OBJECT)) + self._max_new_tokens
    return text if used <= self._predictor.max_length else None

  def _pass_over(self, request: Request, span: tuple[int, int]) -> None:
    if not self.num_not_asked:
      logging.getLogger(__name__).warning(
        "%r of the pair %r is too long, empty, or near a special token, and"
        " gets no box; others like it are only counted",
        request.caption[slice(*span)][:80],
        request.id,
      )
    self.num_not_asked += 1


def _precomputed(boxes: str, batch_size: int = BATCH_SIZE) -> Grounder:
  return PrecomputedGrounder(boxes, batch_size)


_KINDS: dict[str, Callable[..., Grounder]] = {
  "kosmos2": Kosmos2Grounder,
  "precomputed": _precomputed,
  "transformers": DetectorGrounder,
}
KINDS = tuple(_KINDS)


def make(kind: str, options: Mapping[str, Any]) -> Grounder:
  """A grounder.

  `functools.partial(make, kind, options)` can be pickled, and makes one in
  each process.

  Args:
    kind: one of `KINDS`.
    options: arguments of the kind's class, by name; of precomputed boxes,
      `boxes` is the path.

  Raises:
    ImportError, OSError: see the class.
    ValueError: see there; or for an unknown kind, or options that the kind
      does not have or that are missing.
  """
  if kind not in _KINDS:
    raise ValueError(
      f"a grounder is one of {', '.join(KINDS)}; found {kind!r}."
    )
  names = inspect.signature(_KINDS[kind]).parameters
  unknown = sorted(set(options) - set(names))
  missing = [
    name
    for name, parameter in names.items()
    if parameter.default is parameter.empty and name not in options
  ]
  if unknown or missing:
    wrong = f"has no {unknown[0]!r}" if unknown else f"needs {missing[0]!r}"
    raise ValueError(
      f"the grounder {kind!r} {wrong}; its options are {', '.join(names)}."
    )
  return _KINDS[kind](**options)
