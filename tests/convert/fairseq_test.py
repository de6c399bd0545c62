"""The original's file: its weights, and never its code."""

import argparse
import os
import sys
import types

import jax
import numpy as np
import pytest

from kosmos2_jax.convert import fairseq, loading
from kosmos2_jax.text.tokenizer import MODEL_FILE, Tokenizer
from tests.convert.samples import (
  fairseq_sizes,
  fairseq_state,
  random_params,
)

torch = pytest.importorskip("torch", reason="needs torch")

TOKENIZER = Tokenizer.small(32)


@pytest.fixture(scope="module")
def sizes():
  return fairseq_sizes(TOKENIZER.vocab.size)


@pytest.fixture
def weights(sizes):
  _, params = random_params(sizes)
  return params, fairseq_state(params, sizes["vocab_size"])


def test_a_checkpoint_as_fairseq_saves_it(
  tmp_path, sizes, weights, monkeypatch
):
  params, state = weights
  # A class of a package that is not there when the file is read.
  module = types.ModuleType("fairseq_like.config")
  module.Config = type("Config", (), {"__module__": module.__name__})
  monkeypatch.setitem(sys.modules, "fairseq_like", types.ModuleType("x"))
  monkeypatch.setitem(sys.modules, module.__name__, module)
  config = module.Config()
  config.model = argparse.Namespace(arch="unigptmodel_xl")
  content = {
    "args": None,
    "cfg": config,
    "model": state,
    "extra_state": {"a": 1},
  }
  torch.save(content, tmp_path / "kosmos-2.pt")
  monkeypatch.delitem(sys.modules, "fairseq_like")
  monkeypatch.delitem(sys.modules, module.__name__)
  (tmp_path / MODEL_FILE).write_bytes(TOKENIZER.model_bytes)

  loaded = loading.load(tmp_path / "kosmos-2.pt")
  assert loaded.sizes == sizes
  jax.tree.map(np.testing.assert_array_equal, loaded.params, params)
  assert len(loaded.dropped) == 3


def test_half_precision(tmp_path, weights, sizes):
  params, state = weights
  halves = {name: value.half() for name, value in state.items()}
  torch.save({"model": halves}, tmp_path / "half.pt")
  source = fairseq.TorchFile(tmp_path / "half.pt")
  assert fairseq.sizes_of(source) == sizes
  found = source.read("img_connector.latent_query")
  np.testing.assert_array_equal(
    found, params["resampler"]["latents"].astype(np.float16)
  )
  assert found.dtype == np.float32


class Malice:
  """What an attacker would put into a pickle."""

  def __init__(self, target):
    self.target = target

  def __reduce__(self):
    return os.mkdir, (self.target,)


@pytest.mark.parametrize("where", ["model", "cfg"])
def test_a_malicious_pickle_does_not_run(tmp_path, weights, where):
  target = tmp_path / "broken_into"
  content = {"model": weights[1], "cfg": {}}
  content[where]["a"] = Malice(str(target))
  torch.save(content, tmp_path / "evil.pt")
  try:
    fairseq.TorchFile(tmp_path / "evil.pt")
  except ValueError as error:
    assert "evil.pt" in str(error)
  assert not target.exists()


def test_files_that_are_no_checkpoint(tmp_path):
  with pytest.raises(FileNotFoundError, match="there is no file"):
    fairseq.TorchFile(tmp_path / "nothing.pt")
  (tmp_path / "text.pt").write_text("hello")
  with pytest.raises(ValueError, match=r"text\.pt.*cannot be read as weights"):
    fairseq.TorchFile(tmp_path / "text.pt")
  torch.save([1, 2], tmp_path / "list.pt")
  with pytest.raises(ValueError, match="holds a list; expected a dict"):
    fairseq.TorchFile(tmp_path / "list.pt")
  torch.save({"model": {"a": 1}}, tmp_path / "numbers.pt")
  with pytest.raises(ValueError, match="holds no weights"):
    fairseq.TorchFile(tmp_path / "numbers.pt")
  torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "other.pt")
  with pytest.raises(ValueError, match=r"this is no kosmos-2\.pt"):
    fairseq.sizes_of(fairseq.TorchFile(tmp_path / "other.pt"))


def test_without_torch_a_sentence_says_so(tmp_path, monkeypatch):
  (tmp_path / "kosmos-2.pt").write_bytes(b"")
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(ModuleNotFoundError, match="torch is not installed"):
    fairseq.TorchFile(tmp_path / "kosmos-2.pt")
