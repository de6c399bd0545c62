"""Detectors of transformers: answers are the library's, batch by batch."""

import importlib
import math
import re

import numpy as np
import pytest

from data.grit.build import detectors
from data.grit.build.detectors import DetectorGrounder
from data.grit.build.grounding import Request
from tests.data.grit.build import tiny_detectors

MAKERS = {
  "grounding-dino": tiny_detectors.grounding_dino,
  "owlvit": lambda folder: tiny_detectors.owl(folder, 1),
  "owlv2": lambda folder: tiny_detectors.owl(folder, 2),
  "omdet-turbo": tiny_detectors.omdet_turbo,
}
# Sums are taken in another order in another batch.
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}
CAPTION = "a red dog, the ball; a hat. the man in the red hat"
DOG, BALL, HAT, MAN, RED_HAT = (0, 9), (11, 19), (21, 26), (28, 35), (39, 50)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
  """Folders of tiny detectors, each made when it is asked for."""
  pytest.importorskip("torch", reason="needs torch")
  pytest.importorskip("transformers", reason="needs transformers")
  base, made = tmp_path_factory.mktemp("detectors"), {}

  def get(kind):
    if kind not in made:
      made[kind] = base / kind
      MAKERS[kind](made[kind])
    return str(made[kind])

  return get


def picture(seed, height=40, width=60):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def request(seed, *spans, **size):
  return Request(str(seed), picture(seed, **size), CAPTION, spans)


def numbers(boxes):
  return np.array([[*box.box_xyxy, box.score] for box in boxes]).reshape(-1, 5)


def close(found, expected):
  """The same boxes; of equal scores in any order."""
  assert len(found) == len(expected)

  def order(rows):
    return rows[np.lexsort(np.round(rows, 3).T)]

  np.testing.assert_allclose(
    order(numbers(found)),
    order(np.asarray(expected).reshape(-1, 5)),
    **ROUNDING,
  )


def opened(folder):
  """The library's own model and processor."""
  import transformers as library

  model = library.AutoModelForZeroShotObjectDetection.from_pretrained(
    folder, local_files_only=True
  )
  processor = library.AutoProcessor.from_pretrained(
    folder, local_files_only=True
  )
  return model.eval(), processor


def normalised(boxes, asked):
  height, width = asked.image.shape[:2]
  return np.clip(boxes.numpy() / [width, height, width, height], 0, 1)


@pytest.mark.slow
def test_grounding_dino_answers_as_the_library(folder_of):
  import torch

  folder = folder_of("grounding-dino")
  asked = request(0, DOG, BALL, RED_HAT)
  [found] = DetectorGrounder(folder, threshold=0.3).ground([asked])
  model, processor = opened(folder)
  texts = ["a red dog", "the ball", "the red hat"]
  inputs = processor(images=asked.image, text=[texts], return_tensors="pt")
  with torch.no_grad():
    outputs = model(**inputs)
  ids = inputs["input_ids"][0].tolist()
  own, total = [], 0
  for text in texts:
    tokens = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    [start] = [i for i in range(len(ids)) if ids[i : i + len(tokens)] == tokens]
    own.append(slice(start, start + len(tokens)))
  logits = outputs.logits
  # The library counts [CLS], [SEP] and full stops, which are no phrase's.
  words = torch.full_like(logits, -math.inf)
  for place in own:
    words[..., place] = logits[..., place]
  best = torch.stack([words[..., p].amax(-1) for p in own]).argmax(0)[0]
  for number, boxes in enumerate(found):
    outputs.logits = words.masked_fill((best != number)[None, :, None], -99)
    [theirs] = processor.post_process_grounded_object_detection(
      outputs,
      inputs["input_ids"],
      threshold=0.3,
      text_threshold=0.3,
      target_sizes=[asked.image.shape[:2]],
    )
    expected = normalised(theirs["boxes"], asked)
    close(boxes, np.c_[expected, theirs["scores"].numpy()])
    scores = [box.score for box in boxes]
    assert scores == sorted(scores, reverse=True)
    total += len(boxes)
  # Or the comparison would say nothing.
  assert total > 3
  assert sum(map(bool, found)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["owlvit", "owlv2"])
@pytest.mark.parametrize("size", [(40, 60), (60, 40)])
def test_owl_answers_as_the_library(folder_of, kind, size):
  import torch

  asked = request(1, DOG, BALL, height=size[0], width=size[1])
  folder = folder_of(kind)
  [found] = DetectorGrounder(folder, threshold=0.2).ground([asked])
  model, processor = opened(folder)
  texts = ["a red dog", "the ball"]
  inputs = processor(images=asked.image, text=[texts], return_tensors="pt")
  with torch.no_grad():
    outputs = model(**inputs)
  [theirs] = processor.post_process_grounded_object_detection(
    outputs, threshold=0.2, target_sizes=[size]
  )
  boxes = np.c_[normalised(theirs["boxes"], asked), theirs["scores"].numpy()]
  labels = theirs["labels"].numpy()
  for number, own in enumerate(found):
    close(own, boxes[labels == number])
  assert all(found)


