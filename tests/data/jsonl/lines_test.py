"""What lines say, and what is said of those that say it wrongly."""

import json

import pytest

CAPTION = {"image": "a.jpg", "caption": "a red box on a red box"}
BOX = [0.0, 0.0, 0.5, 0.5]
TURNS = [
  {"role": "user", "content": "What is it?"},
  {"role": "assistant", "content": "a red box"},
]


def boxes_of(part):
  return [tuple(round(v, 6) for v in box) for box in part.boxes.xyxy]


def test_caption_with_phrases(folder):
  phrases = [
    {"text": "a red box", "occurrence": 1, "boxes": [BOX, [0.5, 0, 1, 1]]},
    {"span": [2, 5], "box": BOX},
    {"span": [10, 12], "text": "on", "box": [0, 0, 1, 1]},
  ]
  line = folder.line(CAPTION | {"phrases": phrases})
  assert line.form == "caption"
  assert line.caption == CAPTION["caption"]
  spans = [(p.start, p.end) for p in line.phrases]
  assert spans == [(13, 22), (2, 5), (10, 12)]
  assert boxes_of(line.phrases[0]) == [(0, 0, 0.5, 0.5), (0.5, 0, 1, 1)]
  assert (line.id, line.split) == ("boxes.jsonl:1", "train")


def test_caption_alone(folder):
  line = folder.line(CAPTION | {"id": 7, "split": "test"})
  assert line.phrases == ()
  assert (line.id, line.split) == ("7", "test")


def test_question(folder):
  one = folder.line({"image": "a.jpg", "question": "What?", "answer": "red"})
  assert (one.question, one.answers) == ("What?", ("red",))
  several = {"image": "a.jpg", "question": "What?", "answers": ["red", "box"]}
  assert folder.line(several).answers == ("red", "box")


def test_expression(folder):
  one = folder.line({"image": "a.jpg", "expression": "the box", "box": BOX})
  [expression] = one.expressions
  assert expression.text == "the box"
  assert boxes_of(expression) == [(0, 0, 0.5, 0.5)]
  several = folder.line(
    {
      "image": "a.jpg",
      "expressions": [
        {"text": "the box", "box": BOX},
        {"text": "all", "boxes": [BOX, [0, 0, 1, 1]]},
      ],
    }
  )
  assert [len(boxes_of(e)) for e in several.expressions] == [1, 2]


def test_messages_with_pictures_where_they_stand(folder):
  folder.picture("b.jpg")
  turns = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "<image> or <image>?"},
    {
      "role": "assistant",
      "content": "the second",
      "phrases": [{"text": "second", "image": 1, "box": BOX}],
    },
  ]
  line = folder.line({"images": ["a.jpg", "b.jpg"], "messages": turns})
  assert line.images == ("a.jpg", "b.jpg")
  assert [m.role for m in line.messages] == ["system", "user", "assistant"]
  assert line.messages[1].text == "<image> or <image>?"
  [phrase] = line.messages[2].phrases
  assert (phrase.start, phrase.end, phrase.image) == (4, 10, 1)


def test_messages_that_do_not_say_where_pictures_stand(folder):
  turns = [
    {**TURNS[0], "phrases": [{"text": "it", "box": BOX}]},
    TURNS[1],
  ]
  line = folder.line({"image": "a.jpg", "messages": turns})
  text = line.messages[0].text
  assert text == "<image>What is it?"
  [phrase] = line.messages[0].phrases
  assert text[phrase.start : phrase.end] == "it"


def test_messages_without_pictures(folder):
  assert folder.line({"messages": TURNS}).images == ()


@pytest.mark.parametrize(
  ("style", "box"),
  [
    ({}, [0, 0, 0.5, 0.5]),
    ({"box_format": "pixels"}, [0, 0, 50, 40]),
    ({"box_format": "pixels", "box_order": "xywh"}, [0, 0, 50, 40]),
    ({"box_order": "xywh"}, [0, 0, 0.5, 0.5]),
  ],
)
def test_boxes_written_in_every_way(folder, style, box):
  fields = {"image": "a.jpg", "expression": "the box", "box": box}
  [in_line] = folder.line(fields | style).expressions
  [in_options] = folder.line(fields, **style).expressions
  assert boxes_of(in_line) == boxes_of(in_options) == [(0, 0, 0.5, 0.5)]


