"""LLaVA's conversations, good and bad, from files in its format."""

import json

import pytest

from data.building.drops import Drop, Dropped, DropReport
from data.llava_instruct import conversations

BUS = {
  "id": "000000033471",
  "image": "000000033471.jpg",
  "conversations": [
    {"from": "human", "value": "<image>\nWhat is on the bus?"},
    {"from": "gpt", "value": "An advertisement."},
    {"from": "human", "value": "Who drives?"},
    {"from": "gpt", "value": "Nobody <b>visible</b>.\nIt </image> stands."},
  ],
}


def load(name, where):
  """Every picture but one is there."""
  if name == "gone.jpg":
    raise Dropped(Drop.PICTURE_NOT_FOUND)
  return name.encode()


def read(tmp_path, *objects, lines=False):
  """Examples and report of a file of these objects."""
  path = tmp_path / "llava.json"
  texts = [json.dumps(fields) for fields in objects]
  path.write_text("\n".join(texts) if lines else "[" + ",\n".join(texts) + "]")
  report = DropReport()
  found = list(conversations.read_conversations(path, report, load))
  assert report.records_read == len(found) + report.total("record")
  return found, report


@pytest.mark.parametrize("lines", [False, True])
def test_conversation(tmp_path, lines):
  [(record_id, features)], report = read(tmp_path, BUS, lines=lines)
  assert record_id == features["id"]
  assert record_id.startswith("000000033471-")
  assert features["images"] == [b"000000033471.jpg"]
  assert [(m["role"], m["text"]) for m in features["messages"]] == [
    ("user", "<image>What is on the bus?"),
    ("assistant", "An advertisement."),
    ("user", "Who drives?"),
    ("assistant", "Nobody <b>visible</b>.\nIt </image> stands."),
  ]
  assert not report.counts


@pytest.mark.parametrize(
  ("value", "text"),
  [
    ("What is it?\n<image>", "What is it?<image>"),
    ("<image>\n\nWhat is it?\n", "<image>What is it?"),
    ("Is <image> a bus?", "Is <image> a bus?"),
    ("<image>", "<image>"),
  ],
)
def test_line_breaks_around_a_picture_go(tmp_path, value, text):
  turns = [{"from": "human", "value": value}, *BUS["conversations"][1:]]
  [(_, features)], _ = read(tmp_path, BUS | {"conversations": turns})
  assert features["messages"][0]["text"] == text


def test_several_pictures_none_and_a_system_message(tmp_path):
  both = [
    {"from": "system", "value": "Be brief."},
    {"from": "human", "value": "<image>\n<image>\nWhich is older?"},
    {"from": "gpt", "value": "The second."},
  ]
  none = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
  found, report = read(
    tmp_path,
    {"id": 3, "image": ["a.jpg", "b.jpg"], "conversations": both},
    {"conversations": none},
  )
  assert [len(features["images"]) for _, features in found] == [2, 0]
  assert found[0][1]["messages"][0]["role"] == "system"
  assert found[0][1]["messages"][1]["text"] == "<image><image>Which is older?"
  assert found[0][0].startswith("3-")
  assert len(found[1][0]) == 16
  assert not report.counts


def test_ids_tell_conversations_about_one_picture_apart(tmp_path):
  other = [
    {"from": "human", "value": "Why?\n<image>"},
    {"from": "gpt", "value": "So."},
  ]
  found, _ = read(tmp_path, BUS, BUS | {"conversations": other}, BUS)
  ids = [record_id for record_id, _ in found]
  assert ids[0] == ids[2] != ids[1]


def turns(*speakers):
  """A conversation in which the first holds the picture."""
  return [
    {"from": speaker, "value": "words" if i else "<image>\nwords"}
    for i, speaker in enumerate(speakers)
  ]


@pytest.mark.parametrize(
  ("changes", "reason"),
  [
    ({"conversations": None}, Drop.BAD_ROLES),
    ({"conversations": []}, Drop.BAD_ROLES),
    ({"conversations": ["Hi"]}, Drop.BAD_ROLES),
    ({"conversations": turns("gpt", "human")}, Drop.BAD_ROLES),
    ({"conversations": turns("human", "human", "gpt")}, Drop.BAD_ROLES),
    ({"conversations": turns("human", "gpt", "human")}, Drop.BAD_ROLES),
    ({"conversations": turns("human", "bard")}, Drop.BAD_ROLES),
    ({"conversations": [{"from": ["human"], "value": ""}]}, Drop.BAD_ROLES),
    (
      {"conversations": [{"from": "human"}, {"from": "gpt", "value": "b"}]},
      Drop.BAD_TEXT,
    ),
    (
      {"conversations": [*turns("human"), {"from": "gpt", "value": " "}]},
      Drop.EMPTY_TEXT,
    ),
    ({"image": None}, Drop.IMAGE_COUNT),
    ({"image": ["a.jpg", "b.jpg"]}, Drop.IMAGE_COUNT),
    ({"image": ""}, Drop.EMPTY_TEXT),
    ({"image": 33471}, Drop.BAD_TEXT),
    ({"image": "gone.jpg"}, Drop.PICTURE_NOT_FOUND),
    ({"id": True}, Drop.BAD_ID),
    ({"id": [1]}, Drop.BAD_ID),
    ({"id": "\ud83d"}, Drop.BAD_ID),
  ],
)
def test_bad_conversations(tmp_path, changes, reason):
  found, report = read(tmp_path, BUS | changes, BUS)
  assert len(found) == 1
  assert dict(report.counts) == {reason: 1}
  assert report.examples[reason] == ["llava.json:item 1"]


def test_not_an_object(tmp_path):
  found, report = read(tmp_path, BUS, [BUS], lines=False)
  assert len(found) == 1
  assert dict(report.counts) == {Drop.BAD_JSON: 1}


def test_half_a_file(tmp_path):
  path = tmp_path / "half.json"
  data = json.dumps([BUS, BUS | {"id": "2"}])
  path.write_text(data[: len(data) * 3 // 4])
  report = DropReport()
  found = list(conversations.read_conversations(path, report, load))
  assert len(found) == 1
  assert dict(report.counts) == {Drop.TRUNCATED_FILE: 1}
