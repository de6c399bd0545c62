"""Captioning: the question, the answer's words, and their scores."""

import json

import numpy as np
import pytest

from kosmos2_jax.evals import answer_texts
from kosmos2_jax.evals.captioning import Caption
from kosmos2_jax.evals.protocol import Record
from kosmos2_jax.evals.scoring import coco_scorers, meteor
from kosmos2_jax.evals.scoring.java import JavaTrouble
from tests.evals import asking
from tests.evals.asking import FakePredictor, ask, picture

CAPTIONS = [
  ["A red dog runs.", "A dog is running on grass."],
  ["Two cats sleep on a chair."],
  ["A man in a blue coat.", "A man's coat is blue.", "He stands."],
]
SAID = ["a red dog runs", "two cats on a chair.", "the man"]


@pytest.fixture(autouse=True)
def no_meteor(monkeypatch):
  """METEOR takes seconds to start; it has tests of its own."""

  def score(*args):
    raise JavaTrouble("not in this test.")

  monkeypatch.setattr(meteor, "score", score)


def examples(captions=CAPTIONS):
  for i, texts in enumerate(captions):
    yield {
      "id": str(100 + i),
      "image": picture(i),
      "caption": texts[0],
      "captions": texts,
    }


def answer(prompt, images):
  return SAID[images[0][0, 0, 0]]


def test_the_words_after_the_prompt_against_all_captions():
  predictor = FakePredictor(answer)
  records = ask(Caption(), predictor, examples())
  assert set(predictor.prompts) == {"An image of"}
  assert [record.id for record in records] == ["100", "101", "102"]
  assert [record.truth for record in records] == CAPTIONS
  assert [record.answer["text"] for record in records] == SAID
  scores = Caption().score(records)
  assert scores.n == 3
  assert list(scores.metrics) == [
    "cider",
    "bleu_1",
    "bleu_2",
    "bleu_3",
    "bleu_4",
    "rouge_l",
  ]
  # The answers have 4 + 5 + 2 words. Right are 4, 5 and 1 of them: no caption
  # of the man says "the". The references as long or nearest have 4, 6 and 2.
  right, said, nearest = 4 + 5 + 1, 4 + 5 + 2, 4 + 6 + 2
  assert scores.metrics["bleu_1"].value == pytest.approx(
    100 * right / said * np.exp(1 - nearest / said)
  )
  assert scores.counts["answers"] == 3
  assert scores.counts["references"] == 6


def test_how_it_is_asked_is_said():
  predictor = FakePredictor(answer)
  ask(Caption(), predictor, examples())
  assert predictor.options[0] == {
    "num_beams": 5,
    "length_penalty": 1.0,
    "max_new_tokens": 64,
    "no_repeat_ngram_size": None,
  }
  assert "prompt An image of, beam 5 with length penalty 1" in (
    Caption().protocol
  )
  assert "checkpoint's own rule" in Caption().protocol
  other = Caption(
    prompt="<grounding>An image of",
    num_beams=1,
    max_new_tokens=9,
    no_repeat_ngram_size=0,
  )
  assert "prompt <grounding>An image of, greedy, at most 9 tokens, no rule" in (
    other.protocol
  )
  assert (
    "no 3 tokens in a row twice" in Caption(no_repeat_ngram_size=3).protocol
  )


def test_tags_are_no_words_and_boxes_are_kept():
  said = (
    "<phrase> a dog</phrase><object><patch_index_0009><patch_index_0063>"
    "</object> on<phrase> grass</phrase>"
  )
  task = Caption(prompt="<grounding>An image of")
  predictor = FakePredictor(lambda prompt, images: said)
  [record, *_] = ask(task, predictor, examples())
  assert record.answer["text"] == "a dog on grass"
  view = task.view(record)
  [phrase] = view.predicted
  assert phrase.text == "a dog"
  assert phrase.boxes[0].xyxy == (1.5 / 8, 1.5 / 8, 7.5 / 8, 7.5 / 8)
  assert view.lines == (
    "a dog on grass",
    "true: A red dog runs.",
    "true: A dog is running on grass.",
  )


def test_the_prompt_can_be_scored_with_the_answer():
  task = Caption(scored="prompt_and_answer")
  [record, *_] = ask(task, FakePredictor(answer), examples())
  assert record.answer["text"] == "An image of a red dog runs"
  assert "prompt and answer together" in task.protocol
  assert "prompt and answer" not in Caption().protocol


