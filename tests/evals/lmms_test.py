"""lmms-eval's adapter, over a stand-in for that package's base class."""

import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from kosmos2_jax.evals import lmms
from kosmos2_jax.generation.answers import Generation
from kosmos2_jax.generation.scoring import Score
from kosmos2_jax.models import presets
from kosmos2_jax.predictor import Predictor
from kosmos2_jax.text.tokenizer import Tokenizer
from tests.convert.samples import random_params

TOKENIZER = Tokenizer.small(num_bins=4)


class Base:
  """What `lmms_eval.api.model.lmms` gives its subclasses."""

  is_simple = True

  def __init__(self):
    self._rank, self._world_size, self.task_dict = 0, 1, {}


class Manifest(SimpleNamespace):
  """`lmms_eval.models.registry_v2.ModelManifest`."""


@pytest.fixture
def registered(monkeypatch):
  """lmms-eval is there; returns what is registered."""
  found = []
  registry = SimpleNamespace(
    register_manifest=lambda manifest, overwrite: found.append(manifest)
  )
  contents = {
    "lmms_eval": {},
    "lmms_eval.api": {},
    "lmms_eval.api.model": {"lmms": Base},
    "lmms_eval.models": {"MODEL_REGISTRY_V2": registry},
    "lmms_eval.models.registry_v2": {"ModelManifest": Manifest},
  }
  for name, values in contents.items():
    module = types.ModuleType(name)
    vars(module).update(values, __path__=[])
    monkeypatch.setitem(sys.modules, name, module)
  lmms.model_class.cache_clear()
  yield found
  lmms.model_class.cache_clear()


class Fake:
  """Remembers what it was asked; says yes."""

  tokenizer = TOKENIZER
  max_length = 64

  def __init__(self):
    self.asked = []

  def generate(self, prompts, images, **options):
    self.asked.append((prompts, images, options))
    return [
      Generation("", tuple(TOKENIZER.encode("<phrase>Yes</phrase>")), (), True)
      for _ in prompts
    ]

  def score(self, prompts, continuations, images):
    self.asked.append((prompts, continuations, images))
    return [Score(-float(len(c)), len(c), True) for c in continuations]


RED = Image.new("RGB", (8, 8), "red")
BLUE = Image.new("RGB", (8, 8), "blue")
DOCS = {
  "task": {"test": [{"image": RED}, {"image": BLUE}, {"image": None}]},
}


def visual(doc):
  return [doc["image"]] if doc["image"] else []


def request(*arguments):
  return SimpleNamespace(args=(*arguments, "task", "test"))


def adapted(predictor, **options):
  model = lmms.model_class()(predictor=predictor, **options)
  model.task_dict = DOCS
  return model


def test_questions_are_continued_with_their_pictures(registered):
  predictor = Fake()
  model = adapted(predictor, template="Question: {context} Answer:")
  options = {
    "max_new_tokens": 4,
    "until": ["."],
    "image_aspect_ratio": "original",
  }
  answers = model.generate_until(
    [
      request("Is it red?", options, visual, 0),
      request("Is the whole of it blue?", options, visual, 1),
      request("Is it?", options, visual, 2),
    ]
  )
  assert answers == ["Yes"] * 3
  [(prompts, images, asked)] = predictor.asked
  assert prompts == [
    "Question: Is the whole of it blue? Answer:",
    "Question: Is it red? Answer:",
    "Question: Is it? Answer:",
  ]
  assert images == [[BLUE], [RED], []]
  assert asked["max_new_tokens"] == 4


def test_targets_are_scored_with_their_pictures(registered):
  predictor = Fake()
  model = adapted(predictor)
  answers = model.loglikelihood(
    [
      request("It is", " red", visual, 0),
      request("It is", lambda doc: " a blue square", visual, 1),
    ]
  )
  tokens = [
    TOKENIZER.encode(f"It is{text}")[len(TOKENIZER.encode("It is")) :]
    for text in (" red", " a blue square")
  ]
  assert answers == [(-float(len(t)), True) for t in tokens]
  [(prompts, continuations, images)] = predictor.asked
  assert prompts == [TOKENIZER.encode("It is")] * 2
  assert continuations == tokens[::-1]
  assert images == [[BLUE], [RED]]


@pytest.mark.slow
def test_a_predictor_takes_what_the_adapter_gives(registered):
  """With a real model: pictures change the likelihoods, and answers come."""
  sizes = presets.preset("tiny") | {"vocab_size": TOKENIZER.vocab.size}
  predictor = Predictor(
    presets.build(sizes), random_params(sizes)[1], TOKENIZER
  )
  model = adapted(predictor)
  found = model.loglikelihood(
    [request("It is", " red", visual, i) for i in range(2)]
  )
  [expected] = predictor.score(["It is"], ["red"], [RED])
  assert found[0][0] == pytest.approx(expected.log_prob, rel=1e-5)
  assert not np.isclose(found[0][0], found[1][0])
  options = {"max_new_tokens": 2}
  [answer] = model.generate_until([request("It is", options, visual, 0)])
  assert isinstance(answer, str)


def test_the_model_is_registered_by_the_path_of_its_class(registered):
  lmms.register()
  [manifest] = registered
  assert manifest.model_id == "kosmos2_jax"
  module, name = manifest.simple_class_path.rsplit(".", 1)
  assert sys.modules[module] is lmms
  found = getattr(lmms, name)
  assert issubclass(found, Base)
  assert found.is_simple
  with pytest.raises(AttributeError, match="no attribute 'Other'"):
    lmms.Other  # noqa: B018


def test_only_pictures_and_single_rounds_are_answered(registered):
  model = adapted(Fake())
  with pytest.raises(ValueError, match="looks at pictures.*'str'"):
    model.generate_until([request("What?", {}, lambda doc: ["a.mp4"], 0)])
  with pytest.raises(NotImplementedError, match="tasks of one round"):
    model.generate_until_multi_round([])


def test_wrong_arguments_are_refused(registered):
  make = lmms.model_class()
  with pytest.raises(ValueError, match="give the checkpoint"):
    make()
  with pytest.raises(ValueError, match="has no place for the task's text"):
    make(predictor=Fake(), template="Question:")


def test_a_missing_package_is_one_sentence(monkeypatch):
  monkeypatch.setitem(sys.modules, "lmms_eval", None)
  with pytest.raises(ModuleNotFoundError, match="lmms_eval is not installed"):
    lmms.register()
