"""Grounders by name; Kosmos-2's boxes are those of the predictor."""

import functools
import inspect
import logging
import pickle

import jax
import numpy as np
import pytest

from data.grit.build.grounding import Request, ScoredBox
from kosmos2_jax.evals.fingerprint import params_hash
from kosmos2_jax.generation.latents import Latents
from kosmos2_jax.grit import grounders
from kosmos2_jax.grit.grounders import Kosmos2Grounder
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import MAX_BOX_TOKENS, Predictor
from kosmos2_jax.text.grounded import Box
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import state as state_lib

TOKENIZER = Tokenizer.small(num_bins=4)
SIZES = presets.preset("tiny") | {"vocab_size": TOKENIZER.vocab.size}
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
CAPTION = "a red circle left of a square, and a red circle"
CIRCLE, SQUARE, AGAIN = (0, 12), (21, 29), (35, 47)


@pytest.fixture(scope="module")
def predictor():
  model = presets.build(SIZES)
  params = state_lib.init_params(model, jax.random.key(0))
  return Predictor(model, params, TOKENIZER, step=7, batch_size=4)


@pytest.fixture
def opened(monkeypatch, predictor):
  """Opens the predictor, whatever the path; the arguments it was given."""
  arguments = []

  def from_pretrained(path, **options):
    arguments.append((path, options))
    return predictor

  monkeypatch.setattr(Predictor, "from_pretrained", from_pretrained)
  return arguments


def request(number, *spans, caption=CAPTION):
  return Request(str(number), PICTURES[number], caption, spans)


def by_hand(predictor, *asked):
  """Of (number of the picture, prompt), asked in the other order."""
  answers = predictor.locate_batch(
    [PICTURES[number] for number, _ in asked[::-1]],
    [prompt for _, prompt in asked[::-1]],
    as_prompts=True,
    constrained=True,
  )
  return [
    [ScoredBox(box.xyxy, box.score) for box in boxes] for boxes in answers[::-1]
  ]


def close(found, expected):
  """The same boxes; probabilities as far as float32 sums agree."""
  assert [box.box_xyxy for box in found] == [b.box_xyxy for b in expected]
  np.testing.assert_allclose(
    [box.score for box in found], [b.score for b in expected], rtol=1e-4
  )


@pytest.mark.slow
def test_boxes_are_those_of_the_predictor(opened, predictor, monkeypatch):
  encoded = []
  encode = Latents._encode
  monkeypatch.setattr(
    Latents,
    "_encode",
    lambda self, images, slots: (
      encoded.append(len(images)),
      encode(self, images, slots),
    )[1],
  )
  grounder = Kosmos2Grounder("runs/here", 4, dtype="float32")
  assert opened == [("runs/here", {"dtype": "float32", "batch_size": 4})]
  [first, none, second] = grounder.ground(
    [request(0, CIRCLE, SQUARE, AGAIN), request(1), request(1, SQUARE)]
  )
  assert sum(encoded) == 2
  circle = "<grounding><phrase>a red circle</phrase>"
  square = "<grounding><phrase>a square</phrase>"
  assert first[2] == []  # The same words again.
  assert none == []
  found = [*first[:2], *second]
  theirs = by_hand(predictor, (0, circle), (0, square), (1, square))
  for own, other in zip(found, theirs, strict=True):
    close(own, other)
  assert all(found)
  assert all(0 < box.score < 1 for boxes in found for box in boxes)
  # Not all alike, or the comparison would say nothing.
  assert len({boxes[0].score for boxes in found}) == 3
  assert grounder.num_not_asked == 0


@pytest.mark.slow
def test_the_caption_before_a_phrase_is_told(opened, predictor):
  grounder = Kosmos2Grounder("runs/here", 4, "caption")
  [found] = grounder.ground([request(0, CIRCLE, AGAIN)])
  before = "a red circle left of a square, and "
  theirs = by_hand(
    predictor,
    (0, "<grounding> <phrase>a red circle</phrase>"),
    (0, f"<grounding>{before} <phrase>a red circle</phrase>"),
  )
  for own, other in zip(found, theirs, strict=True):
    close(own, other)
  assert found[0][0].score != found[1][0].score


