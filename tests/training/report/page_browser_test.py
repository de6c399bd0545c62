"""The report of a run in a real browser: Chromium, without a window."""

import itertools

import pytest

from kosmos2_jax.training.report import page as page_lib
from tests import browsers
from tests.training.report import made_up_run
from tests.training.report.made_up_run import EVIL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
  with browsers.chromium() as started:
    yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory):
  """A run whose words are evil."""
  folder = tmp_path_factory.mktemp("runs") / "one"
  made_up_run.make(folder, name=EVIL, words=EVIL)
  page_lib.write(folder)
  return folder / "report.html"


@pytest.fixture
def page(browser, report):
  """The report, opened."""
  with browsers.opened(browser, report) as page:
    yield page


def test_it_opens_without_complaint_and_asks_for_nothing(page, report):
  page.wait_for_timeout(200)
  assert page.complaints == []
  elsewhere = [url for url in page.requests if not url.startswith("data:")]
  assert elsewhere == [report.as_uri()]
  sizes = page.evaluate("[...document.images].map(i => i.naturalWidth)")
  assert sizes == [60]
  # Another script than its own would have been stopped, and noticed.
  page.evaluate(
    "document.body.append(Object.assign(document.createElement('script'),"
    " {textContent: 'alert(1)'}))"
  )
  page.wait_for_timeout(100)
  assert any("Content Security Policy" in text for text in page.complaints)
  assert "1" not in page.complaints


@pytest.mark.parametrize("how", ["pointer", "keyboard"])
def test_a_chart_shows_step_and_value(page, how):
  frame = page.locator(".frame").first
  tip = frame.locator(".tip")
  assert not tip.is_visible()
  if how == "pointer":
    box = frame.bounding_box()
    page.mouse.move(box["x"] + 0.31 * box["width"], box["y"] + 20)
  else:
    frame.focus()
    assert "step 100" in tip.inner_text()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
  words = " ".join(tip.inner_text().split())
  assert words == "step 30 loss 0.2667 caption 0.5333 referring 0.1333"
  heard = frame.get_attribute("aria-valuetext")
  assert heard == "step 30: loss 0.2667, caption 0.5333, referring 0.1333"
  # The marks lie on the lines: at the place that the data say.
  mark, box = frame.locator(".mark").first.bounding_box(), frame.bounding_box()
  x = (mark["x"] + mark["width"] / 2 - box["x"]) / box["width"]
  assert x == pytest.approx(0.3, abs=0.01)
  page.keyboard.press("Escape")
  page.mouse.move(0, 0)
  assert not tip.is_visible()


def test_a_sample_is_there_at_every_step(page):
  strips = page.locator(".strip")
  assert strips.count() == 2
  cards = strips.first.locator(".card")
  steps = [head.split()[1] for head in cards.locator("h5").all_inner_texts()]
  assert steps == ["20", "60", "100"]
  for card in cards.all():
    shot = card.locator(".shot").bounding_box()
    box = card.locator(".box.true rect.line").bounding_box()
    assert shot["width"] > 100
    # A true box is the upper left quarter; the line is two pixels wide.
    assert box["width"] / shot["width"] == pytest.approx(0.5, abs=0.02)
    assert box["height"] / shot["height"] == pytest.approx(0.5, abs=0.02)
  tops = {round(card.bounding_box()["y"]) for card in cards.all()}
  assert len(tops) == 1


def test_the_config_is_searched(page):
  rows = page.locator("#config tr:visible")
  # Only what the command set is open.
  assert rows.count() == 2
  page.locator("#search").fill("BEST")
  assert rows.count() == 2
  assert "checkpoint.best_metric" in rows.first.inner_text()
  assert page.locator("#found").inner_text() == "2 fields"
  page.locator("#search").fill("")
  assert page.locator("#config tr[hidden]").count() == 0


def test_it_fits_a_phone_and_paper(page):
  page.set_viewport_size({"width": 360, "height": 740})
  assert page.evaluate("document.documentElement.scrollWidth") == 360
  # No label lies on another, and none outside of its chart.
  labels = page.locator(".frame").first.locator(".across")
  ends = labels.evaluate_all(
    "all => all.map(e => e.getBoundingClientRect()).map(r => [r.left, r.right])"
  )
  assert all(a[1] < b[0] for a, b in itertools.pairwise(ends))
  figure = page.locator("figure").first.bounding_box()
  assert ends[-1][1] <= figure["x"] + figure["width"]
  assert len(page.pdf()) > 10_000


def test_it_is_dark_for_who_likes_it_dark(page):
  color = "getComputedStyle(document.querySelector('.stroke.c0')).stroke"
  page.emulate_media(color_scheme="light")
  light = page.evaluate(color)
  page.emulate_media(color_scheme="dark")
  assert page.evaluate(color) != light


def test_it_reads_well_aloud(page):
  headings = page.evaluate(
    "[...document.querySelectorAll('h1,h2,h3,h4,h5')].map(h => +h.tagName[1])"
  )
  assert headings[0] == 1 and headings.count(1) == 1
  assert all(b - a <= 1 for a, b in itertools.pairwise(headings))
  heard = page.locator("figure").first.aria_snapshot()
  assert 'slider "Loss by step"' in heard.replace("Loss log scale", "Loss")
  assert "least 0.08 at step 100" in heard
  assert "Picture of r" in page.locator(".card").first.aria_snapshot()
