"""The page as visitors have it: in Chromium, without a window."""

import base64
import contextlib
import ipaddress
import json
import re
import socket
import sys
import time

import jax
import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.models import presets
from kosmos2_jax.page import blocks
from kosmos2_jax.page.limits import Limits
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.grounded import Box
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import state as state_lib
from tests import browsers

pytestmark = [
  pytest.mark.slow,
  # Gradio counts its answers with what pandas 4 will not have.
  pytest.mark.filterwarnings(
    "ignore:'future.no_silent_downcasting' is deprecated"
  ),
  pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]

TOKENIZER = Tokenizer.small(num_bins=4)
SIZES = presets.preset("tiny") | {"vocab_size": TOKENIZER.vocab.size}
CAPTION = (
  "<phrase>a red circle</phrase><object><patch_index_0000><patch_index_0005>"
  "</object> and <phrase>a star</phrase><object><patch_index_0010>"
  "<patch_index_0015></object> & no <b>more</b>"
)
SECONDS = 0.1  # between tokens of the caption
EVIL = "<img src=x onerror=alert(1)>"


class Told(Predictor):
  """Says what a test needs; questions go to a model with random weights."""

  def stream(self, prompt, images=None, **options):
    """A caption that was told, in pieces; else an answer of the model."""
    if not isinstance(prompt, str) or "An image" not in prompt:
      return super().stream(prompt, images, **options, every=2)
    return self._caption(TOKENIZER.encode(CAPTION))

  def _caption(self, ids):
    for end in range(1, len(ids) + 1):
      time.sleep(SECONDS)
      yield Generation(
        TOKENIZER.decode(ids[:end]),
        tuple(ids[:end]),
        (-0.5,) * end,
        end == len(ids),
      )

  def locate(self, image, expression, **options):
    """Two boxes, whatever is asked for."""
    del image, expression, options
    return [Box((0, 0, 0.5, 0.5), 0.75), Box((0.5, 0.5, 1, 1), 0.25)]


@pytest.fixture(scope="module")
def predictor():
  model = presets.build(SIZES)
  params = state_lib.init_params(model, jax.random.key(0))
  return Told(model, params, TOKENIZER)


@pytest.fixture(scope="module")
def connections():
  """Addresses that this process connects to, while the page is served."""
  seen, on = [], [True]

  def hook(event, arguments):
    if on and event == "socket.connect" and isinstance(arguments[1], tuple):
      seen.append(arguments[1][0])

  sys.addaudithook(hook)  # for ever; emptying `on` ends what it does
  yield seen
  on.clear()


@pytest.fixture(scope="module")
def address(predictor, connections):
  del connections
  pytest.importorskip("gradio", reason="gradio of the extra demo is missing")
  limits = Limits(picture_bytes=2_000_000, new_tokens=64)
  page = blocks.build(predictor, limits, "a model")
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  blocks.launch(
    page, limits, "127.0.0.1", port, prevent_thread_lock=True, quiet=True
  )
  yield f"http://127.0.0.1:{port}/"
  page.close()


@pytest.fixture(scope="module")
def browser():
  with browsers.chromium() as started:
    yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  folder = tmp_path_factory.mktemp("files")
  for number, name in enumerate(("one.png", "two.png")):
    noise = np.random.default_rng(number).integers(256, size=(60, 90, 3))
    picture = Image.fromarray(noise.astype(np.uint8))
    picture.resize((600, 400)).save(folder / name)
  (folder / "notes.txt").write_text("no picture")
  Image.new("1", (10_000, 6_000)).save(folder / "large.png")
  return folder


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
  """Where screenshots are kept; pytest says where with --basetemp."""
  return tmp_path_factory.mktemp("screenshots")


@contextlib.contextmanager
def visit(browser, address):
  """The page, opened; whatever it says or asks for is collected."""
  context = browser.new_context(viewport={"width": 1280, "height": 900})
  page = context.new_page()
  # A first answer compiles, on a machine that has other things to do.
  page.set_default_timeout(120_000)
  page.complaints, page.requests = [], []
  page.on("pageerror", lambda error: page.complaints.append(str(error)))
  page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
  page.on(
    "console",
    lambda message: (
      message.type == "error" and page.complaints.append(message.text)
    ),
  )
  page.on("request", lambda request: page.requests.append(request.url))
  page.on("websocket", lambda opened: page.requests.append(opened.url))
  page.goto(address)
  page.get_by_role("tab", name="Caption").wait_for()
  yield page
  context.close()


@pytest.fixture
def page(browser, address):
  with visit(browser, address) as opened:
    yield opened
    assert opened.complaints == []


def upload(page, path):
  page.locator("#k2-file input[type=file]").set_input_files(path)


