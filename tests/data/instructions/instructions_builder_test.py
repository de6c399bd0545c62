"""Instructions in words from files of several layouts to records."""

import json

import data as datasets


def test_records_and_account(tmp_path):
  pair = {"inputs": "Is it red?", "targets": "yes"}
  instance = {"instruction_with_input": "Add 1 and 2.", "output": "3"}
  (tmp_path / "a.jsonl").write_text(
    "\n".join(
      json.dumps(row)
      for row in (pair, {"instruction": "Add", "instances": [instance]}, pair)
    )
    + "\n{half"
  )
  (tmp_path / "b.json").write_text(
    json.dumps([{"instruction": "Name a colour.", "input": "", "output": "é"}])
  )
  source = datasets.load_source(
    "instructions", "train", tmp_path / "out", files=f"{tmp_path}/*.json*"
  )
  found = set()
  for record in source.__getitems__(range(len(source))):
    assert record["images"] == []
    asked, answered = record["messages"]
    assert (asked["role"], answered["role"]) == ("user", "assistant")
    found.add((asked["text"], answered["text"]))
  assert found == {
    ("Is it red?", "yes"),
    ("Add 1 and 2.", "3"),
    ("Name a colour.", "é"),
  }
  [path] = (tmp_path / "out").rglob("manifest.json")
  manifest = json.loads(path.read_text())
  assert manifest["records"] == {"read": 5, "kept": 3}
  dropped = manifest["dropped"]["record"]
  assert {name: entry["count"] for name, entry in dropped.items()} == {
    "duplicate_id": 1,
    "bad_json": 1,
  }
  assert dropped["bad_json"]["examples"] == ["a.jsonl:4"]
  assert {name: e["count"] for name, e in manifest["notes"].items()} == {
    "flan_pair": 2,
    "unnatural_pair": 1,
    "alpaca_pair": 1,
  }
