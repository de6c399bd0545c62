"""Boxes by id, span and words; every line that is not as it should be."""

import json

import numpy as np
import pytest

from data.grit.build import precomputed
from data.grit.build.grounding import Request, ScoredBox
from data.grit.build.precomputed import PrecomputedGrounder

A, B = [0.1, 0.2, 0.6, 0.8], [0.0, 0.0, 0.5, 0.5]
CAPTION = "a dog and a cat"
DOG, CAT = (0, 5), (10, 15)


def write(folder, *lines):
  path = folder / "boxes.jsonl"
  lines = [x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines]
  path.write_bytes(b"".join(line + b"\n" for line in lines))
  return path


def ask(path, pair_id, *spans, caption=CAPTION):
  request = Request(pair_id, np.zeros((2, 2, 3), np.uint8), caption, spans)
  [found] = PrecomputedGrounder(path).ground([request])
  return found


def boxes(*corners_scores):
  return [ScoredBox(tuple(corners), score) for corners, score in corners_scores]


def phrase(**changes):
  return {"phrase": "a dog", "boxes": [A, B], "scores": [0.9, 0.8]} | changes


def test_by_words(tmp_path):
  path = write(tmp_path, {"id": 7, "phrases": [phrase()]})
  dog = boxes((A, 0.9), (B, 0.8))
  assert ask(path, "7", DOG, CAT) == [dog, []]
  found = ask(path, "7", (0, 6), (7, 12), caption="A  Dog a dog")
  assert found == [dog, dog]


def test_by_span(tmp_path):
  line = {"phrases": [{"start": 10, "end": 15.0, "boxes": [A]}], "id": "x"}
  path = write(tmp_path, line)
  assert ask(path, "x", DOG, CAT) == [[], boxes((A, 1.0))]


def test_by_span_and_words(tmp_path):
  """Of two that read the same, each has its own."""
  caption = "a dog, a dog"
  spans = [(0, 5), (7, 12)]
  phrases = [
    phrase(start=start, end=end, boxes=[box], scores=[0.9])
    for (start, end), box in zip(spans, (A, B), strict=True)
  ]
  path = write(tmp_path, {"id": 1, "phrases": phrases})
  expected = [boxes((A, 0.9)), boxes((B, 0.9))]
  assert ask(path, "1", *spans, caption=caption) == expected
  # Of a caption that was cleaned since, there are only the words to go by.
  both = boxes((A, 0.9), (B, 0.9))
  assert ask(path, "1", (1, 6), caption="[a dog]") == [both]
  # The second is not where the file says, the first is.
  found = ask(path, "1", (0, 5), (6, 11), caption="a dog a dog")
  assert found == expected


def test_a_span_of_other_words_is_not_taken(tmp_path):
  path = write(tmp_path, {"id": 1, "phrases": [phrase(start=0, end=5)]})
  assert ask(path, "1", (0, 5), caption="a cat") == [[]]


def test_records_of_grit(tmp_path):
  line = {
    "id": 7,
    "caption": CAPTION,
    "noun_chunks": [[10, 15, *A, 0.9], [0, 5, *B, 0.8], [10, 15, *B, 0.7]],
    "ref_exps": "not read",
  }
  path = write(tmp_path, line, {"id": 8, "noun_chunks": [[0, 5, *A, 0.5]]})
  dog, cat = boxes((B, 0.8)), boxes((A, 0.9), (B, 0.7))
  assert ask(path, "7", DOG, CAT) == [dog, cat]
  assert ask(path, "7", (2, 7), caption=": a cat") == [cat]
  assert ask(path, "8", DOG, CAT) == [boxes((A, 0.5)), []]


def test_many_pairs_in_any_order(tmp_path):
  lines = [
    {"id": i, "phrases": [phrase(boxes=[[i, 0, 1, 1]], scores=[0.5])]}
    for i in range(200)
  ]
  path = write(tmp_path, b"", *lines[::-1])
  grounder = PrecomputedGrounder(path, batch_size=3)
  assert grounder.batch_size == 3
  image = np.zeros((2, 2, 3), np.uint8)
  ids = [5, 199, 0, 300, 5]
  requests = [Request(str(i), image, CAPTION, (DOG,)) for i in ids]
  found = grounder.ground(requests)
  assert [[box.box_xyxy[0] for box in boxes] for [boxes] in found] == [
    [5],
    [199],
    [0],
    [],
    [5],
  ]
  assert grounder.ground([]) == []
  assert ask(path, "5") == []


