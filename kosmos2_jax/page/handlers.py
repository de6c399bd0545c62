"""What happens when something is asked: answers, or a sentence why not."""

import functools
import logging
import typing
from collections.abc import Iterator
from typing import Any

from kosmos2_jax.page import asking, html
from kosmos2_jax.page import limits as limits_lib
from kosmos2_jax.page.limits import Limits, Picture
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.grounded import GroundedText

# What stands where there is no picture.
EMPTY = '<div class="k2-empty">Drop a picture into the field above.</div>'
_NO_PICTURE = "Choose a picture first."


def _told(outputs: int, problem_at: int = -1):
  """Makes a handler's errors sentences on the page.

  Args:
    outputs: how many values the handler yields.
    problem_at: which of them says what is wrong; the others stay.
  """

  def wrap(function):
    # Checks of types would hide from gradio that it yields.
    @typing.no_type_check
    @functools.wraps(function)
    def handler(self, *args) -> Iterator[Any]:
      try:
        yield from function(self, *args)
        return
      except (ValueError, FileNotFoundError, TypeError) as error:
        sentence = " ".join(str(error).split())
      except Exception as error:
        # A visitor is told that it is not his fault; the log says where.
        logging.exception("the page failed")
        sentence = f"The page has a fault: {type(error).__name__}."
      values = [self.unchanged] * outputs
      values[problem_at] = html.error(sentence)
      yield tuple(values)

    return handler

  return wrap


class Handlers:
  """What the buttons do, for one predictor.

  Each yields the values of its outputs, again and again while an answer comes.

  Attributes:
    unchanged: stands for a value that stays what it is.
  """

  def __init__(self, predictor: Predictor, limits: Limits, unchanged: Any):
    """Keeps its arguments; see `blocks.build`."""
    self.unchanged = unchanged
    self._predictor = predictor
    self._limits = limits
    self._size = predictor.model.vision.image_size

  @_told(5)
  def open(self, path: str | None):
    """Shows an uploaded picture."""
    if path is None:
      return
    # What was there is gone even where the new file is refused.
    yield None, EMPTY, "", "", html.error("")
    picture = limits_lib.open_picture(path, self._size, self._limits)
    image = html.picture(
      picture.url, picture.name, picture.width, picture.height
    )
    yield picture, image, "", "", html.error("")

  @_told(3)
  def caption(self, picture: Picture | None, detailed: str, *controls):
    """A caption of the picture."""
    yield from self._show(
      asking.caption(
        self._predictor,
        _needed(picture),
        detailed == "Detailed",
        self._options(controls),
        self._limits,
      )
    )

  @_told(3)
  def locate(self, picture: Picture | None, expression: str, *controls):
    """Boxes of what is described."""
    del controls  # Its boxes are the most probable.
    picture = _needed(picture)
    expression = limits_lib.words(expression, "what to find", self._limits)
    if "<" in expression:
      raise ValueError("What to find must be plain words, without <.")
    yield from self._show(asking.locate(self._predictor, picture, expression))

  @_told(3)
  def describe(self, picture: Picture | None, corners: str, *controls):
    """Words for what is in a box."""
    yield from self._show(
      asking.describe(
        self._predictor,
        _needed(picture),
        limits_lib.box(corners),
        self._options(controls),
        self._limits,
      )
    )

  @_told(3)
  def answer(self, picture: Picture | None, question: str, *controls):
    """The answer to a question."""
    picture = _needed(picture)
    question = limits_lib.words(question, "a question", self._limits)
    messages = [{"role": "user", "content": [picture.seen, question]}]
    yield from self._show(
      asking.reply(
        self._predictor,
        messages,
        [picture],
        self._options(controls),
        self._limits,
      )
    )

  @_told(6)
  def chat(self, picture: Picture | None, talk: tuple, message: str, *controls):
    """The answer to a message, after all that was said.

    `talk` holds (role, text, picture) of each message; a picture stands with
    the message it was first shown with.
    """
    message = limits_lib.words(message, "a message", self._limits)
    if len(talk) + 2 > self._limits.messages:
      raise ValueError(
        f"The conversation has {len(talk)} messages and the limit is"
        f" {self._limits.messages}: begin anew."
      )
    shown_last = next((one[2] for one in reversed(talk) if one[2]), None)
    is_new = picture is not None and picture != shown_last
    said = GroundedText(message, ())
    talk = (*talk, ("user", said, picture if is_new else None))
    messages, pictures = [], []
    for role, text, shown in talk:
      content = [text if role == "assistant" else text.text]
      if shown:
        pictures.append(shown)
        content = [shown.seen, *content]
      messages.append({"role": role, "content": content})
    options = self._options(controls)
    for found in asking.reply(
      self._predictor, messages, pictures, options, self._limits
    ):
      whole = (*talk, ("assistant", found.text, None))
      turns = [(role, text) for role, text, _ in whole]
      overlay = html.overlay(found.text.phrases) if pictures else ""
      yield (
        whole,
        html.talk(turns, found.done, found.note),
        "",
        overlay,
        "",
        html.error(""),
      )

  def _options(self, controls: tuple) -> dict[str, Any]:
    return limits_lib.sampling(*controls, self._limits)

  def _show(self, answers: Iterator[asking.Found]):
    yield "", "", html.error("")
    for found in answers:
      text = html.answer(found.text, found.entry, found.note, found.done)
      yield html.overlay(found.text.phrases), text, html.error("")


def _needed(picture: Picture | None) -> Picture:
  if picture is None:
    raise ValueError(_NO_PICTURE)
  return picture
