"""Each reason to lose a box, and what suppression must and must not do."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.building.drops import Drop, DropReport
from data.grit.build import selection
from data.grit.build.grounding import ScoredBox
from data.grit.build.selection import SelectionOptions

BOX = (0.125, 0.25, 0.625, 0.75)


def select(found, **options):
  """The kept boxes and the report, in which every box is accounted for."""
  report = DropReport()
  found = [[ScoredBox(*box) for box in boxes] for boxes in found]
  kept = selection.select(found, SelectionOptions(**options), report, "a:1")
  assert report.items_read == sum(map(len, found))
  assert report.items_kept == sum(map(len, kept))
  assert report.items_read == report.items_kept + report.total("item")
  assert len(kept) == len(found)
  return kept, report


def only(report, reason, count=1):
  assert dict(report.counts) == {reason: count}


def iou(a, b):
  """By hand, another way than the code's."""
  width = min(a[2], b[2]) - max(a[0], b[0])
  height = min(a[3], b[3]) - max(a[1], b[1])
  shared = max(width, 0) * max(height, 0)
  areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a, b)]
  return shared / (sum(areas) - shared)


def test_the_released_example_is_kept():
  cover = (0.019644069503434333, 0.31054004033406574)
  cover += (0.9622142865754519, 0.9603442351023356)
  hanger = (0.019422357885505368, 0.027634161214033764)
  hanger += (0.9593302408854166, 0.969467560450236)
  assert iou(cover, hanger) == pytest.approx(0.688, abs=5e-4)
  kept, report = select([[(hanger, 0.67520964)], [(cover, 0.79298526)]])
  assert [len(boxes) for boxes in kept] == [1, 1]
  assert kept[1][0].box_xyxy == tuple(np.float32(cover).tolist())
  assert kept[1][0].score == 0.79298526
  assert not report.counts
  # Boxes of one phrase that overlap like this are one thing, found twice.
  kept, report = select([[(hanger, 0.67520964), (cover, 0.79298526)]])
  assert [box.score for box in kept[0]] == [0.79298526]
  only(report, Drop.SUPPRESSED_BOX)


@pytest.mark.parametrize(
  ("box", "score", "reason"),
  [
    ((math.nan, 0.0, 1.0, 1.0), 0.9, Drop.NOT_FINITE),
    ((0.0, 0.0, math.inf, 1.0), 0.9, Drop.NOT_FINITE),
    (BOX, math.nan, Drop.NOT_FINITE),
    (BOX, 1.5, Drop.BAD_SCORE),
    (BOX, -0.1, Drop.BAD_SCORE),
    (BOX, 0.65, Drop.LOW_SCORE),
    (BOX, 0.1, Drop.LOW_SCORE),
    ((0.0, 0.0, 1.5, 1.0), 0.9, Drop.BOX_OUTSIDE),
    ((-0.5, 0.0, 1.0, 1.0), 0.9, Drop.BOX_OUTSIDE),
    ((0.5, 0.5, 0.5, 0.75), 0.9, Drop.BOX_EMPTY),
    ((0.5, 0.75, 0.75, 0.5), 0.9, Drop.BOX_EMPTY),
    ((0.5, 0.5, 0.5 + 1e-9, 0.75), 0.9, Drop.BOX_EMPTY),
  ],
)
def test_bad_boxes(box, score, reason):
  kept, report = select([[(BOX, 0.9)], [(box, score)]])
  assert kept == [[ScoredBox(BOX, 0.9)], []]
  only(report, reason)
  assert report.examples[reason] == ["a:1"]


@pytest.mark.parametrize("box", [(0.0, 0.0, 1.0), None, "abcd", (0, 0, "a", 1)])
def test_what_is_no_box(box):
  report = DropReport()
  # A grounder of others may give anything.
  found = [[ScoredBox.__new__(ScoredBox, box, 0.9)]]
  assert selection.select(found, SelectionOptions(), report, "a") == [[]]
  only(report, Drop.BAD_BOX)


def test_numbers_of_numpy_are_numbers():
  box = tuple(np.float32(corner) for corner in BOX)
  report = DropReport()
  found = [[ScoredBox.__new__(ScoredBox, box, np.float32(0.75))]]
  kept = selection.select(found, SelectionOptions(), report, "a")
  assert kept == [[ScoredBox(BOX, 0.75)]]
  assert json.dumps(kept) == "[[[[0.125, 0.25, 0.625, 0.75], 0.75]]]"


def test_a_score_just_above_is_kept():
  kept, _ = select([[(BOX, math.nextafter(0.65, 1))]])
  assert len(kept[0]) == 1
  assert len(select([[(BOX, 0.5)]], min_score=0.25)[0][0]) == 1


def test_a_box_that_sticks_out_a_little_is_clipped():
  kept, report = select([[((-0.005, 0.5, 1.005, 1.0), 0.9)]])
  assert kept[0][0].box_xyxy == (0.0, 0.5, 1.0, 1.0)
  only(report, Drop.BOX_CLIPPED)


def test_a_clipped_box_that_is_not_kept_is_no_note():
  inside = (0.0, 0.5, 1.0, 1.0)
  found = [[(inside, 0.9), ((-0.005, 0.5, 1.005, 1.0), 0.8)]]
  only(select(found)[1], Drop.REPEATED_BOX)