def test_ids_with_one_hash(tmp_path, monkeypatch):
  monkeypatch.setattr(precomputed, "_hash", lambda pair_id: 1)
  path = write(
    tmp_path,
    {"id": "a", "phrases": [phrase(boxes=[A], scores=[0.5])]},
    {"id": "b", "phrases": [phrase(boxes=[B], scores=[0.5])]},
  )
  assert ask(path, "b", DOG) == [boxes((B, 0.5))]
  assert ask(path, "c", DOG) == [[]]


def test_boxes_are_not_checked_here(tmp_path):
  line = (
    b'{"id": 1, "phrases": [{"phrase": "a dog", "boxes": [[NaN, 9, -1, 1]]}]}'
  )
  [[box]] = ask(write(tmp_path, line), "1", DOG)
  assert np.isnan(box.box_xyxy[0]) and box.box_xyxy[1:] == (9.0, -1.0, 1.0)


def test_identity(tmp_path):
  path = write(tmp_path, {"id": 1, "phrases": []}, {"id": 2, "phrases": []})
  identity = PrecomputedGrounder(path).identity
  digest = identity.pop("digest")
  assert identity == {"kind": "precomputed", "file": path.name, "records": 2}
  write(tmp_path, {"id": 1, "phrases": []}, {"id": 3, "phrases": []})
  assert PrecomputedGrounder(path).identity["digest"] != digest


def test_little_memory_a_line(tmp_path):
  lines = [{"id": i, "phrases": [phrase()] * 20} for i in range(50)]
  grounder = PrecomputedGrounder(write(tmp_path, *lines))
  arrays = [v for v in vars(grounder).values() if isinstance(v, np.ndarray)]
  assert sum(array.nbytes for array in arrays) == 16 * 50


@pytest.mark.parametrize(
  "line", [b"{", {"id": 1, "phrases": [phrase(boxes=3)]}]
)
def test_a_bad_line(tmp_path, line):
  path = write(tmp_path, {"id": 0, "phrases": []}, b" ", line)
  with pytest.raises(ValueError, match="found") as error:
    PrecomputedGrounder(path)
  assert str(error.value).startswith(f"{path}:3: expected ")


def test_an_empty_file(tmp_path):
  assert ask(write(tmp_path), "1", DOG) == [[]]


def test_an_id_twice(tmp_path):
  lines = [{"id": i, "phrases": []} for i in (3, 1, "3", 2)]
  path = write(tmp_path, *lines)
  with pytest.raises(
    ValueError, match="3: expected one line for each pair, fo"
  ):
    PrecomputedGrounder(path)
  with pytest.raises(ValueError, match="found the id '3' of line 1 again"):
    PrecomputedGrounder(path)


def test_a_line_that_is_too_long(tmp_path, monkeypatch):
  monkeypatch.setattr(precomputed, "MAX_LINE_BYTES", 40)
  path = write(tmp_path, {"id": 1, "phrases": []}, {"id": 2, "url": "a" * 40})
  with pytest.raises(ValueError, match=r"jsonl:2: expected a line of at most"):
    PrecomputedGrounder(path)


def test_no_file(tmp_path):
  with pytest.raises(FileNotFoundError, match="expected a JSONL file of boxes"):
    PrecomputedGrounder(tmp_path / "no.jsonl")


def test_a_file_that_changed(tmp_path):
  path = write(tmp_path, {"id": 1, "phrases": []})
  grounder = PrecomputedGrounder(path)
  write(tmp_path, b"{")
  request = Request("1", np.zeros((2, 2, 3), np.uint8), CAPTION, (DOG,))
  with pytest.raises(ValueError, match="byte 0: expected a JSON object"):
    grounder.ground([request])