def show(page, path):
  upload(page, path)
  page.get_by_role("img", name=path.name).wait_for()


def finished(page):
  page.locator(".k2-answer[aria-busy=false]").wait_for()


def exported(page):
  url = page.get_by_role("link", name="Export JSON").get_attribute("href")
  return json.loads(base64.b64decode(url.split(",", 1)[1]))


def share_of(page, box):
  """A box on the screen as a share of the picture."""
  picture = page.locator(".k2-picture").bounding_box()
  return (
    (box["x"] - picture["x"]) / picture["width"],
    (box["y"] - picture["y"]) / picture["height"],
    (box["x"] + box["width"] - picture["x"]) / picture["width"],
    (box["y"] + box["height"] - picture["y"]) / picture["height"],
  )


def test_a_caption_comes_bit_by_bit_and_its_phrases_have_places(
  page, files, shots
):
  show(page, files / "one.png")
  page.get_by_role("button", name="Write a caption").click()
  page.get_by_text("An image of a red").wait_for()
  assert page.locator(".k2-answer[aria-busy=true]").count() == 1
  early = page.locator(".k2-text").inner_text()
  finished(page)
  text = page.locator(".k2-text").inner_text()
  assert text == "An image of a red circle and a star & no <b>more</b>"
  assert text.startswith(early.strip()) and early.strip() != text
  marks = page.locator("mark").all_inner_texts()
  assert [mark.strip() for mark in marks] == ["a red circle", "a star"]
  line = page.locator(".k2-box[data-p='0'] .k2-line").bounding_box()
  # Three pixels of line on some 650 of picture.
  assert share_of(page, line) == pytest.approx((0, 0, 0.5, 0.5), abs=0.15)
  entry = exported(page)
  assert entry["image"] == "one.png"
  assert (entry["width"], entry["height"]) == (600, 400)
  assert [phrase["text"] for phrase in entry["phrases"]] == [
    "a red circle",
    "a star",
  ]
  page.screenshot(path=shots / "caption.png", full_page=True)


@pytest.mark.parametrize("how", ["list", "text", "box", "keyboard"])
def test_a_phrase_shows_its_boxes(page, files, shots, how):
  show(page, files / "one.png")
  page.get_by_role("button", name="Write a caption").click()
  finished(page)
  page.mouse.move(0, 0)
  if how == "list":
    page.locator(".k2-list li").last.hover()
  elif how == "text":
    page.locator("mark").last.hover()
  elif how == "box":
    page.locator(".k2-box[data-p='1'] .k2-line").hover(force=True)
  else:
    page.get_by_role("button", name="Write a caption").focus()
    for _ in range(4):
      page.keyboard.press("Tab")
      if page.locator(".k2-list li").last.evaluate(
        "item => item === document.activeElement"
      ):
        break
  page.wait_for_timeout(300)
  opacities = page.locator(".k2-box").evaluate_all(
    "all => all.map(b => [b.dataset.p, +getComputedStyle(b).opacity])"
  )
  assert dict(opacities) == {"0": pytest.approx(0.3), "1": 1}
  lit = page.locator(".k2-on").evaluate_all("all => all.map(b => b.dataset.p)")
  assert lit == ["1"] * 3
  page.screenshot(path=shots / f"hover_{how}.png", full_page=True)


def test_boxes_with_scores(page, files, shots):
  show(page, files / "one.png")
  page.get_by_role("tab", name="Find").click()
  page.get_by_label("What to find").fill("the red circle")
  page.get_by_label("What to find").press("Enter")
  finished(page)
  assert page.locator(".k2-box").count() == 2
  listed = page.locator(".k2-list").inner_text()
  assert "score 0.75" in listed and "score 0.25" in listed
  assert [box["score"] for box in exported(page)["boxes"]] == [0.75, 0.25]
  page.screenshot(path=shots / "find.png", full_page=True)


def test_a_drawn_box_is_described(page, files, shots):
  show(page, files / "one.png")
  page.get_by_role("tab", name="Describe").click()
  picture = page.locator(".k2-picture").bounding_box()

  def at(x, y):
    return (
      picture["x"] + x * picture["width"],
      picture["y"] + y * picture["height"],
    )

  page.mouse.move(*at(0.75, 0.5))
  page.mouse.down()
  page.mouse.move(*at(0.25, 0.25), steps=4)
  page.mouse.up()
  typed = page.locator("#k2-box").get_by_role("textbox").input_value()
  corners = [float(value) for value in typed.split(",")]
  assert corners == pytest.approx([0.25, 0.25, 0.75, 0.5], abs=0.005)
  drawn = page.locator(".k2-drawn").bounding_box()
  assert share_of(page, drawn) == pytest.approx(corners, abs=0.02)
  page.get_by_role("button", name="Describe the box").click()
  finished(page)
  assert exported(page)["box"]["xyxy"] == corners
  page.screenshot(path=shots / "describe.png", full_page=True)