def test_order_matters_where_the_corner_is_not_zero(folder):
  fields = {"image": "a.jpg", "expression": "x", "box": [0.25, 0.25, 0.5, 0.5]}
  [xyxy] = folder.line(fields).expressions
  [xywh] = folder.line(fields | {"box_order": "xywh"}).expressions
  assert boxes_of(xyxy) == [(0.25, 0.25, 0.5, 0.5)]
  assert boxes_of(xywh) == [(0.25, 0.25, 0.75, 0.75)]


def test_corner_just_outside_is_moved_and_counted(folder):
  fields = {"image": "a.jpg", "expression": "x", "box": [-0.005, 0, 1.005, 1]}
  [example], report = folder.read(fields)
  assert boxes_of(example.line.expressions[0]) == [(0, 0, 1, 1)]
  assert {r.name: n for r, n in report.counts.items()} == {"BOX_CLIPPED": 1}


def phrase(**fields):
  return CAPTION | {"phrases": [fields]}


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    ("{", "1: expected one JSON object, found {, which is no JSON (Expecting"),
    ("[1]", "1: expected a JSON object such as"),
    ('{"id": 1, "id": 2}', 'found "id" 2 times'),
    ('{"id": NaN}', "expected numbers of JSON, found NaN"),
    ("[" * 100_000, "found one too deep or with"),
    ({"image": "a.jpg"}, 'expected one of "caption", "question"'),
    ({"image": "a.jpg", "captoin": "x"}, "captoin: expected one of the fields"),
    ({"image": "a.jpg", "captoin": "x"}, 'did you mean "caption"?'),
    (CAPTION | {"question": "x"}, 'found "caption", "question" in one line'),
    (CAPTION | {"answer": "x"}, "answer: expected only fields that go with"),
    ({"caption": "x"}, 'image: expected "image", the path of a picture'),
    (CAPTION | {"images": ["a.jpg"]}, 'either "image" or "images", found both'),
    (
      {"images": ["a.jpg", "a.jpg"], "caption": "x"},
      'images: expected one picture with "caption", found 2',
    ),
    ({"image": "a.jpg", "caption": 5}, "caption: expected a text, found the"),
    ({"image": "a.jpg", "caption": " "}, "caption: expected words, found an"),
    ('{"image": "a.jpg", "caption": "\\ud83d"}', "half of a surrogate pair"),
    (CAPTION | {"id": 1.5}, "id: expected a text, found the number 1.5"),
    (CAPTION | {"split": "my split"}, "split: expected a name of letters"),
    (CAPTION | {"split": "all"}, "split: expected a name of letters"),
    (
      CAPTION | {"phrases": []},
      "phrases: expected a list of phrases, found an",
    ),
    (CAPTION | {"phrases": ["x"]}, "phrases[0]: expected an object with"),
    (phrase(box=BOX), 'phrases[0]: expected "text", words of the caption'),
    (phrase(text="on"), 'phrases[0]: expected either "box"'),
    (phrase(text="on", box=BOX, boxes=[BOX]), 'or "boxes": [[a, b, c, d], ...'),
    (phrase(text="on", boxs=[BOX]), "phrases[0].boxs: expected one of the"),
    (
      phrase(text="on", boxes=BOX),
      "phrases[0].boxes[0]: expected four numbers",
    ),
    (phrase(text="cat", box=BOX), 'found "cat", which is not in it; copy'),
    (phrase(text="A red", box=BOX), 'which is not in it; it has "a red"; copy'),
    (phrase(text="red", box=BOX), 'found "red" 2 times; add "occurrence": 0'),
    (phrase(text="red", box=BOX, occurrence=2), "whole number from 0 to 1"),
    (phrase(text="red", box=BOX, occurrence=True), "found true; count from 0"),
    (phrase(span=[5, 2], box=BOX), "phrases[0].span: expected [start, end], a"),
    (phrase(span=[0, 99], box=BOX), "0 <= start < end <= 22"),
    (phrase(span=[1, 2], box=BOX), "a part of the caption with words in it"),
    (phrase(span=[2, 5], text="on", box=BOX), 'the words of the span, "red"'),
    (phrase(span=[2, 5], occurrence=0, box=BOX), 'it with "text" alone'),
    (phrase(text="on", box=BOX, image=1), "whole number from 0 to 0, found 1"),
    (phrase(text="on", box=[0, 0, 1]), "four numbers [x1, y1, x2, y2], found"),
    (phrase(text="on", box=[0, 0, 1, None]), "phrases[0].box: expected four"),
    (
      phrase(text="on", box=[0, 0, 1, 10**400]),
      "phrases[0].box: expected four",
    ),
    (phrase(text="on", box=[0, 0, 50, 40]), 'for pixels say "box_format"'),
    (phrase(text="on", box=[0.5, 0, 0.5, 1]), "expected a box with an area"),
    (
      phrase(text="on", box=[0, 0, 50, 90]) | {"box_format": "pixels"},
      "expected a box in the picture of 100 x 80 pixels",
    ),
    (CAPTION | {"box_format": "pixel"}, 'did you mean "pixels"?'),
    (CAPTION | {"box_order": "yxyx"}, 'expected "xyxy" or "xywh"'),
    (
      {"image": "a.jpg", "question": "x"},
      'either "answer" or "answers" beside',
    ),
    (
      {"image": "a.jpg", "question": "x", "answers": ["a", 5]},
      "answers[1]: expected a text",
    ),
    ({"image": "a.jpg", "expression": "x"}, 'expected either "box": [a, b'),
    (
      {"image": "a.jpg", "expressions": [{"box": BOX}]},
      'expressions[0]: expected "text", words for what',
    ),
    (
      {"image": "a.jpg", "expressions": [{"text": "x"}], "box": BOX},
      'box: expected the boxes inside of "expressions"',
    ),
    ({"messages": TURNS[:1]}, 'messages: expected "user" and "assistant" in'),
    ({"messages": TURNS[::-1]}, 'messages: expected "user" and "assistant" in'),
    ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role:"),
    (
      {"messages": [{"role": "user", "text": "x"}]},
      "messages[0].text: expected",
    ),
    ({"messages": [{"role": "user"}]}, 'messages[0]: expected "content" in'),
    (
      {"messages": [{"role": "user", "content": "<image>?"}, TURNS[1]]},
      "as often as there are pictures, 0, found it 1 times",
    ),
    (
      {
        "image": "a.jpg",
        "messages": [TURNS[0], {**TURNS[1], "content": "<image>"}],
      },
      'messages[1].content: expected "<image>" in messages of the user alone',
    ),
    (
      {
        "images": ["a.jpg", "a.jpg"],
        "messages": [
          TURNS[0],
          {**TURNS[1], "phrases": [{"text": "red", "box": BOX}]},
        ],
      },
      'messages[1].phrases[0]: expected "image", the number of the boxes\'',
    ),
    (
      {
        "messages": [
          TURNS[0],
          {**TURNS[1], "phrases": [{"text": "red", "box": BOX}]},
        ]
      },
      "messages[1].phrases[0]: expected a picture for the boxes, found none",
    ),
  ],
)
def test_a_fault_says_where_and_what(folder, fields, said):
  faults = folder.faults(fields)
  assert any(said in fault for fault in faults), faults
  assert all(fault.startswith("1: ") for fault in faults)
  assert all("; " in fault for fault in faults)  # What to do.


