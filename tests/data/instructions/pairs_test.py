"""Instructions in three layouts, from files in their formats."""

import json

import pytest

from data.building.drops import Drop, DropReport
from data.instructions import pairs

INSTANCE = {
  "instruction_with_input": "Name the colour of the text.\nThe red bus.",
  "input": "The red bus.",
  "constraints": "One word.",
  "output": "red",
}
UNNATURAL = {
  "instruction": "Name the colour of the text.\n{INPUT}",
  "instances": [INSTANCE],
}
REFORMULATION = {
  "instruction": "Which colour is told?",
  "instruction_with_input": "Which colour is told in: The red bus.",
  "input": "The red bus.",
  "output": "red",
}
FLAN = {"inputs": "Is it red? The bus is red.", "targets": "yes", "task": "x"}
ALPACA = {"instruction": "Add.", "input": "1 and 2", "output": "3"}


def read(tmp_path, *objects):
  """(asked, answered) and report of a file of lines."""
  path = tmp_path / "pairs.jsonl"
  path.write_text("\n".join(json.dumps(fields) for fields in objects))
  report = DropReport()
  found = []
  for record_id, features in pairs.read_pairs(path, report):
    assert features["id"] == record_id
    assert features["images"] == []
    asked, answered = features["messages"]
    assert (asked["role"], answered["role"]) == ("user", "assistant")
    found.append((asked["text"], answered["text"]))
  assert report.records_read == len(found) + report.total("record")
  return found, report


@pytest.mark.parametrize(
  ("fields", "expected", "notes"),
  [
    (
      UNNATURAL,
      [("Name the colour of the text.\nThe red bus.", "red")],
      {Drop.UNNATURAL_PAIR: 1},
    ),
    (
      UNNATURAL | {"reformulations": [REFORMULATION]},
      [
        ("Name the colour of the text.\nThe red bus.", "red"),
        ("Which colour is told in: The red bus.", "red"),
      ],
      {Drop.UNNATURAL_PAIR: 1, Drop.REFORMULATED_PAIR: 1},
    ),
    (FLAN, [("Is it red? The bus is red.", "yes")], {Drop.FLAN_PAIR: 1}),
    (ALPACA, [("Add.\n\n1 and 2", "3")], {Drop.ALPACA_PAIR: 1}),
    (ALPACA | {"input": ""}, [("Add.", "3")], {Drop.ALPACA_PAIR: 1}),
    (ALPACA | {"input": None}, [("Add.", "3")], {Drop.ALPACA_PAIR: 1}),
  ],
)
def test_layouts(tmp_path, fields, expected, notes):
  found, report = read(tmp_path, fields)
  assert found == expected
  assert dict(report.counts) == notes


def test_mixed_file(tmp_path):
  found, report = read(tmp_path, FLAN, UNNATURAL, ALPACA, FLAN)
  assert [answer for _, answer in found] == ["yes", "red", "3", "yes"]
  assert report.counts[Drop.FLAN_PAIR] == 2
  assert report.total("note") == 4


def test_list_of_alpaca(tmp_path):
  path = tmp_path / "alpaca_data.json"
  path.write_text(json.dumps([ALPACA, ALPACA | {"input": "2 and 2"}]))
  report = DropReport()
  ids = [record_id for record_id, _ in pairs.read_pairs(path, report)]
  assert len(set(ids)) == 2


def test_equal_pairs_have_one_id(tmp_path):
  path = tmp_path / "pairs.jsonl"
  path.write_text("\n".join(json.dumps(row) for row in (FLAN, ALPACA, FLAN)))
  ids = [record_id for record_id, _ in pairs.read_pairs(path, DropReport())]
  assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize(
  ("fields", "reason"),
  [
    ([FLAN], Drop.BAD_JSON),
    ({"prompt": "a", "completion": "b"}, Drop.UNKNOWN_LAYOUT),
    ({"inputs": "a"}, Drop.UNKNOWN_LAYOUT),
    ({"instruction": "a", "instances": "b"}, Drop.UNKNOWN_LAYOUT),
    (UNNATURAL | {"reformulations": "b"}, Drop.UNKNOWN_LAYOUT),
    ({"instruction": "a", "instances": []}, Drop.EMPTY_TEXT),
    (FLAN | {"targets": " \n"}, Drop.EMPTY_TEXT),
    (FLAN | {"inputs": ["a"]}, Drop.BAD_TEXT),
    (FLAN | {"targets": "\ud83d"}, Drop.BAD_TEXT),
    (ALPACA | {"input": 3}, Drop.BAD_TEXT),
    ({"instances": [INSTANCE | {"output": None}]}, Drop.BAD_TEXT),
    ({"instances": ["red"]}, Drop.BAD_TEXT),
    (FLAN | {"inputs": "What shows <image>?"}, Drop.IMAGE_COUNT),
  ],
)
def test_bad_objects(tmp_path, fields, reason):
  found, report = read(tmp_path, ALPACA, fields)
  assert len(found) == 1
  drops = {r: n for r, n in report.counts.items() if r.level != "note"}
  assert drops == {reason: 1}
  assert report.examples[reason] == ["pairs.jsonl:2"]


def test_a_bad_instance_costs_itself(tmp_path):
  instances = [INSTANCE | {"output": ""}, INSTANCE]
  found, report = read(tmp_path, {"instances": instances})
  assert len(found) == 1
  assert report.counts[Drop.EMPTY_TEXT] == 1