def test_a_question_is_answered_as_the_predictor_does(
  page, files, shots, predictor
):
  show(page, files / "one.png")
  page.get_by_role("tab", name="Ask").click()
  page.get_by_label("Question").fill(f"What is it? {EVIL}")
  page.get_by_role("button", name="Ask").click()
  finished(page)
  messages = [
    {
      "role": "user",
      "content": [files / "one.png", f"What is it? {EVIL}"],
    }
  ]
  said = predictor.chat(messages, max_new_tokens=64)
  entry = exported(page)
  assert entry["text"] == said.text != ""
  assert entry["question"] == f"What is it? {EVIL}"
  page.screenshot(path=shots / "ask.png", full_page=True)


def test_a_conversation_goes_on(page, files, shots):
  show(page, files / "one.png")
  page.get_by_role("tab", name="Chat").click()
  for number, text in enumerate((f"What is it? {EVIL}", "Why?")):
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()
    page.locator(".k2-talk li").nth(2 * number + 1).wait_for()
    page.locator(".k2-talk .k2-cursor").wait_for(state="detached")
  spoken = page.locator(".k2-talk li").all_inner_texts()
  assert len(spoken) == 4
  assert spoken[0] == f"You: What is it? {EVIL}" and spoken[2] == "You: Why?"
  page.screenshot(path=shots / "chat.png", full_page=True)
  page.get_by_role("button", name="Begin anew").click()
  page.locator(".k2-talk li").first.wait_for(state="detached")


@pytest.mark.parametrize(
  ("name", "sentence"),
  [
    ("notes.txt", "'notes.txt' is not a readable picture"),
    ("large.png", "10,000 x 6,000 = 60,000,000 pixels and the limit is 40"),
  ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(
  page, files, shots, name, sentence
):
  upload(page, files / name)
  alert = page.get_by_role("alert").filter(has_text=sentence)
  alert.wait_for()
  assert re.search(r"/tmp|Error|Traceback", alert.inner_text()) is None
  page.screenshot(path=shots / f"refused_{name}.png", full_page=True)
  # What is asked then is refused as well, and a picture is taken after that.
  page.get_by_role("button", name="Write a caption").click()
  page.get_by_text("Choose a picture first.").wait_for()
  page.get_by_role("button", name="Clear").click()
  show(page, files / "one.png")
  assert page.get_by_text("Choose a picture first.").count() == 0


def test_two_visitors_at_once_have_their_own_answers(browser, address, files):
  with (
    visit(browser, address) as first,
    visit(browser, address) as second,
  ):
    for visitor, name in ((first, "one.png"), (second, "two.png")):
      show(visitor, files / name)
    for visitor in (first, second):
      visitor.get_by_role("button", name="Write a caption").click()
    for visitor, name in ((first, "one.png"), (second, "two.png")):
      finished(visitor)
      assert exported(visitor)["image"] == name


def test_nothing_leaves_this_machine(page, files, connections):
  show(page, files / "one.png")
  page.get_by_role("button", name="Write a caption").click()
  finished(page)
  page.wait_for_timeout(500)
  assert len(page.requests) > 5
  assert [url for url in page.requests if not _is_here(url)] == []
  assert connections
  assert all(ipaddress.ip_address(host).is_loopback for host in connections)
  # Fonts and scripts by name, too: nothing is even announced.
  assert "https://" not in page.evaluate(
    "[...document.querySelectorAll('link,script')]"
    ".map(one => one.href || one.src).join(' ')"
  )


def _is_here(url):
  return url.startswith(("data:", "blob:")) or (
    re.match(r"(http|ws)://127\.0\.0\.1:", url) is not None
  )


def test_a_request_elsewhere_would_have_been_noticed(browser, address):
  with visit(browser, address) as page:
    page.evaluate("fetch('http://127.0.0.2:9/').catch(() => 0)")
    assert [url for url in page.requests if not _is_here(url)]


def test_it_reads_well_aloud(page):
  heard = page.locator("body").aria_snapshot()
  for part in (
    'heading "kosmos2_jax" [level=1]',
    "alert",
    'tab "Caption" [selected]',
    'button "Write a caption"',
    'button "Stop"',
  ):
    assert part in heard
  for tab, label in (("Find", "What to find"), ("Chat", "Message")):
    page.get_by_role("tab", name=tab).press("Enter")
    page.get_by_role("textbox", name=label).wait_for()
