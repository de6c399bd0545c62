"""The package of the official scorers, and the lack of it."""

import importlib.util
import sys

import pytest

from kosmos2_jax.evals.scoring import coco_scorers


def test_the_jars_are_there_and_spice_is_not_loaded():
  scorers = coco_scorers.load()
  assert scorers.meteor_jar.name == "meteor-1.5.jar"
  assert scorers.meteor_jar.is_file()
  assert scorers.tokenizer_jar.is_file()
  assert "pycocoevalcap.spice.spice" not in sys.modules
  assert {".", ",", "''", "--"} < scorers.punctuation


def test_a_missing_package_names_the_extra(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  for function in (coco_scorers.require, coco_scorers.load):
    with pytest.raises(ModuleNotFoundError, match=r"kosmos2_jax\[eval\]"):
      function()
