"""What the page asks a model, and the answers as they come."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kosmos2_jax.generation import chatting
from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.page.limits import Limits, Picture
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text import grounded, markup, prompts
from kosmos2_jax.text.grounded import Box, GroundedText, Phrase


class Found(NamedTuple):
  """An answer, or the beginning of one.

  Attributes:
    text: with its phrases and their boxes.
    entry: as JSON.
    done: no more comes.
    note: a sentence about it, or "".
  """

  text: GroundedText
  entry: dict[str, Any]
  done: bool = True
  note: str = ""


def caption(
  predictor: Predictor,
  picture: Picture,
  detailed: bool,
  options: dict[str, Any],
  limits: Limits,
) -> Iterator[Found]:
  """A caption with boxes, brief or detailed.

  Args:
    predictor: whom to ask.
    picture: about what.
    detailed: asks for a long one.
    options: of `Predictor.stream`.
    limits: see `Limits.seconds`.

  Raises:
    ValueError: see `Predictor.stream`; or if the model computes no numbers.
  """
  prompt = prompts.grounded_caption(detailed)
  start = predictor.tokenizer.encode(prompt)
  for answer, note in _stream(predictor, prompt, [picture], options, limits):
    text = markup.parse([*start, *answer.tokens], predictor.tokenizer)
    entry = {"prompt": prompt, **_entry(text, picture, answer)}
    yield Found(text, entry, bool(note) or answer.finished, note)


def locate(
  predictor: Predictor, picture: Picture, expression: str
) -> Iterator[Found]:
  """The boxes of what an expression describes, best first, at once.

  Raises:
    ValueError: see `Predictor.locate`; or if the model computes no numbers.
  """
  boxes = predictor.locate(picture.seen, expression)
  _check([box.score for box in boxes])
  phrase = Phrase(expression, (0, len(expression)), boxes)
  text = GroundedText(expression, [phrase] if boxes else [])
  entry = {
    "image": picture.name,
    "width": picture.width,
    "height": picture.height,
    "expression": expression,
    "boxes": [
      grounded.box_entry(box, picture.width, picture.height) for box in boxes
    ],
  }
  note = "" if boxes else "The model found no box."
  yield Found(text, entry, True, note)


def describe(
  predictor: Predictor,
  picture: Picture,
  box_xyxy: Sequence[float],
  options: dict[str, Any],
  limits: Limits,
) -> Iterator[Found]:
  """Words for what is in a box, which is shown with them.

  Raises:
    ValueError: see `Predictor.describe`; or if the model computes no numbers.
  """
  prompt = prompts.describe(box_xyxy, predictor.tokenizer.vocab.num_bins)
  box = Box(box_xyxy)
  for answer, note in _stream(predictor, prompt, [picture], options, limits):
    words = markup.parse(answer.tokens, predictor.tokenizer).text
    text = GroundedText(words, [Phrase(words, (0, len(words)), [box])])
    entry = _entry(text, picture, answer)
    entry["box"] = grounded.box_entry(box, picture.width, picture.height)
    yield Found(text, entry, bool(note) or answer.finished, note)


def reply(
  predictor: Predictor,
  messages: Sequence[chatting.ChatMessage],
  pictures: Sequence[Picture],
  options: dict[str, Any],
  limits: Limits,
) -> Iterator[Found]:
  """The answer to the last message, a single question included.

  Args:
    predictor: whom to ask.
    messages: see `Predictor.chat`.
    pictures: of the conversation; boxes are those of the last one.
    options: of `Predictor.stream`.
    limits: see `Limits.seconds`.

  Raises:
    ValueError: see `Predictor.chat`; or if the model computes no numbers.
  """
  prompt = predictor.chat_prompt(messages)
  asked = messages[-1]["content"]
  question = asked if isinstance(asked, str) else asked[-1]
  for answer, note in _stream(
    predictor, prompt.tokens, pictures, options, limits
  ):
    text = markup.parse(answer.tokens, predictor.tokenizer)
    entry = {"question": question}
    if pictures:
      entry |= _entry(text, pictures[-1], answer)
    else:
      entry |= {"text": text.text, "finished": answer.finished}
    yield Found(text, entry, bool(note) or answer.finished, note)


def _stream(
  predictor: Predictor,
  prompt: str | Sequence[int],
  pictures: Sequence[Picture],
  options: dict[str, Any],
  limits: Limits,
) -> Iterator[tuple[Generation, str]]:
  """Answers so far; the last one with a note where it was cut off."""
  images = [picture.seen for picture in pictures]
  begun = time.monotonic()
  # Of a full length the last answer is not marked as finished.
  most = options["max_new_tokens"]
  for answer in predictor.stream(prompt, images, **options):
    _check(answer.log_probs)
    note = ""
    if time.monotonic() - begun > limits.seconds and not answer.finished:
      note = f"Cut off after {limits.seconds:g} seconds."
    elif not answer.finished and len(answer.tokens) == most:
      note = f"Cut off after {most} tokens: allow more of them."
    yield answer, note
    if note:
      return


def _check(values: Sequence[float]) -> None:
  if not all(map(math.isfinite, values)):
    raise ValueError(
      "The model's probabilities are not numbers; its weights hold NaN or"
      " infinities, or are too large for --dtype (try float32)."
    )


def _entry(
  text: GroundedText, picture: Picture, answer: Generation
) -> dict[str, Any]:
  size = picture.width, picture.height
  return {
    "image": picture.name,
    "width": picture.width,
    "height": picture.height,
    "text": text.text,
    "finished": answer.finished,
    "phrases": grounded.phrase_entries(text, *size),
  }
