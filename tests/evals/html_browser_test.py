"""The report in a real browser: Chromium, without a window."""

import itertools

import numpy as np
import pytest

from kosmos2_jax.evals import html_report
from kosmos2_jax.evals.protocol import Metric
from tests import browsers
from tests.evals import made_up
from tests.evals.html_report_test import EVIL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
  with browsers.chromium() as started:
    yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory):
  """Boxes on a photograph and on a small picture, text, and evil words."""
  noise = np.random.default_rng(0).integers(
    256, size=(300, 400, 3), dtype=np.uint8
  )
  answer = {"a dog": [(0.25, 0.5, 0.75, 1.0)], EVIL: [(0.0, 0.0, 0.2, 0.2)]}
  records = [
    made_up.record(i, answer, [f"{EVIL} a dog", "true: a dog"])
    for i in range(4)
  ]
  right = np.array([1.0, 0.0, 1.0, 1.0])
  outcomes = {
    "rec": made_up.outcome(
      records,
      {"accuracy": Metric(75.0, right, scale=100.0)},
      published=(made_up.PAPER,),
      cases={"worst": (1,), "best": (0,), "random": (2,)},
      pictures={0: (noise,), 1: (made_up.picture(),), 2: (noise, noise)},
      categories={"accuracy": {f"category {i}": 5.0 * i for i in range(20)}},
      notes=(EVIL,),
    ),
    EVIL: made_up.outcome(records, cases={"random": (3,)}, pictures={}),
  }
  path = tmp_path_factory.mktemp("report") / "report.html"
  html_report.write(
    outcomes,
    {name: made_up.task() for name in outcomes},
    path,
    title=EVIL,
    checkpoint="runs/shapes",
    config="shapes",
    command=["eval.py", "--flag=" + "long" * 99],
    step=6000,
    not_run={"vqa": "not prepared"},
  )
  return path


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
  assert page.title() == EVIL
  assert page.locator("script").count() == 0


def test_an_image_from_elsewhere_would_have_been_noticed(page):
  """The test above can fail: the policy stops it, and the console says so."""
  page.evaluate(
    "document.body.insertAdjacentHTML('beforeend',"
    " '<img src=http://127.0.0.1:9/x.png onerror=alert(1)>')"
  )
  page.wait_for_timeout(200)
  assert any("Content Security Policy" in text for text in page.complaints)


def test_its_pictures_are_there(page):
  sizes = page.evaluate(
    "[...document.images].map(i => [i.complete, i.naturalWidth, i.alt])"
  )
  assert sizes == [
    [True, 64, "Picture of r1"],
    [True, 400, "Picture of r0"],
    [True, 400, "Picture 1 of 2"],
    [True, 400, "Picture of r2"],
  ]


def test_boxes_lie_over_their_place_in_the_picture(page):
  card = page.locator(".card").nth(1)
  image = card.locator(".picture img").bounding_box()
  boxes = card.locator(".box:not(.true)[data-p='0'] rect.line")
  box = boxes.bounding_box()
  found = (
    (box["x"] - image["x"]) / image["width"],
    (box["y"] - image["y"]) / image["height"],
    box["width"] / image["width"],
    box["height"] / image["height"],
  )
  # Two pixels of line on some 250 of picture.
  assert found == pytest.approx((0.25, 0.5, 0.5, 0.5), abs=0.015)
  assert image["width"] / image["height"] == pytest.approx(4 / 3, abs=0.01)


def _opacities(card):
  return card.locator(".box").evaluate_all(
    "boxes => boxes.map(b => [b.dataset.p, +getComputedStyle(b).opacity])"
  )


@pytest.mark.parametrize("how", ["list", "text", "box", "keyboard"])
def test_a_phrase_shows_its_boxes(page, how):
  card = page.locator(".card").nth(1)
  assert {opacity for _, opacity in _opacities(card)} == {1}
  if how == "list":
    card.locator(".phrases li").first.hover()
  elif how == "text":
    card.locator("mark[data-p='0']").first.hover()
  elif how == "box":
    # Away from the smaller box that lies above it.
    card.locator(".box[data-p='0'] rect.line").last.hover()
  else:
    # By the keyboard alone, from the heading on.
    for _ in range(40):
      page.keyboard.press("Tab")
      if card.locator(".phrases li").first.evaluate(
        "item => item === document.activeElement"
      ):
        break
  page.wait_for_timeout(300)
  found = _opacities(card)
  assert len(found) == 3
  assert all((opacity == 1) == (p == "0") for p, opacity in found)
  chip = card.locator(".phrases li").first
  assert "0.22" in chip.evaluate("c => getComputedStyle(c).backgroundColor")


def test_it_fits_a_phone_and_paper(page):
  page.set_viewport_size({"width": 360, "height": 740})
  assert page.evaluate("document.documentElement.scrollWidth") == 360
  assert len(page.pdf()) > 10_000


def test_it_is_dark_for_who_likes_it_dark(page):
  color = "getComputedStyle(document.body).backgroundColor"
  page.emulate_media(color_scheme="light")
  light = page.evaluate(color)
  page.emulate_media(color_scheme="dark")
  assert page.evaluate(color) == "rgb(21, 22, 26)" != light


def test_it_reads_well_aloud(page):
  headings = page.evaluate(
    "[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])"
  )
  assert headings[0] == 1 and headings.count(1) == 1
  assert all(b - a <= 1 for a, b in itertools.pairwise(headings))
  heard = page.locator(".card").nth(1).aria_snapshot()
  for part in ('img "Picture of r0"', "Boxes: a dog: 1 predicted, 1 true"):
    assert part in heard
  drawings = page.locator("svg").evaluate_all(
    "all => all.filter(s => !s.closest('[aria-hidden]')).map(s => s.role)"
  )
  assert drawings == ["img"] * 3
