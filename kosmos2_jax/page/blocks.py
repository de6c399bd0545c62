"""The page itself: what stands where, and who is asked when."""

import functools
import importlib.resources
import logging
import os
from collections.abc import Iterator
from typing import Any

from kosmos2_jax.page import asking, html
from kosmos2_jax.page import limits as limits_lib
from kosmos2_jax.page.limits import Limits, Picture
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.grounded import GroundedText

TITLE = "kosmos2_jax"
_EMPTY = '<div class="k2-empty">Drop a picture into the field above.</div>'
_NO_PICTURE = "Choose a picture first."
# Uploads are deleted after so many seconds.
_KEPT_SECONDS = 3600


def build(predictor: Predictor, limits: Limits, name: str = "") -> Any:
  """Returns the page as gradio's `Blocks`, to be started by `launch`.

  Args:
    predictor: who answers.
    limits: what visitors may ask for.
    name: of the checkpoint, shown beneath the title.

  Raises:
    ModuleNotFoundError: gradio is missing.
  """
  # Before the import: nothing is told to anybody about this page.
  os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
  import gradio as gr

  ask = _Asking(predictor, limits)
  with gr.Blocks(
    title=TITLE,
    analytics_enabled=False,
    delete_cache=(_KEPT_SECONDS, _KEPT_SECONDS),
  ) as page:
    gr.Markdown(f"# {TITLE}\n{name}")
    picture, talk = gr.State(None), gr.State(())
    with gr.Row():
      with gr.Column(scale=5):
        file = gr.File(label="Picture", height=120, elem_id="k2-file")
        with gr.Column(elem_id="k2-stage", min_width=200):
          shown = gr.HTML(_EMPTY, elem_id="k2-picture")
          boxes = gr.HTML("", elem_id="k2-overlay")
      with gr.Column(scale=4):
        problem = gr.HTML(html.error(""), elem_id="k2-problem")
        with gr.Tabs():
          with gr.Tab("Caption"):
            detailed = gr.Radio(
              ["Brief", "Detailed"], value="Brief", label="Length"
            )
            caption = gr.Button("Write a caption", variant="primary")
          with gr.Tab("Find"):
            expression = gr.Textbox(
              label="What to find",
              placeholder="the red circle",
              max_length=limits.text_chars,
            )
            locate = gr.Button("Find it", variant="primary")
          with gr.Tab("Describe"):
            corners = gr.Textbox(
              label="Box (x1, y1, x2, y2 from 0 to 1)",
              info="Draw it on the picture with the mouse, or type it.",
              elem_id="k2-box",
            )
            describe = gr.Button("Describe the box", variant="primary")
          with gr.Tab("Ask"):
            question = gr.Textbox(
              label="Question", max_length=limits.text_chars
            )
            answer = gr.Button("Ask", variant="primary")
          with gr.Tab("Chat"):
            conversation = gr.HTML(html.talk(()), elem_id="k2-conversation")
            message = gr.Textbox(label="Message", max_length=limits.text_chars)
            with gr.Row():
              send = gr.Button("Send", variant="primary")
              anew = gr.Button("Begin anew")
        found = gr.HTML("", elem_id="k2-found")
        stop = gr.Button("Stop", size="sm")
        with gr.Accordion("How to answer", open=False):
          controls = [
            gr.Slider(
              0, 2, value=0, step=0.05, label="Temperature (0: most probable)"
            ),
            gr.Slider(0.01, 1, value=1, step=0.01, label="Top-p"),
            gr.Number(0, label="Top-k (0: all)", precision=0),
            gr.Number(0, label="Seed", precision=0),
            gr.Slider(
              1,
              limits.new_tokens,
              value=min(128, limits.new_tokens),
              step=1,
              label="New tokens at most",
            ),
          ]
    outputs = [boxes, found, problem]
    quick = {"show_progress": "hidden", "queue": True}
    file.upload(ask.open, file, [picture, shown, *outputs], **quick)
    file.clear(
      lambda: (None, _EMPTY, "", "", html.error("")),
      None,
      [picture, shown, *outputs],
      **quick,
    )
    running = {
      "concurrency_limit": limits.at_once,
      "concurrency_id": "model",
      "show_progress": "minimal",
      "show_progress_on": found,
    }
    events = []
    for given, starts, function in (
      ([detailed], [caption.click], ask.caption),
      ([expression], [locate.click, expression.submit], ask.locate),
      ([corners], [describe.click, corners.submit], ask.describe),
      ([question], [answer.click, question.submit], ask.answer),
    ):
      for start in starts:
        events.append(
          start(function, [picture, *given, *controls], outputs, **running)
        )
    for start in (send.click, message.submit):
      events.append(
        start(
          ask.chat,
          [picture, talk, message, *controls],
          [talk, conversation, message, *outputs],
          **{**running, "show_progress_on": conversation},
        )
      )
    anew.click(lambda: ((), html.talk(())), None, [talk, conversation], **quick)
    stop.click(None, cancels=events)
  page.queue(
    max_size=limits.waiting, default_concurrency_limit=max(4, limits.at_once)
  )
  return page


def launch(page: Any, limits: Limits, host: str, port: int, **more: Any) -> Any:
  """Starts a page; returns what gradio's `launch` does.

  Args:
    page: from `build`.
    limits: of uploads.
    host: address to listen at.
    port: to listen at.
    **more: of `Blocks.launch`.
  """
  import gradio as gr

  files = importlib.resources.files("kosmos2_jax.page")
  fonts = ["system-ui", "sans-serif"]
  return page.launch(
    server_name=host,
    server_port=port,
    share=False,
    ssr_mode=False,
    enable_monitoring=False,
    footer_links=[],
    max_file_size=limits.picture_bytes,
    theme=gr.themes.Base(font=fonts, font_mono=["ui-monospace", "monospace"]),
    css=files.joinpath("page.css").read_text("utf-8"),
    js=files.joinpath("page.js").read_text("utf-8"),
    **more,
  )


def _told(outputs: int, problem_at: int = -1):
  """Makes a handler's errors sentences on the page.

  Args:
    outputs: how many values the handler yields.
    problem_at: which of them says what is wrong; the others stay.
  """

  def wrap(function):
    @functools.wraps(function)
    def handler(*args) -> Iterator[Any]:
      import gradio as gr

      sentence = ""
      try:
        yield from function(*args)
        return
      except (ValueError, FileNotFoundError, TypeError) as error:
        sentence = " ".join(str(error).split())
      except Exception as error:
        # A visitor is told that it is not his fault; the log says where.
        logging.exception("the page failed")
        sentence = f"The page has a fault: {type(error).__name__}."
      values = [gr.skip()] * outputs
      values[problem_at] = html.error(sentence)
      yield tuple(values)

    return handler

  return wrap


class _Asking:
  """What the buttons do, for one predictor."""

  def __init__(self, predictor: Predictor, limits: Limits):
    self._predictor = predictor
    self._limits = limits
    self._size = predictor.model.vision.image_size

  @_told(5)
  def open(self, path: str | None):
    """Shows an uploaded picture."""
    if path is None:
      return
    # What was there is gone even where the new file is refused.
    yield None, _EMPTY, "", "", html.error("")
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
