"""The report as a file: what is in it, and that it stays in bounds."""

import html.parser
import math
import re

import numpy as np
import pytest

from kosmos2_jax.evals import html_cards, html_report
from kosmos2_jax.evals.protocol import Metric
from tests.evals import made_up
from tests.evals.made_up import PAPER

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> & so"


def render(tmp_path, outcomes, name="report.html", **options):
  path = tmp_path / name
  html_report.write(
    outcomes,
    {task: made_up.task() for task in outcomes},
    path,
    **{
      "title": "Shapes",
      "checkpoint": "runs/shapes",
      "config": "shapes",
      "command": ["eval.py", "--checkpoint=runs/my shapes"],
      "step": 6000,
      **options,
    },
  )
  return path.read_text("utf-8")


class Page(html.parser.HTMLParser):
  """Elements with their attributes, and the text outside of styles."""

  def __init__(self, source):
    super().__init__()
    self.elements, self.text, self.open = [], "", []
    self.feed(source)

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    self.open.append(tag)
    self.text += " " if tag in ("dt", "dd") else ""

  def handle_endtag(self, tag):
    while self.open.pop() != tag:
      pass

  def handle_data(self, data):
    if "style" not in self.open:
      self.text += data

  def all(self, tag, **attrs):
    return [
      found
      for name, found in self.elements
      if name == tag and all(found.get(k) == v for k, v in attrs.items())
    ]

  @property
  def words(self):
    return " ".join(self.text.split())


def outcome(record=None, **options):
  options = {"cases": {"random": (0,)}} | options
  return made_up.outcome([record or made_up.record(0)], **options)


def test_numbers_notes_and_counts_are_there(tmp_path):
  accuracy = Metric(50.0, np.array([0.0, 1.0]), scale=100.0)
  found = made_up.outcome(
    [made_up.record(0), made_up.record(1)],
    {"accuracy": accuracy, "mean_iou": Metric(1 / 3)},
    published=(PAPER,),
    n=1234,
    counts={"boxes_left_out": 4321},
    categories={"accuracy": {"dogs": 25.0, "cats": math.nan}},
    notes=("METEOR needs Java.",),
  )
  words = Page(
    render(tmp_path, {"rec": found}, not_run={"vqa": "not prepared"})
  ).words
  for part in (
    "rec accuracy 50.00 0.00 – 100.00 52.3 (−2.30) paper, table 1 1,234",
    "mean_iou 0.3333 – –",
    "shapes / test · n = 1,234 · made_up, version 3",
    "prompt <p>…</p>, greedy METEOR needs Java.",
    "boxes left out 4,321",
    "accuracy by category dogs 25.00 cats –",
    "checkpoint runs/shapes step 6,000 config shapes",
    "eval.py '--checkpoint=runs/my shapes'",
    "Not run vqa not prepared",
  ):
    assert part in words
  # Once in the summary, which has main numbers only, and once below.
  assert words.count("0.00 – 100.00") == 2
  assert words.count("0.3333") == 1


def test_what_people_and_models_wrote_is_no_markup(tmp_path):
  record = made_up.record(EVIL, {EVIL: [(0, 0, 1, 1)]}, [EVIL, "a dog"])
  found = outcome(
    record,
    metrics={EVIL: Metric(0.5)},
    notes=(EVIL,),
    counts={EVIL: 1},
    categories={EVIL: {EVIL: 0.5}},
  )
  source = render(
    tmp_path,
    {EVIL: found},
    title=EVIL,
    checkpoint=EVIL,
    command=[EVIL],
    not_run={EVIL: EVIL},
  )
  page = Page(source)
  tags = {tag for tag, _ in page.elements}
  assert not tags & {"script", "iframe", "link", "object", "embed", "base"}
  assert len(page.all("img")) == 1
  assert not any(
    name.startswith("on") for _, attrs in page.elements for name in attrs
  )
  assert page.text.count(EVIL) >= 12


def test_nothing_is_outside_of_the_file(tmp_path):
  source = render(tmp_path, {"rec": outcome()})
  assert not re.search(
    r"https?:|//|@import|@font-face", _without_pictures(source)
  )
  assert "url(" not in source
  links = [found.get("href") for found in Page(source).all("a")]
  assert links == ["#summary", "#task-1", "#summary"]


def _without_pictures(source):
  return re.sub(r"data:image/\w+;base64,[A-Za-z0-9+/=]+", "", source)


def test_its_policy_forbids_scripts_and_requests(tmp_path):
  (policy,) = Page(render(tmp_path, {"rec": outcome()})).all(
    "meta", **{"http-equiv": "Content-Security-Policy"}
  )
  assert policy["content"].split("; ")[:3] == [
    "default-src 'none'",
    "img-src data:",
    "style-src 'unsafe-inline'",
  ]


def test_the_same_outcomes_are_the_same_bytes(tmp_path):
  assert render(tmp_path, {"rec": outcome()}, "a") == render(
    tmp_path, {"rec": outcome()}, "b"
  )
  assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_pictures_are_of_bounded_size(tmp_path):
  noise = np.random.default_rng(0).integers(
    256, size=(1500, 3000, 3), dtype=np.uint8
  )
  found = outcome(pictures={0: (noise,)})
  source = render(tmp_path, {"rec": found})
  (picture,) = Page(source).all("img")
  assert picture["src"].startswith("data:image/jpeg;base64,")
  assert (picture["width"], picture["height"]) == ("640", "320")
  # Noise is the worst there is: about a byte for each pixel.
  assert len(picture["src"]) < 2 * 640 * 320