def test_all_faults_of_a_line_are_told(folder):
  fields = CAPTION | {
    "split": "",
    "phrases": [
      {"text": "cat", "box": BOX},
      {"text": "on", "box": BOX},
      {"text": "on", "box": [0, 0, 5, 5]},
    ],
  }
  found = [fault.split(": ")[1] for fault in folder.faults(fields)]
  assert found == ["split", "phrases[0].text", "phrases[2].box"]


def test_unicode(folder):
  caption = "ein Café, 喫茶店 ☕️ und 👩‍👩‍👧"
  words = ["Café", "喫茶店", "👩‍👩‍👧"]
  phrases = [{"text": text, "box": BOX} for text in words]
  line = folder.line({"image": "a.jpg", "caption": caption, "phrases": phrases})
  assert [caption[p.start : p.end] for p in line.phrases] == words
  decomposed = {"text": "Cafe\u0301", "box": BOX}
  [fault] = folder.faults(
    {"image": "a.jpg", "caption": caption, "phrases": [decomposed]}
  )
  assert "Unicode NFC or NFD" in fault


def test_lines_around(folder):
  path = folder.write(CAPTION)
  text = json.dumps(CAPTION).encode()
  path.write_bytes(b"\xef\xbb\xbf" + text + b"\r\n\n  \n" + text)
  from data.jsonl import files

  assert [number for number, _ in files.numbered_lines(path)] == [1, 4]
