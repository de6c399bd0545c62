"""Counts, their sums, and the table."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.building.drops import Drop, DropReport
from data.grit.build.statistics import BINS, Statistics

BOX = (0.1, 0.2, 0.6, 0.8)


def record(*spans_scores, caption="a dog in a field of flowers"):
  items = [[start, end, *BOX, score] for start, end, score in spans_scores]
  return {"caption": caption, "ref_exps": items, "noun_chunks": items[:1]}


def test_counts():
  found = Statistics()
  found.add(record((0, 27, 0.92), (0, 27, 0.7), (9, 16, 0.7)))
  found.add(record((0, 5, 1.0)))
  assert (found.images, found.spans, found.boxes) == (2, 3, 4)
  assert found.words == 7 + 2 + 2
  assert (found.chunk_spans, found.chunk_boxes) == (2, 2)
  assert {at: n for at, n in enumerate(found.scores) if n} == {
    14: 2,
    18: 1,
    19: 1,
  }


@pytest.mark.parametrize(
  ("score", "at"), [(0.0, 0), (0.65, 13), (0.6999, 13), (0.95, 19), (1.0, 19)]
)
def test_bins(score, at):
  found = Statistics()
  found.add(record((0, 5, score)))
  assert found.scores.index(1) == at


_RECORDS = st.lists(
  st.lists(
    st.tuples(st.integers(0, 5), st.integers(6, 27), st.floats(0, 1)),
    min_size=1,
    max_size=4,
  ),
  max_size=5,
)


@given(_RECORDS, st.integers(0, 5))
def test_parts_sum_up(records, cut):
  whole, first, second = Statistics(), Statistics(), Statistics()
  for at, items in enumerate(records):
    whole.add(record(*items))
    (first if at < cut else second).add(record(*items))
  told = json.loads(json.dumps(first.as_dict()))
  merged = Statistics.from_dict(told)
  assert merged == first
  merged.merge(second)
  assert merged == whole
  assert sum(whole.scores) == whole.boxes
  # What was merged is not changed by what comes after.
  assert told == first.as_dict()


def test_table():
  found, report = Statistics(), DropReport(title="GrIT")
  for _ in range(1500):
    found.add(record((0, 27, 0.9), (9, 16, 0.7)))
  found.add(record((0, 5, 0.9)))
  report.records_read, report.records_kept = 1502, 1501
  report.add(Drop.NO_BOX_FOUND, "a:1")
  lines = found.table(report).splitlines()
  assert lines[:10] == [
    "                      built  GrIT (paper)",
    "images                1,501    90,614,680",
    "expressions           3,001   114,978,233",
    "boxes                 3,001   137,349,210",
    "words an expression    4.50           4.7",
    "expressions an image   2.00          1.27",
    "boxes an image         2.00          1.52",
    "boxes an expression    1.00          1.19",
    "noun chunks           1,501             -",
    "boxes of noun chunks  1,501             -",
  ]
  assert lines[10:18] == [
    "",
    "scores of boxes",
    "  0.70-0.75         1,500  " + "#" * 40,
    "  0.75-0.80             0",
    "  0.80-0.85             0",
    "  0.85-0.90             0",
    "  0.90-0.95         1,501  " + "#" * 40,
    "",
  ]
  assert lines[18:] == report.table().splitlines()
  assert "1501 of 1502 records" in lines[18]
  assert "no_box_found" in lines[-1]


def test_table_of_nothing():
  lines = Statistics().table(DropReport()).splitlines()
  assert lines[4] == "words an expression       -           4.7"
  assert "scores of boxes: none" in lines
  assert len(Statistics().scores) == BINS