def test_sizes():
  thin, wide = (0.0, 0.0, 0.125, 1.0), (0.0, 0.0, 1.0, 0.75)
  found = [[(thin, 0.9)], [(wide, 0.9)], [((0.0, 0.0, 1.0, 1.0), 0.7)]]
  assert not select(found)[1].counts
  only(select(found, min_side=0.25)[1], Drop.SMALL_BOX)
  assert not select(found, min_side=0.125)[1].counts
  only(select(found, max_area=0.75)[1], Drop.LARGE_BOX)
  only(select(found, max_area=0.5)[1], Drop.LARGE_BOX, 2)


def test_the_same_box_again():
  found = [[(BOX, 0.7), (BOX, 0.9), (BOX, 0.9)]]
  kept, report = select(found, nms_iou_phrase=1.0)
  assert kept == [[ScoredBox(BOX, 0.9)]]
  only(report, Drop.REPEATED_BOX, 2)
  # Of another phrase it is another box.
  kept, report = select([[(BOX, 0.7)], [(BOX, 0.9)]], nms_iou=1.0)
  assert list(map(len, kept)) == [1, 1]
  assert not report.counts


def test_equal_scores_go_by_their_order():
  near = (0.125, 0.25, 0.625, 0.765625)
  kept, report = select([[(near, 0.9)], [(BOX, 0.9)]])
  assert kept == [[ScoredBox(near, 0.9)], []]
  only(report, Drop.SUPPRESSED_BOX)
  assert select([[(BOX, 0.9), (near, 0.9)]])[0] == [[ScoredBox(BOX, 0.9)]]


def test_a_suppressed_box_suppresses_none():
  # Each overlaps the next one; the first and the last do not overlap enough.
  chain = [(0.0, 0.0, 0.5, 1.0), (0.125, 0.0, 0.625, 1.0)]
  chain.append((0.25, 0.0, 0.75, 1.0))
  scores = (0.9, 0.8, 0.7)
  kept, _ = select([list(zip(chain, scores, strict=True))], nms_iou_phrase=0.5)
  assert [box.score for box in kept[0]] == [0.9, 0.7]


def test_the_best_box_comes_first():
  left, right = (0.0, 0.0, 0.25, 0.25), (0.5, 0.5, 0.75, 0.75)
  kept, _ = select([[(left, 0.7), (right, 0.9)], []])
  assert [box.score for box in kept[0]] == [0.9, 0.7]
  assert kept[1] == []


def test_nothing_found():
  assert select([])[0] == []
  assert select([[], []])[0] == [[], []]


@pytest.mark.parametrize(
  "field", [field.name for field in dataclasses.fields(SelectionOptions)]
)
@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan])
def test_bad_options(field, value):
  with pytest.raises(ValueError, match=f"expected {field} within 0 and 1"):
    SelectionOptions(**{field: value})


def test_options_as_json():
  told = json.loads(json.dumps(dataclasses.asdict(SelectionOptions())))
  assert SelectionOptions(**told) == SelectionOptions()


# ---- whatever is found

_CORNER = st.integers(0, 16).map(lambda n: n / 16)


@st.composite
def _box(draw):
  x1, x2 = sorted(draw(st.lists(_CORNER, min_size=2, max_size=2, unique=True)))
  y1, y2 = sorted(draw(st.lists(_CORNER, min_size=2, max_size=2, unique=True)))
  return x1, y1, x2, y2


@st.composite
def _found(draw):
  """Boxes of three phrases, their scores all different."""
  corners = draw(st.lists(_box(), max_size=14))
  order = draw(st.permutations(range(len(corners))))
  phrases = [draw(st.integers(0, 2)) for _ in corners]
  found = [[], [], []]
  for box, rank, phrase in zip(corners, order, phrases, strict=True):
    found[phrase].append((box, 0.7 + rank / 100))
  return found


_LIMITS = st.sampled_from([0.0, 0.25, 0.5, 0.6, 0.9, 1.0])


def _flat(found):
  return [(at, *box) for at, boxes in enumerate(found) for box in boxes]


@given(_found(), _LIMITS, _LIMITS)
def test_suppression(found, across, within):
  options = {"nms_iou": across, "nms_iou_phrase": within}
  kept, _ = select(found, **options)

  def too_much(a, b):
    return iou(a[1], b[1]) > (within if a[0] == b[0] else across)

  kept_boxes = _flat(kept)
  lost = set(_flat(found)) - set(kept_boxes)
  for at, one in enumerate(kept_boxes):
    assert not any(too_much(one, other) for other in kept_boxes[:at])
  for one in lost:
    better = [other for other in kept_boxes if other[2] > one[2]]
    same = [other for other in better if other[:2] == one[:2]]
    assert same or any(too_much(one, other) for other in better)
  # The best box of all is never lost, and what is kept is kept again.
  if any(found):
    assert max(_flat(found), key=lambda box: box[2]) in kept_boxes
  assert select(kept, **options)[0] == kept


@given(_found(), st.randoms(use_true_random=False))
def test_the_order_does_not_matter_where_scores_differ(found, random):
  expected, _ = select(found)
  shuffled = [random.sample(boxes, len(boxes)) for boxes in found]
  assert select(shuffled)[0] == expected
  # Nor does the order of the phrases.
  assert select(shuffled[::-1])[0] == expected[::-1]


@given(_box(), _box())
def test_iou(one, other):
  found = selection.iou(one, other)
  assert found == pytest.approx(iou(one, other), abs=1e-12)