@pytest.mark.slow
@pytest.mark.parametrize("spans", [(DOG, BALL), (BALL, DOG)])
def test_omdet_turbo_answers_as_the_library(folder_of, monkeypatch, spans):
  import torch
  import transformers as library

  theirs = importlib.import_module(
    "transformers.models.omdet_turbo.processing_omdet_turbo"
  )
  folder, asked = folder_of("omdet-turbo"), request(2, *spans)
  [found] = DetectorGrounder(folder, threshold=0.1).ground([asked])
  load = {"pretrained_model_name_or_path": folder, "local_files_only": True}
  model = library.OmDetTurboForObjectDetection.from_pretrained(**load).eval()
  prepare = library.DetrImageProcessorPil.from_pretrained(**load)
  tokenizer = library.AutoTokenizer.from_pretrained(**load)
  # What its processor does, which cannot be made without torchvision.
  padded = {
    "padding": "max_length",
    "truncation": True,
    "max_length": tiny_detectors.MAX_PHRASE,
    "return_tensors": "pt",
  }
  texts = list(asked.phrases)
  task = tokenizer([f"Detect {texts[0]}, {texts[1]}."], **padded)
  classes = tokenizer(texts, **padded)
  with torch.no_grad():
    outputs = model(
      prepare(asked.image, return_tensors="pt")["pixel_values"],
      classes["input_ids"],
      classes["attention_mask"],
      task["input_ids"],
      task["attention_mask"],
      torch.tensor([2]),
    )
  scores, labels = theirs.compute_score(outputs.decoder_class_logits)
  # Boxes that overlap are suppressed elsewhere.
  monkeypatch.setattr(
    theirs,
    "batched_nms",
    lambda boxes, scores, labels, threshold: torch.arange(len(boxes)),
    raising=False,
  )
  boxes, scores, labels = theirs._post_process_boxes_for_image(
    outputs.decoder_coord_logits[0],
    scores[0],
    labels,
    2,
    asked.image.shape[:2],
    threshold=0.1,
    nms_threshold=1.0,
    max_num_det=scores[0].numel(),
  )
  best = {}
  for box, score, label in zip(
    normalised(boxes, asked), scores.tolist(), labels.tolist(), strict=True
  ):
    best[tuple(box)] = max(best.get(tuple(box), (0, 0)), (score, label))
  for number, own in enumerate(found):
    close(
      own,
      [
        (*box, score) for box, (score, label) in best.items() if label == number
      ],
    )
  assert any(found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_a_batch_answers_as_one_by_one(folder_of, kind):
  requests = [
    request(0, DOG, BALL, MAN),
    request(1, MAN),
    request(2, HAT, DOG, height=60, width=40),
    request(3),
    request(4, HAT, RED_HAT, DOG),
    request(5, DOG, height=60, width=40),
  ]
  grounder = DetectorGrounder(folder_of(kind), 2, 0.0)
  together = grounder.ground(requests)
  assert together[3] == []
  again = DetectorGrounder(folder_of(kind), 2, 0.0).ground(requests)
  assert again == together
  total = 0
  for asked, found in zip(requests, together, strict=True):
    [alone] = grounder.ground([asked])
    assert len(alone) == len(asked.spans)
    for own, other in zip(found, alone, strict=True):
      close(own, numbers(other))
      total += len(own)
  assert total > 20
  assert grounder.ground([]) == []


@pytest.mark.slow
def test_repeated_words_are_asked_once(folder_of):
  grounder = DetectorGrounder(folder_of("owlv2"), threshold=0.0)
  image = picture(0)
  caption = "A dog and a Man and a dog"
  twice = Request("0", image, caption, ((20, 25), (10, 15), (0, 5)))
  once = Request("0", image, caption, ((0, 5), (10, 15)))
  [[first, man, second]] = grounder.ground([twice])
  assert [[first, man]] == grounder.ground([once])
  assert first
  assert second == []
  assert grounder.num_not_asked == 0


@pytest.mark.slow
def test_phrases_that_do_not_fit_have_no_box(folder_of, caplog):
  """And no other phrase is the worse for it."""
  words = "an extraordinarily uncharacteristically large dog"
  caption = f"dog. {words}, ..."
  spans = ((0, 3), (5, 5 + len(words)), (len(caption) - 3, len(caption)))
  owl = DetectorGrounder(folder_of("owlv2"), threshold=0.0)
  [[dog, long, dots]] = owl.ground([Request("0", picture(0), caption, spans)])
  assert long == []
  assert len(dog) + len(dots) == 16
  assert owl.num_not_asked == 1
  [record] = [r for r in caplog.records if r.name == detectors.__name__]
  assert f"{words!r} of the pair '0' has too many" in record.message
  dino = DetectorGrounder(folder_of("grounding-dino"), threshold=0.0)
  [[dog, long, dots]] = dino.ground([Request("0", picture(0), caption, spans)])
  assert dots == []  # Full stops are no words.
  assert len(dog) + len(long) == 12
  assert dino.num_not_asked == 1


@pytest.mark.slow
def test_many_phrases_are_asked_in_several_texts(folder_of):
  grounder = DetectorGrounder(folder_of("grounding-dino"), threshold=0.0)
  texts = [f"a {word}" for word in tiny_detectors.WORDS if word.isalpha()]
  caption, spans = ", ".join(texts), []
  for text in texts:
    start = caption.index(text, spans[-1][1] if spans else 0)
    spans.append((start, start + len(text)))
  # Three tokens each with its full stop, and two around all.
  most = (tiny_detectors.MAX_TEXT - 2) // 3
  assert len(spans) > most

  def ask(some):
    return grounder.ground([Request("0", picture(0), caption, tuple(some))])[0]

  together = ask(spans)
  for own, other in zip(
    together, [*ask(spans[:most]), *ask(spans[most:])], strict=True
  ):
    close(own, numbers(other))
  assert sum(map(len, together)) == 24  # Twelve queries of each text.


@pytest.mark.slow
def test_the_mean_of_a_phrase_is_at_most_its_best_token(folder_of):
  folder, asked = folder_of("grounding-dino"), request(0, DOG)
  best, mean = (
    DetectorGrounder(folder, threshold=0.0, token_score=how).ground([asked])
    for how in ("max", "mean")
  )
  best = {box.box_xyxy: box.score for box in best[0][0]}
  mean = {box.box_xyxy: box.score for box in mean[0][0]}
  assert best.keys() == mean.keys()
  assert all(mean[box] < best[box] for box in best)


@pytest.mark.slow
def test_what_is_no_number_is_told(folder_of):
  grounder = DetectorGrounder(folder_of("owlvit"))
  for value in grounder._family.model.class_head.parameters():
    value.data.fill_(math.nan)
  [[boxes]] = grounder.ground([request(0, DOG)])
  assert len(boxes) == 16
  assert all(math.isnan(box.score) for box in boxes)


@pytest.mark.slow
def test_the_identity_is_that_of_the_weights(folder_of, tmp_path):
  folder = folder_of("owlvit")
  grounder = DetectorGrounder(folder, threshold=0.2)
  digest = grounder.identity["hash"]
  assert grounder.identity == {
    "kind": "transformers",
    "model": "owlvit",
    "hash": digest,
    "threshold": 0.2,
    "token_score": "max",
  }
  assert re.fullmatch("[0-9a-f]{16}", digest)
  assert DetectorGrounder(f"{folder}/", 2).identity["hash"] == digest
  model = grounder._family.model
  next(model.parameters()).data.view(-1)[0] += 1
  assert detectors._hash(model, grounder._prepare) != digest


@pytest.mark.slow
def test_what_is_missing_is_said(folder_of, tmp_path):
  with pytest.raises(FileNotFoundError, match="hf download nobody/nothing"):
    DetectorGrounder("nobody/nothing")
  with pytest.raises(ValueError, match="is a '', no detector that is known"):
    DetectorGrounder(str(tmp_path))
  (tmp_path / "config.json").write_text('{"model_type": "bert"}')
  with pytest.raises(ValueError, match="is a 'bert'.*'grounding-dino'"):
    DetectorGrounder(str(tmp_path))
  (tmp_path / "config.json").write_text('{"model_type": "owlvit"}')
  with pytest.raises(FileNotFoundError, match="or a part of it, is neither"):
    DetectorGrounder(str(tmp_path))


def test_options_are_checked():
  with pytest.raises(ValueError, match="batch_size is 1 or more"):
    DetectorGrounder("any", 0)
  with pytest.raises(ValueError, match="threshold in 0..1"):
    DetectorGrounder("any", threshold=2.0)
  with pytest.raises(ValueError, match=r"one of \['max', 'mean'\]; got 'sum'"):
    DetectorGrounder("any", token_score="sum")


def test_the_libraries_are_asked_for(monkeypatch):
  def nothing(name):
    raise ModuleNotFoundError(f"no {name}", name=name)

  monkeypatch.setattr(importlib, "import_module", nothing)
  with pytest.raises(
    ModuleNotFoundError, match=r"not installed here \(torch\)"
  ):
    DetectorGrounder("any")
