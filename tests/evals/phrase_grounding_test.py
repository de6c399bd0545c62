"""Phrase grounding: lookups as the original's, recall as arithmetic."""

import fractions
import io
import json

import numpy as np
import pytest
from PIL import Image

from data.building import arguments as arguments_lib
from data.building.drops import DropReport
from data.flickr30k_entities.flickr30k_entities_builder import Flickr30kEntities
from kosmos2_jax.evals.phrase_grounding import PhraseGrounding
from kosmos2_jax.evals.published_phrases import PUBLISHED
from tests.evals import scripted
from tests.evals.scripted import ScriptedPredictor, boxes_text, run, values

WIDTH, HEIGHT = 64, 48


def pixels(*bins):
  """Pixels of the box of two bins of 8 x 8, spanned by their centres."""
  (a, b), side = bins, 8
  return [
    (a % side + 0.5) / side * WIDTH,
    (a // side + 0.5) / side * HEIGHT,
    (b % side + 0.5) / side * WIDTH,
    (b // side + 0.5) / side * HEIGHT,
  ]


def mention(caption, text, *boxes, types="other", nth=0):
  start = -1
  for _ in range(nth + 1):
    start = caption.index(text, start + 1)
  return {"start": start, "end": start + len(text), "types": types}, boxes


def example(caption, *mentions, **fields):
  found, boxes = [], []
  for number, (item, own) in enumerate(mentions):
    found.append(item)
    boxes += [{"mention": number, "box_pixels": box} for box in own]
  return {
    "id": "7#0",
    "image": np.zeros((4, 4, 3), np.uint8),
    "image_file": "7.jpg",
    "caption": caption,
    "mentions": found,
    "mention_boxes": boxes,
    "width": WIDTH,
    "height": HEIGHT,
  } | fields


def asked(before, phrase):
  return f"<grounding>{before} <phrase>{phrase}</phrase>"


A, B = (0, 27), (36, 63)  # Boxes as bins: upper left, lower right.
PIXELS_A, PIXELS_B = pixels(*A), pixels(*B)
CAPTION = "a man beside a man on a bench ."


def men(*rest):
  return example(
    CAPTION,
    mention(CAPTION, "a man", PIXELS_A, types="people"),
    mention(CAPTION, "a man", PIXELS_B, types="people/other", nth=1),
    *rest,
  )


def test_the_prompt_is_the_caption_up_to_the_phrase():
  predictor = ScriptedPredictor({})
  task = PhraseGrounding(protocol="exact")
  bench = mention(CAPTION, "a bench", PIXELS_A)
  scripted.ask(task, predictor, [men(bench)], batch_size=3)
  assert predictor.asked == [
    [
      asked("", "a man"),
      asked("a man beside ", "a man"),
      asked("a man beside a man on ", "a bench"),
    ]
  ]
  # The released model was measured with its rule against repeated 3-grams.
  assert predictor.options[0].no_repeat_ngram_size == 3
  assert predictor.options[0].boxes is None
  task = PhraseGrounding(protocol="exact", constrained=True)
  scripted.ask(task, predictor, [men()])
  assert predictor.options[1].no_repeat_ngram_size == 0
  assert predictor.options[1].boxes is not None
  assert "nothing but boxes" in task.protocol


def test_the_original_ids_of_a_prompt(real_tokenizer):
  caption = "A man with an orange hat starring at something ."
  hat = mention(caption, "an orange hat", PIXELS_A)
  first = mention(caption, "A man", PIXELS_A)
  predictor = ScriptedPredictor({}, real_tokenizer)
  task = PhraseGrounding(protocol="exact")
  scripted.ask(task, predictor, [example(caption, hat, first)])
  hat, first = map(real_tokenizer.encode, predictor.asked[0])
  assert hat == [64012, 95, 242, 23, 64007, 42, 5195, 3958, 64008]
  assert first[:2] == [64012, 64007]


def test_a_repeated_phrase_has_the_first_ones_boxes_in_the_original():
  answers = {
    asked("", "a man"): boxes_text(A),
    asked("a man beside ", "a man"): boxes_text(B),
  }
  scores = run(PhraseGrounding(), ScriptedPredictor(answers), [men()])
  # Both are held to box A: the second answer, though right, is a miss.
  assert values(scores)["recall@all"] == 1 / 2
  assert scores.counts["repeated_phrases"] == 1
  # And both count under the type of the first.
  assert scores.categories["recall@1"] == {"people": 1 / 2}
  scores = run(
    PhraseGrounding(protocol="exact"), ScriptedPredictor(answers), [men()]
  )
  assert values(scores)["recall@1"] == 1.0
  assert scores.categories["recall@1"] == {"people": 1.0, "other": 1.0}


def test_a_first_phrase_without_boxes_is_passed_over_by_the_lookup():
  without = mention(CAPTION, "a man")
  item = example(CAPTION, without, mention(CAPTION, "a man", PIXELS_B, nth=1))
  [question] = PhraseGrounding().questions([item])
  assert question.truth["boxes"] == [PIXELS_B]
  assert question.ask == {"before": "a man beside ", "phrase": "a man"}


@pytest.mark.parametrize(
  ("boxes", "recalls", "merged"),
  [
    ([A], (1, 1, 1, 1), (0, 0, 0, 0)),
    ([B], (1, 1, 1, 1), (0, 0, 0, 0)),
    ([(0, 63)], (0, 0, 0, 0), (1, 1, 1, 1)),
    ([(63, 0), A], (0, 1, 1, 1), (0, 0, 0, 0)),
    ([(1, 9)] * 5 + [A], (0, 0, 1, 1), (0, 0, 0, 0)),
    ([(1, 9)] * 10 + [A, (0, 63)], (0, 0, 0, 1), (0, 0, 0, 1)),
    ([], (0, 0, 0, 0), (0, 0, 0, 0)),
  ],
)
def test_recall_at_k_of_any_box_and_of_the_box_around_all(
  boxes, recalls, merged
):
  # Two true boxes in opposite corners; around both is the box (0, 63).
  caption = "two men ."
  item = example(caption, mention(caption, "two men", PIXELS_A, PIXELS_B))
  answer = boxes_text(*boxes) if boxes else "of course"
  predictor = ScriptedPredictor({asked("", "two men"): answer})
  found = values(run(PhraseGrounding(), predictor, [item]))
  names = ("1", "5", "10", "all")
  assert tuple(found[f"recall@{k}"] for k in names) == recalls
  assert tuple(found[f"merged_recall@{k}"] for k in names) == merged


def test_pixels_are_compared_as_they_are_annotated():
  # The answer spans 4..28 x 3..21 pixels, 24 x 18 = 432. A true box of
  # 4..28 x 12..30 shares 24 x 9 with it: 216 / 648. One of 4..28 x 3..12 is
  # half of it: exactly 1/2, found. With a pixel taken off, as the data set's
  # own reader does, 4..28 x 2..11 would share 24 x 8 = 192: 192 / 456.
  caption = "a b c ."
  boxes = [[4, 12, 28, 30], [4, 3, 28, 12], [4, 2, 28, 11]]
  item = example(
    caption,
    *(mention(caption, w, box) for w, box in zip("abc", boxes, strict=True)),
  )
  answers = {
    asked(before, phrase): boxes_text((0, 27))
    for before, phrase in [("", "a"), ("a ", "b"), ("a b ", "c")]
  }
  scores = run(PhraseGrounding(), ScriptedPredictor(answers), [item])
  assert scores.quality.tolist() == [216 / 648, 0.5, 192 / 456]
  assert values(scores)["recall@1"] == 1 / 3


def test_what_the_tokenizer_changes_is_never_found_in_the_original(
  real_tokenizer,
):
  caption = "a ﬁsh ."
  item = example(caption, mention(caption, "a ﬁsh", PIXELS_A))
  answers = {asked("", "a ﬁsh"): boxes_text((0, 3 * 132), (0, 1023))}
  predictor = ScriptedPredictor(answers, real_tokenizer)
  scores = run(PhraseGrounding(), predictor, [item])
  assert scores.counts["changed_by_tokenizer"] == 1
  assert scores.counts["without_box"] == 1
  scores = run(PhraseGrounding(protocol="exact"), predictor, [item])
  assert scores.counts["changed_by_tokenizer"] == 0
  assert scores.counts["without_box"] == 0


@pytest.mark.parametrize(
  ("answer", "found"),
  [
    (boxes_text(A), 1),
    (f" stands<phrase> a man</phrase>{boxes_text(A)} .", 1),
    (f" stands<phrase> a bench</phrase>{boxes_text(A)} .", 0),
    # Anything between the tags and the boxes breaks the link.
    (f" stands<phrase> a man</phrase> there{boxes_text(A)} .", 0),
    ("<object><patch_index_0000></object>", 0),
    (f"<object><patch_index_0000></object> {boxes_text(A)}", 0),
    ("", 0),
  ],
)
def test_the_original_reads_the_whole_answer(answer, found):
  predictor = ScriptedPredictor({asked("", "a man"): answer})
  caption = "a man ."
  item = example(caption, mention(caption, "a man", PIXELS_A))
  scores = run(PhraseGrounding(), predictor, [item])
  assert values(scores)["recall@1"] == found
  # By its own protocol an answer is what it begins with.
  exact = run(PhraseGrounding(protocol="exact"), predictor, [item])
  assert values(exact)["recall@1"] == (answer == boxes_text(A))


def test_other_data_needs_noun_chunks_only():
  item = {
    "id": "3",
    "image": np.zeros((4, 4, 3), np.uint8),
    "caption": "a cup and a cup",
    "noun_chunks": [
      {"start": 0, "end": 5, "box_xyxy": (0, 0, 0.5, 0.5), "score": 1.0},
      {"start": 10, "end": 15, "box_xyxy": (0.5, 0.5, 1, 1), "score": 1.0},
      {"start": 0, "end": 5, "box_xyxy": (0.5, 0.5, 0.5, 1), "score": 1.0},
    ],
  }
  answers = {asked("a cup and ", "a cup"): boxes_text(B)}
  task = PhraseGrounding(protocol="exact")
  scores = run(task, ScriptedPredictor(answers), [item])
  assert values(scores)["recall@1"] == 1 / 2
  assert scores.categories == {}
  assert scores.notes == ()
  assert scores.counts["annotated_boxes_left_out"] == 1
  with pytest.raises(ValueError, match="needs 'noun_chunks'"):
    list(task.questions([{"id": "3", "caption": "a cup"}]))


def test_captions_without_phrases_are_counted():
  nothing = example("nothing .", id="6#0")
  scores = run(PhraseGrounding(), ScriptedPredictor({}), [nothing, men()])
  assert scores.counts["captions_without_phrase"] == 1
  assert scores.counts["captions"] == 1
  with pytest.raises(ValueError, match="no phrase with a box"):
    run(PhraseGrounding(), ScriptedPredictor({}), [nothing])


def test_unknown_protocol_is_an_error():
  with pytest.raises(ValueError, match="protocol must be one of"):
    PhraseGrounding(protocol="merged")


def test_a_view_shows_all_boxes():
  answers = {asked("", "a man"): boxes_text(A, B)}
  task = PhraseGrounding()
  first, _ = scripted.ask(task, ScriptedPredictor(answers), [men()])
  view = task.view(first)
  assert len(view.predicted[0].boxes) == 2
  [box] = view.annotated[0].boxes
  assert box.xyxy == (1 / 16, 1 / 16, 7 / 16, 7 / 16)
  assert view.lines == ("[a man]", "2 box(es)")


@pytest.mark.parametrize(
  ("split", "phrases"), [("val", 14433), ("test", 14481)]
)
def test_published_numbers_are_ratios_of_whole_numbers(split, phrases):
  # Guards against slips of the pen: all rows of a column have one
  # denominator, and that of all phrases is their number.
  table = PUBLISHED[split]
  for name in table["1"]:
    denominators = [
      fractions.Fraction(row[name]).limit_denominator(20000).denominator
      for row in table.values()
    ]
    whole = np.lcm.reduce(denominators)
    assert whole <= phrases
    for row in table.values():
      assert row[name] * whole == pytest.approx(round(row[name] * whole))
    assert name != "all" or phrases % whole == 0
  published = PhraseGrounding().published("flickr30k_entities", split)
  metrics = {entry.metric: entry.value for entry in published}
  assert len(metrics) == 3 + 8
  assert metrics["recall@10"] == table["10"]["all"]
  assert metrics["recall@1/people"] == table["1"]["people"]
  assert not PhraseGrounding().published("flickr30k_entities", "train")


LINES = (
  "[/EN#1/people/other Two men] pet [/EN#2/animals a dog] and"
  " [/EN#3/animals a dog] .",
  "[/EN#4/scene The park] is empty .",
)
XML_BOXES = {
  "1": [(1, 1, 21, 31), (31, 1, 51, 31)],
  "2": [(1, 21, 33, 45)],
  "3": [(33, 21, 64, 48)],
}
SPANS = {"1": [0, 7], "2": [12, 17], "3": [22, 27]}


def write_official(root):
  for name in ("Annotations", "Sentences"):
    (root / name).mkdir(parents=True)
  objects = "".join(
    f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
    f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
    for name, boxes in XML_BOXES.items()
    for x1, y1, x2, y2 in boxes
  )
  objects += (
    "<object><name>4</name><scene>1</scene><nobndbox>0</nobndbox></object>"
  )
  (root / "Annotations/77.xml").write_text(
    f"<annotation><filename>77.jpg</filename><size><width>{WIDTH}</width>"
    f"<height>{HEIGHT}</height><depth>3</depth></size>{objects}</annotation>"
  )
  (root / "Sentences/77.txt").write_text("\n".join(LINES) + "\n")
  (root / "val.txt").write_text("77\n")


def write_mdetr(root):
  root.mkdir()
  caption = "Two men pet a dog and a dog ."
  image = {"file_name": "77.jpg", "height": str(HEIGHT), "width": str(WIDTH)}
  image |= {"id": 0, "caption": caption, "dataset_name": "flickr"}
  image |= {"tokens_negative": [[0, len(caption)]], "sentence_id": 0}
  image |= {"original_img_id": 77}
  image["tokens_positive_eval"] = [[span] for span in SPANS.values()]
  annotations = [
    {"area": (x2 - x1) * (y2 - y1), "iscrowd": 0, "image_id": 0}
    | {"category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
    | {"tokens_positive": [SPANS[name]]}
    for name, boxes in XML_BOXES.items()
    for x1, y1, x2, y2 in boxes
  ]
  (root / "final_flickr_separateGT_val.json").write_text(
    json.dumps({"images": [image], "annotations": annotations})
  )


@pytest.fixture(params=["official", "mdetr"])
def miniature(request, tmp_path):
  """Examples of Flickr30k Entities as evaluators get them, in both forms."""
  root, pictures = tmp_path / "annotations", tmp_path / "pictures"
  {"official": write_official, "mdetr": write_mdetr}[request.param](root)
  pictures.mkdir()
  Image.new("RGB", (WIDTH, HEIGHT)).save(pictures / "77.jpg")
  arguments = arguments_lib.complete(
    Flickr30kEntities,
    {"annotations": str(root), "pictures": str(pictures)},
  )
  [unit] = Flickr30kEntities.find(root, pictures)
  examples = []
  for record in Flickr30kEntities.read(unit, DropReport(), arguments):
    image = Image.open(io.BytesIO(record.features["image"]))
    examples.append(record.features | {"image": np.asarray(image)})
  return request.param, examples


def test_a_miniature_of_flickr30k_entities(miniature):
  form, examples = miniature
  answers = {
    # 4..20 x 3..33 = 480 of 20 x 30 = 600 pixels at 1..21 x 1..31: shared
    # 16 x 28 = 448, 448 / 632 = 0.71: found, and not with the box around both
    # men, 1..51 x 1..31: 448 / (480 + 1500 - 448).
    asked("", "Two men"): boxes_text((0, 42)),
    # First a box in the wrong corner, then 4..28 x 21..45, of 1..33 x 21..45:
    # 24 x 24 / (32 x 24) = 0.75.
    asked("Two men pet ", "a dog"): boxes_text((7, 15), (24, 59)),
    # 36..60 x 21..45 of its own 33..64 x 21..48: 576 / 837 = 0.69; of the
    # first dog's box nothing.
    asked("Two men pet a dog and ", "a dog"): boxes_text((28, 63)),
  }
  scores = run(PhraseGrounding(), ScriptedPredictor(answers), examples)
  assert scores.n == 3
  found = values(scores)
  assert found["recall@1"] == 1 / 3
  assert found["recall@5"] == found["recall@all"] == 2 / 3
  assert found["merged_recall@5"] == 1 / 3
  exact = run(
    PhraseGrounding(protocol="exact"), ScriptedPredictor(answers), examples
  )
  assert values(exact)["recall@1"] == 2 / 3
  assert values(exact)["recall@5"] == 1.0
  expected = [448 / 632, 576 / 768, 576 / 837]
  np.testing.assert_allclose(exact.quality, expected, rtol=1e-12)
  if form == "official":
    assert scores.categories["recall@5"] == {
      "animals": 1 / 2,
      "other": 1.0,
      "people": 1.0,
    }
    assert found["recall@1/animals"] == 0.0
    assert scores.notes == ()
    assert scores.counts["captions"] == 1
  else:
    assert scores.categories == {}
    assert "tell no types" in scores.notes[0]
