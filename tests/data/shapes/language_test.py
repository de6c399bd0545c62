"""Texts say what is there, and expressions mean one object."""

import collections
import itertools
import re

import pytest

from data.shapes import language, scenes, world
from data.shapes.draws import Draws

_COLORS = "|".join(world.COLORS)
_KINDS = "|".join(world.KINDS)
_RELATIONS = "left of|right of|above|below"
_EXPRESSION = re.compile(
  rf"the (?:(small|big) )?(?:({_COLORS}) )?({_KINDS}|one)"
  rf"(?: ({_RELATIONS}) (the .*))?"
)
_PHRASE = re.compile(
  rf"(an?|two|three|four) (?:(small|big) )?({_COLORS}) ((?:{_KINDS})(?:e?s)?)"
)
_NUMBERS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4}


def _center(box):
  return (box[0] + box[2]) * 32, (box[1] + box[3]) * 32


def _possible(text: str, objects) -> list[int]:
  """Objects a generous reader might mean: everything not clearly excluded.

  Written from the words alone, knowing nothing of `language`.
  """
  size, color, kind, relation, anchor = _EXPRESSION.fullmatch(text).groups()
  found = []
  for index, item in enumerate(objects):
    if (color and item.color != color) or kind not in (item.kind, "one"):
      continue
    if size == "small" and item.size > 21.9:
      continue
    if size == "big" and item.size < 19.1:
      continue
    if relation:
      (other,) = _possible(anchor, objects)
      x1, y1 = _center(item.box_xyxy)
      x2, y2 = _center(objects[other].box_xyxy)
      step = {
        "left of": x2 - x1,
        "right of": x1 - x2,
        "above": y2 - y1,
        "below": y1 - y2,
      }[relation]
      if other == index or step < 2.1:
        continue
    found.append(index)
  return found


@pytest.mark.parametrize("split", scenes.SPLITS)
def test_expressions_mean_exactly_one_object(sampled, split):
  forms = collections.Counter()
  for scene in sampled(split):
    assert scene.expressions
    texts = [expression.text for expression in scene.expressions]
    assert len(set(texts)) == len(texts)
    for text, box in scene.expressions:
      (target,) = _possible(text, scene.objects)
      item = scene.objects[target]
      assert item.box_xyxy == box
      size, color, kind, relation, anchor = _EXPRESSION.fullmatch(text).groups()
      forms[size, bool(color), kind != "one", bool(relation)] += 1
      # Beyond being the only candidate, what is said is clearly true.
      assert size != "small" or item.size <= 17
      assert size != "big" or item.size >= 24
      if relation:
        (other,) = _possible(anchor, scene.objects)
        x1, y1 = _center(box)
        x2, y2 = _center(scene.objects[other].box_xyxy)
        across, along = abs(x1 - x2), abs(y1 - y2)
        if relation in ("left of", "right of"):
          across, along = along, across
        assert along >= 9
        assert along >= across
  total = forms.total()
  assert 0.6 < forms[None, True, True, False] / total < 0.95
  relations = sum(count for form, count in forms.items() if form[3])
  sizes = sum(count for form, count in forms.items() if form[0])
  assert relations > 0.02 * total
  assert sizes > 0.01 * total
  assert forms[None, False, True, False]
  assert forms[None, True, False, False]


def test_an_object_without_expression_cannot_be_named_simply(sampled):
  unnamed = 0
  for scene in sampled("train"):
    named = {box for _, box in scene.expressions}
    for item in scene.objects:
      if item.box_xyxy not in named:
        unnamed += 1
        twins = [other for other in scene.objects if other.pair == item.pair]
        assert len(twins) > 1
  assert unnamed