def test_small_pictures_keep_their_pixels(tmp_path):
  (picture,) = Page(render(tmp_path, {"rec": outcome()})).all("img")
  assert picture["src"].startswith("data:image/png;base64,")
  assert (picture["width"], picture["height"]) == ("64", "64")
  assert picture["class"] == "small"


def test_the_last_of_several_pictures_has_the_boxes(tmp_path):
  shots = tuple(made_up.picture(value=value) for value in (0, 99, 200))
  page = Page(render(tmp_path, {"rec": outcome(pictures={0: shots})}))
  assert [found["alt"] for found in page.all("img")] == [
    "Picture 1 of 3",
    "Picture 2 of 3",
    "Picture of r0",
  ]


def test_a_case_without_a_picture_is_its_text(tmp_path):
  page = Page(render(tmp_path, {"text": outcome(pictures={})}))
  assert not page.all("img")
  assert "IoU 0.50 r0" in page.words


def card(answer, lines=("a dog",), **options):
  record = made_up.record(0, answer, lines)
  return html_cards.make_card(outcome(record, **options), 0)


def test_boxes_lie_where_they_are_in_the_picture():
  true, predicted = card({"a dog": [(0.25, 0.5, 0.75, 0.625)]}).boxes
  assert true.is_true and not predicted.is_true
  assert true[3:7] == (0, 0, 500, 500)
  assert predicted[3:7] == (250, 500, 500, 125)
  assert true.phrase == predicted.phrase == 0


def test_boxes_a_model_may_give():
  odd = [(0.9, 0.9, 0.1, 0.1), (1.0, 1.0, 1.0, 1.0), (math.nan, 0, 1, 1)]
  boxes = [box for box in card({"a dog": odd}).boxes if not box.is_true]
  assert [box[3:7] for box in boxes] == [(100, 100, 800, 800), (996, 996, 4, 4)]


def test_small_boxes_are_above_large_ones():
  boxes = card({"a": [(0, 0, 0.1, 0.1)], "b": [(0, 0, 1, 1)]}).boxes
  assert [box.width for box in boxes] == [1000, 500, 100]


@pytest.mark.parametrize(
  ("answer", "said"),
  [
    ({"a dog": [(0, 0, 1, 1)]}, [("a dog", "")]),
    (
      {"a dog": [(0, 0, 1, 1), (0, 0, 0.5, 1)]},
      [("a dog", "2 predicted, 1 true")],
    ),
    (
      {"a cat": [(0, 0, 1, 1)]},
      [("a cat", "predicted only"), ("a dog", "true only")],
    ),
    ({"": [(0, 0, 1, 1)]}, [
      ("(boxes without a phrase)", "predicted only"), ("a dog", "true only"),
    ]),
    # No answer at all: its lines say so.
    ({}, [("a dog", "")]),
  ],
)  # fmt: skip
def test_phrases_say_what_is_amiss(answer, said):
  entries = card(answer).entries
  assert [(entry.text, entry.said) for entry in entries] == said
  assert len({entry.color for entry in entries}) == len(entries)


def test_phrases_are_found_in_the_lines():
  answer = {"a dog": [], "a dog's tail": [], "tail (long)": []}
  lines = ["a dog, a dogma, a dog's tail", "a tail (long)", "", "a dog"]
  found = card(answer, lines).lines
  assert [pieces for _, pieces in found] == [
    (("a dog", 0), (", a dogma, ", None), ("a dog's tail", 1)),
    # A word border is asked for on both sides of what was found.
    (("a ", None), ("tail (long)", 2)),
    (),
    (("a dog", 0),),
  ]


def test_long_lines_are_folded():
  short, long = "word " * 90, "word " * 100
  (first, pieces), (second, _) = card({}, [short, long]).lines
  assert first == ""
  assert pieces == ((short, None),)
  assert second == "word " * 31 + "word …"


def test_quality_is_shown_where_there_is_one():
  assert card({}).quality == ""
  assert card({}, quality=np.array([0.456])).quality == "0.46"
  assert card({}, quality=np.array([math.nan])).quality == ""


def test_cases_begin_with_the_worst(tmp_path):
  records = [made_up.record(i) for i in range(4)]
  cases = {"random": (0,), "best": (1,), "first": (3,), "worst": (2,)}
  page = Page(render(tmp_path, {"rec": made_up.outcome(records, cases=cases)}))
  kinds = [page.words.index(kind) for kind in ("Worst", "Best", "Random")]
  assert kinds == sorted(kinds)
  assert page.words.index("First") > kinds[-1]


def test_half_a_character_is_replaced(tmp_path):
  assert "a ? dog" in render(
    tmp_path, {"rec": outcome(made_up.record(0, lines=["a \ud83d dog"]))}
  )


def plot(value, published=(), interval=None, scale=1.0):
  return html_report.plot(
    html_report.comparison.Row("m", value, interval, scale, published, True)
  )


def test_plots_run_from_nothing_to_the_scale():
  assert plot(0.25, interval=(0.2, 0.5)) == (25, (20, 50), ())
  assert plot(50.0, (PAPER,), scale=100.0) == (50, None, (52.3,))
  assert plot(None) == (None, None, ())
  assert plot(-0.5).value == 0
  # Longer where something is above: 105 % of 200.
  assert plot(200.0, scale=100.0).value == pytest.approx(100 / 1.05, abs=0.01)