def test_empty_and_cut_off_answers_are_counted():
  predictor = FakePredictor(lambda prompt, images: "", finished=False)
  records = ask(Caption(), predictor, examples())
  scores = Caption().score(records)
  assert scores.counts["empty"] == scores.counts["unfinished"] == 3
  assert scores.metrics["cider"].value == 0.0
  assert Caption().view(records[0]).lines[0] == "(no text)"


def test_a_dataset_with_one_caption_will_do():
  [question] = Caption().questions(
    [{"id": "a", "image": picture(0), "caption": "A dog."}]
  )
  assert question.truth == ["A dog."]


def test_what_cannot_be_asked():
  with pytest.raises(ValueError, match="needs 'caption'"):
    list(Caption().questions([{"id": "a", "image": picture(0)}]))
  with pytest.raises(ValueError, match="'a' has an empty list of captions"):
    list(
      Caption().questions([{"id": "a", "image": picture(0), "captions": []}])
    )


def test_a_picture_for_each_caption_is_refused():
  texts = ["a dog", "a cat"]
  first, second = (
    {"id": f"a-{i}", "image": picture(0), "captions": texts} for i in (1, 2)
  )
  others = list(examples())
  with pytest.raises(ValueError, match="'a-2' has the picture .* 'a-1'"):
    list(Caption().questions([first, *others, second]))
  # Another picture with the same captions is another picture, and the same
  # with others is somebody's own data.
  for changes in ({"image": picture(1)}, {"captions": ["a dog"]}):
    assert len(list(Caption().questions([first, second | changes]))) == 2


def test_a_missing_scorer_is_found_before_anything_is_asked(monkeypatch):
  def require():
    raise ModuleNotFoundError("pip install")

  monkeypatch.setattr(coco_scorers, "require", require)
  with pytest.raises(ModuleNotFoundError, match="pip install"):
    next(Caption().questions(examples()))


def records_of(count):
  texts = [f"word{i} dog" for i in range(count)]
  return [
    Record(str(i), str(i), "", [text], {"text": text, "finished": True})
    for i, text in enumerate(texts)
  ]


def test_fewer_pictures_than_the_split_has_are_said_to_be_fewer():
  notes = Caption().score(records_of(9)).notes
  assert any(
    "CIDEr over 9 answers does not compare with CIDEr over 1,000 (Flickr30k"
    " test) or 1,014 (Flickr30k validation) or 5,000 (COCO" in note
    for note in notes
  )
  whole = Caption(full_size=9).score(records_of(9)).notes
  assert not any("does not compare" in note for note in whole)
  part = Caption(full_size=10).score(records_of(9)).notes
  assert any("CIDEr over 10 (the whole split)" in note for note in part)


def test_what_is_published():
  found = Caption().published("flickr30k", "test")
  assert [(p.metric, p.value) for p in found] == [
    ("cider", 80.5),
    ("cider", 66.7),
  ]
  assert "after instruction tuning" in found[0].source
  assert "before instruction tuning" in found[1].source
  assert Caption().published("flickr30k", "validation") == ()
  assert Caption().published("coco_captions", "test") == ()


def test_the_answers_as_the_server_takes_them():
  records = ask(Caption(), FakePredictor(answer), examples())
  [(name, content)] = Caption().files(records).items()
  assert name == "captions.json"
  assert json.loads(content)[0] == {
    "image_id": 100,
    "caption": "a red dog runs",
  }


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    ({"scored": "all"}, "scored is one of"),
    ({"num_beams": 0}, "num_beams and max_new_tokens are 1 or more"),
    ({"max_new_tokens": 0}, "num_beams and max_new_tokens are 1 or more"),
  ],
)
def test_options_that_make_no_sense(options, sentence):
  with pytest.raises(ValueError, match=sentence):
    Caption(**options)


@pytest.mark.slow
def test_a_real_predictor_answers():
  predictor = asking.tiny_predictor()
  task = Caption(num_beams=2, max_new_tokens=5)
  records = ask(task, predictor, examples(), batch_size=3)
  pictures = [picture(i) for i in range(3)]
  same = predictor.generate(
    ["An image of"] * 3, pictures, num_beams=2, max_new_tokens=5
  )
  for record, answer in zip(records, same, strict=True):
    read = answer_texts.read(
      answer.tokens, answer.finished, predictor.tokenizer
    )
    assert record.answer == read
  assert task.score(records).n == 3
