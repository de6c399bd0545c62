"""Answers survive a kill at any byte, and are never mistaken for others'."""

import json
import math
import pathlib
import threading

import numpy as np
import pytest

from kosmos2_jax.evals import store as store_lib
from kosmos2_jax.evals.protocol import Question, Record
from kosmos2_jax.evals.store import Store
from tests.training.division_test import Room, ThreadGroup

HEADER = {
  "task": "t",
  "evaluator": "echo",
  "version": "1",
  "options": {"shots": (1, 2)},
  "checkpoint": "runs/a",
  "checkpoint_hash": "abc",
}
RECORDS = [
  Record("a", "p", {"text": "größe\n\u2028"}, None, [0.1, 1e-310, 2**60]),
  Record("b", "p", [], {"x": True}, {"boxes": [[0.1 + 0.2, 1 / 3]]}),
  Record("c", "q", "", 1, None),
]


def filled(path, records=RECORDS, **header):
  store = Store(path, HEADER | header)
  assert store.answers() == {}
  store.append(records[:1])
  store.append(records[1:])
  return path.read_bytes()


def test_what_is_added_is_found_again(tmp_path):
  path = tmp_path / "deep" / "predictions.jsonl"
  content = filled(path)
  found = Store(path, HEADER).answers()
  assert list(found.values()) == RECORDS
  assert path.read_bytes() == content
  first, *lines = content.decode().split("\n")[:-1]
  assert json.loads(first) == {
    **HEADER,
    "format": 1,
    "options": {"shots": [1, 2]},
  }
  assert [json.loads(line)["id"] for line in lines] == ["a", "b", "c"]


def test_numbers_come_back_to_the_bit(tmp_path):
  rng = np.random.default_rng(0)
  numbers = rng.integers(0, 2**63, 2000).view(np.float64)
  numbers = [float(x) for x in numbers if np.isfinite(x)]
  numbers += [float(np.float32(0.1)), -0.0, math.inf, 5e-324]
  filled(tmp_path / "p.jsonl", [Record("a", "a", None, None, numbers)])
  [record] = Store(tmp_path / "p.jsonl", HEADER).answers().values()
  assert [x.hex() for x in record.answer] == [x.hex() for x in numbers]


def test_cut_at_every_byte_the_whole_lines_stay(tmp_path):
  path = tmp_path / "p.jsonl"
  content = filled(path)
  ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
  header_end = ends[0]
  for size in range(len(content) + 1):
    path.write_bytes(content[:size])
    store = Store(path, HEADER)
    found = store.answers()
    whole = sum(end <= size for end in ends[1:])
    assert list(found.values()) == RECORDS[:whole]
    # It goes on behind a whole line, and the header is there again.
    assert path.read_bytes() == content[: max(ends[whole], header_end)]
    store.append(RECORDS[whole:])
    assert path.read_bytes() == content


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"checkpoint_hash": "abd"}, "checkpoint_hash is 'abc', here it is 'abd'"),
    ({"version": "2"}, "version is '1', here it is '2'"),
    ({"options": {}}, r"options is {'shots': \[1, 2\]}, here it is {}"),
    ({"more": 1}, "more is None, here it is 1"),
  ],
)
def test_answers_of_another_run_are_refused(tmp_path, change, words):
  path = tmp_path / "p.jsonl"
  content = filled(path)
  with pytest.raises(ValueError, match=f"{words}; take another folder") as told:
    Store(path, HEADER | change).answers()
  assert "--restart" in str(told.value)
  assert "\n" not in str(told.value)
  assert path.read_bytes() == content
  # Unless one says so.
  assert Store(path, HEADER | change, other="restart").answers() == {}
  assert path.read_bytes() != content


def test_the_same_parameters_elsewhere_go_on(tmp_path):
  filled(tmp_path / "p.jsonl")
  found = Store(tmp_path / "p.jsonl", HEADER | {"checkpoint": "b"}).answers()
  assert len(found) == 3


def test_restart_throws_away(tmp_path):
  path = tmp_path / "p.jsonl"
  filled(path)
  store = Store(path, HEADER, restart=True)
  assert store.answers() == {}
  store.append(RECORDS[:1])
  # Once: the second reading is of the new file.
  assert list(store.answers().values()) == RECORDS[:1]


@pytest.mark.parametrize(
  ("line", "words"),
  [("{", "line 3 of .* is no record"), ('{"id": 1}', "line 3 .* no record")],
)
def test_a_damaged_line_is_named(tmp_path, line, words):
  path = tmp_path / "p.jsonl"
  lines = filled(path).decode().split("\n")
  lines[2] = line
  path.write_text("\n".join(lines))
  with pytest.raises(ValueError, match=words):
    Store(path, HEADER).answers()
  path.write_text("words\n")
  with pytest.raises(ValueError, match="its first line is no header"):
    Store(path, HEADER).answers()


def test_an_answer_that_json_cannot_say_is_no_answer():
  assert store_lib.plain({"a": (1, 0.5)}) == {"a": [1, 0.5]}
  with pytest.raises(TypeError, match="float32"):
    store_lib.plain(np.float32(1))


@pytest.mark.parametrize("name", ["group", "ask", "truth"])
def test_a_question_that_changed_is_named(name):
  question = Question("a", "p", (), {"text": "x"}, None)
  record = Record("a", "p", {"text": "x"}, None, 1)
  store_lib.check_same(question, record, "f")
  with pytest.raises(ValueError, match=f"'a' has another '{name}' in f"):
    store_lib.check_same(question._replace(**{name: "y"}), record, "f")


def _on_all(count, work):
  room, found = Room(count), [None] * count

  def run(index):
    found[index] = work(ThreadGroup(index, room))

  threads = [threading.Thread(target=run, args=[i]) for i in range(count)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return found


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_several_processes_one_writes_and_all_read(
  tmp_path, monkeypatch, piece
):
  monkeypatch.setattr(store_lib, "_PIECE_BYTES", piece)
  alone = filled(tmp_path / "alone.jsonl")

  def work(group):
    # The others do not even see the folder.
    path = tmp_path / f"{group.index}" / "p.jsonl"
    store = Store(path, HEADER, group=group)
    assert store.answers() == {}
    store.append(RECORDS)
    return list(Store(path, HEADER, group=group).answers().values())

  assert _on_all(3, work) == [RECORDS] * 3
  assert (tmp_path / "0" / "p.jsonl").read_bytes() == alone
  assert {path.name for path in tmp_path.iterdir()} == {"0", "alone.jsonl"}


def test_what_one_refuses_all_refuse(tmp_path):
  filled(tmp_path / "p.jsonl")

  def work(group):
    header = HEADER | {"version": "2"}
    try:
      Store(tmp_path / "p.jsonl", header, group=group).answers()
    except ValueError as error:
      return str(error)

  first, second = _on_all(2, work)
  assert first == second
  assert "version" in first
  assert isinstance(tmp_path, pathlib.Path)