def test_what_cannot_be_asked_has_no_box(
  opened, predictor, monkeypatch, caplog
):
  asked = []

  def locate_batch(images, texts, **options):
    del images
    asked.append((texts, options))
    return [[] for _ in texts]

  monkeypatch.setattr(predictor, "locate_batch", locate_batch)
  caption = f"<image> of   a {'red ' * 2100}dog"
  tag, blank, before, long = (0, 7), (10, 13), (13, 14), (15, len(caption))
  spans = (tag, blank, long, before)
  grounder = Kosmos2Grounder("here")
  with caplog.at_level(logging.WARNING):
    found = grounder.ground([request(0, *spans, caption=caption)])
  assert found == [[[], [], [], []]]
  assert asked == [
    (
      ["<grounding><phrase>a</phrase>"],
      {"max_new_tokens": MAX_BOX_TOKENS, "as_prompts": True},
    )
  ]
  assert grounder.num_not_asked == 3
  [record] = caplog.records  # Once, however many.
  assert "'<image>' of the pair '0' is too long, empty, or" in record.message
  # A tag that stands before the phrase is read, too.
  grounder = Kosmos2Grounder("here", prompt="caption")
  assert grounder.ground([request(0, before, caption=caption)]) == [[[]]]
  assert grounder.num_not_asked == 1
  assert len(asked) == 1
  assert grounder.ground([]) == []
  assert grounder.ground([request(0)]) == [[]]


def test_the_longest_prompt_is_asked(opened, predictor, monkeypatch):
  text = f"<grounding><phrase>a{' red' * 40} circle</phrase>"
  ids = predictor.encode(f"{text}<object>", PICTURES[0])["tokens"]
  grounder = Kosmos2Grounder("here")
  caption = f"a{' red' * 40} circle"
  whole = request(0, (0, len(caption)), caption=caption)
  most = ids.shape[1] + MAX_BOX_TOKENS
  box = Box((0.0, 0.25, 0.5, 1.0), 0.5)
  monkeypatch.setattr(predictor, "locate_batch", lambda *_, **__: [[box]])
  monkeypatch.setattr(predictor, "max_length", most)
  assert grounder.ground([whole]) == [[[ScoredBox(box.xyxy, 0.5)]]]
  monkeypatch.setattr(predictor, "max_length", most - 1)
  assert grounder.ground([whole]) == [[[]]]
  assert grounder.num_not_asked == 1


def test_the_identity_tells_checkpoint_and_options(opened, predictor):
  grounder = Kosmos2Grounder("runs/here", prompt="caption", max_new_tokens=6)
  assert grounder.batch_size == 16
  assert grounder.identity == {
    "kind": "kosmos2",
    "checkpoint": "here",
    "step": 7,
    "hash": params_hash(predictor.params),
    "dtype": "of the checkpoint",
    "prompt": "caption",
    "max_new_tokens": 6,
  }


def test_options_are_checked():
  assert grounders.MAX_NEW_TOKENS == MAX_BOX_TOKENS
  with pytest.raises(ValueError, match="batch_size is 1 or more"):
    Kosmos2Grounder("here", 0)
  with pytest.raises(ValueError, match="max_new_tokens 3 or more"):
    Kosmos2Grounder("here", max_new_tokens=2)
  with pytest.raises(ValueError, match=r"one of \['phrase', 'caption'\]; got"):
    Kosmos2Grounder("here", prompt="words")
  with pytest.raises(FileNotFoundError, match="there is no 'nowhere'"):
    Kosmos2Grounder("nowhere")


def test_a_grounder_has_a_name(opened, tmp_path):
  boxes = tmp_path / "boxes.jsonl"
  boxes.write_text("")
  make = functools.partial(
    grounders.make, "precomputed", {"boxes": str(boxes), "batch_size": 3}
  )
  grounder = pickle.loads(pickle.dumps(make))()
  assert (grounder.batch_size, grounder.identity["kind"]) == (3, "precomputed")
  grounder = grounders.make("kosmos2", {"checkpoint": "here", "batch_size": 2})
  assert isinstance(grounder, Kosmos2Grounder)
  assert grounder.batch_size == 2
  assert inspect.signature(grounder.ground).parameters.keys() == {"requests"}
  with pytest.raises(ValueError, match="token_score is one of"):
    grounders.make("transformers", {"model": "a", "token_score": "sum"})


def test_wrong_names_are_said():
  with pytest.raises(
    ValueError, match="kosmos2, precomputed, transformers; fo"
  ):
    grounders.make("glip", {})
  with pytest.raises(ValueError, match="'kosmos2' has no 'model'; its options"):
    grounders.make("kosmos2", {"checkpoint": "here", "model": "there"})
  with pytest.raises(ValueError, match="'transformers' needs 'model'; its opt"):
    grounders.make("transformers", {"batch_size": 2})
