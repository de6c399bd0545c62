"""The page itself: what stands where, and who is asked when."""

import importlib.resources
import os
from typing import Any

from kosmos2_jax.page import html
from kosmos2_jax.page.handlers import EMPTY, Handlers
from kosmos2_jax.page.limits import Limits
from kosmos2_jax.predictor import Predictor

TITLE = "kosmos2_jax"
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

  ask = Handlers(predictor, limits, unchanged=gr.skip())
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
          shown = gr.HTML(EMPTY, elem_id="k2-picture")
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
      lambda: (None, EMPTY, "", "", html.error("")),
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