@pytest.mark.parametrize("split", scenes.SPLITS)
def test_spans_match_the_caption(sampled, split):
  openings = collections.Counter()
  nested = plural = 0
  for scene in sampled(split):
    spans = collections.defaultdict(list)
    for start, end, box, score in scene.noun_chunks:
      assert score == 1.0
      spans[start, end].append(box)
    named = []
    for (start, end), boxes in spans.items():
      match = _PHRASE.fullmatch(scene.caption[start:end])
      number, size, color, noun = match.groups()
      kind = next(kind for kind in world.KINDS if noun.startswith(kind))
      assert _NUMBERS[number] == len(boxes) == len(set(boxes))
      if len(boxes) == 1:
        assert (number == "an") == (match[0].split()[1][0] in "aeiou")
      assert (noun != kind) == (len(boxes) > 1)
      assert (kind == "cross") <= (noun in ("cross", "crosses"))
      plural += len(boxes) > 1
      for item in scene.objects:
        if item.box_xyxy in boxes:
          assert (item.color, item.kind) == (color, kind)
          assert size is None or world.size_word(item) == size
      named += boxes
    # All objects, each once; and no phrase of the caption without boxes.
    assert sorted(named) == sorted(item.box_xyxy for item in scene.objects)
    found = {match.span() for match in _PHRASE.finditer(scene.caption)}
    assert found == set(spans)
    for chunk, expression in zip(
      scene.noun_chunks, scene.ref_exps, strict=True
    ):
      assert chunk.box_xyxy == expression.box_xyxy
      assert chunk.start == expression.start
      text = scene.caption[chunk.start : expression.end]
      if chunk.end != expression.end:
        nested += 1
        assert re.search(_RELATIONS, text)
      assert len(re.findall(_RELATIONS, text)) + 1 == len(_PHRASE.findall(text))
    openings[scene.caption.split()[0]] += 1
  assert nested > 100
  assert plural > 20
  assert {"An", "A", "There", "a", "two"} <= set(openings)


def test_relations_in_captions_are_clearly_true(sampled):
  seen = collections.Counter()
  for scene in sampled("train"):
    boxes = collections.defaultdict(list)
    for chunk in scene.noun_chunks:
      boxes[chunk.start, chunk.end].append(_center(chunk.box_xyxy))
    order = sorted(boxes)
    for first, second in itertools.pairwise(order):
      between = scene.caption[first[1] : second[0]].strip()
      if between not in world.RELATIONS:
        assert between in (",", "and", ", and")
        continue
      seen[between] += 1
      right, down = world.RELATIONS[between]
      for x1, y1 in boxes[first]:
        for x2, y2 in boxes[second]:
          x, y = x1 - x2, y1 - y2
          assert x * right + y * down >= 9
          assert abs(x) >= abs(y) if right else abs(y) >= abs(x)
  assert min(seen[relation] for relation in world.RELATIONS) > 100


def test_a_caption_with_everything():
  objects = (
    world.SceneObject("circle", "red", 15.0, 2.0, 4.0),
    world.SceneObject("circle", "red", 15.0, 2.0, 40.0),
    world.SceneObject("square", "orange", 20.0, 40.0, 20.0),
  )
  captions = {language.describe(objects, Draws(0, 0, i)) for i in range(200)}
  caption = next(
    found
    for found in captions
    if found.text == "two small red circles left of an orange square"
  )
  boxes = [item.box_xyxy for item in objects]
  span = language.Span
  assert caption.noun_chunks == (
    span(0, 21, boxes[0]),
    span(0, 21, boxes[1]),
    span(30, 46, boxes[2]),
  )
  assert caption.ref_exps == (
    span(0, 46, boxes[0]),
    span(0, 46, boxes[1]),
    span(30, 46, boxes[2]),
  )


def test_resolve_needs_all_others_clearly_excluded():
  def circle(size, x=0.0):
    return world.SceneObject("circle", "red", size, x, 0.0)

  small = language.Reference("red", "circle", "small")
  assert language.resolve(small, (circle(15.0), circle(25.0))) == 0
  assert language.resolve(small, (circle(15.0), circle(20.0))) is None
  assert language.resolve(small, (circle(15.0), circle(16.0))) is None
  assert language.resolve(small, (circle(25.0),)) is None
  square = world.SceneObject("square", "blue", 16.0, 30.0, 0.0)
  left = language.Reference(
    "red",
    "circle",
    relation="left of",
    anchor=language.Reference("blue", "square"),
  )
  assert left.text == "the red circle left of the blue square"
  # Centres: the square's at 38; circles at 8, 48 and 34 (4 to the left).
  clear, right, unclear = circle(16.0), circle(16.0, 40.0), circle(16.0, 26.0)
  assert language.resolve(left, (clear, right, square)) == 0
  assert language.resolve(left, (clear, unclear, square)) is None
  assert language.resolve(left, (unclear, square)) is None
  assert language.resolve(left, (clear, square, square)) is None
