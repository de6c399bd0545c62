"""What a line says, and each way to say it wrongly."""

import json

import pytest

from data.grit.build import box_lines
from data.grit.build.box_lines import BadLine, Phrase
from data.grit.build.grounding import ScoredBox

A, B = [0.1, 0.2, 0.6, 0.8], [0, 0, 0.5, 0.5]


def phrase(**changes):
  return {"phrase": "a dog", "boxes": [A, B], "scores": [0.9, 0.8]} | changes


def test_phrases():
  found = [ScoredBox(tuple(A), 0.9), ScoredBox((0.0, 0.0, 0.5, 0.5), 0.8)]
  line = {
    "id": 7,
    "phrases": [
      phrase(phrase=" A  Dog"),
      phrase(start=0, end=5.0, scores=[1, 0.5]),
      {"start": 2, "end": 3, "boxes": []},
    ],
  }
  assert box_lines.parse(json.dumps(line).encode()) == (
    "7",
    [
      Phrase(None, "a dog", found),
      Phrase(
        (0, 5),
        "a dog",
        [ScoredBox(found[0][0], 1.0), found[1]._replace(score=0.5)],
      ),
      Phrase((2, 3), None, []),
    ],
  )


def test_items_of_grit():
  line = {"id": "x", "noun_chunks": [[2, 5, *A, 0.9]]}
  box = ScoredBox(tuple(A), 0.9)
  assert box_lines.parse(json.dumps(line).encode()) == (
    "x",
    [Phrase((2, 5), None, [box])],
  )
  line |= {"caption": "a Dog", "phrases": None}
  assert box_lines.parse(json.dumps(line).encode()) == (
    "x",
    [Phrase((2, 5), "dog", [box])],
  )


@pytest.mark.parametrize(
  ("line", "message"),
  [
    (b"{", "expected a JSON object, found b'{"),
    (b"[1]", r"expected a JSON object, found b'\[1\]"),
    ({"phrases": []}, 'expected an "id", a number or a text, found None'),
    ({"id": [1], "phrases": []}, r'expected an "id", .*, found \[1\]'),
    ({"id": 1, "boxes": []}, r"\"phrases\" or \"noun_chunks\", found \['id'"),
    ({"id": 1, "phrases": {}}, 'expected a list of "phrases", found {}'),
    ({"id": 1, "noun_chunks": 3}, 'expected a list of "noun_chunks", found 3'),
    ({"id": 1, "phrases": ["a"]}, "expected an object of a phrase, found 'a'"),
    ({"id": 1, "phrases": [phrase(phrase=" ")]}, "expected words .*found ' '"),
    (
      {"id": 1, "phrases": [{"boxes": []}]},
      r"expected \"phrase\", or \"start\" and \"end\", found \['boxes'\]",
    ),
    ({"id": 1, "phrases": [phrase(start=3)]}, "found 3 and None"),
    ({"id": 1, "phrases": [phrase(start=3, end=3)]}, "found 3 and 3"),
    ({"id": 1, "phrases": [phrase(start=-1, end=3)]}, "found -1 and 3"),
    ({"id": 1, "phrases": [phrase(start=0.5, end=3)]}, "found 0.5 and 3"),
    (
      {"id": 1, "caption": "a", "phrases": [phrase(start=0, end=3)]},
      "expected start and end of a phrase in the caption, found 0 and 3",
    ),
    ({"id": 1, "phrases": [phrase(boxes=None)]}, 'list of "boxes", found None'),
    ({"id": 1, "phrases": [phrase(boxes=A)]}, "box of four numbers, found 0.1"),
    (
      {"id": 1, "phrases": [phrase(boxes=[A, [1, 2]])]},
      r"expected a box of four numbers, found \[1, 2\]",
    ),
    ({"id": 1, "phrases": [phrase(boxes=[A, [1, 2, 3, "4"]])]}, "found '4'"),
    (
      {"id": 1, "phrases": [phrase(boxes=[A, [1, 2, 3, 10**400]])]},
      "expected a number in a box or as score, found 1000.*…",
    ),
    ({"id": 1, "phrases": [phrase(scores=[1])]}, r"scores\" as boxes \(2\), f"),
    ({"id": 1, "phrases": [phrase(scores=[1, True])]}, "found True"),
    (
      {"id": 1, "noun_chunks": [[0, 5, *A]]},
      r"expected \[start, end, x1, y1, x2, y2, score\] in noun_chunks, found",
    ),
    (
      {"id": 1, "caption": "a dog", "noun_chunks": [[0, 6, *A, 0.5]]},
      "expected start and end of a phrase in the caption, found 0 and 6",
    ),
  ],
)
def test_bad_lines(line, message):
  data = line if isinstance(line, bytes) else json.dumps(line).encode()
  with pytest.raises(BadLine, match=message) as error:
    box_lines.parse(data)
  assert str(error.value).startswith("expected ")
