"""A faithful copy passes; one wrong number anywhere does not."""

import math
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from kosmos2_jax.convert import (
  huggingface,
  processor,
  report,
  transfer,
  verify,
  weights,
)
from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.tools import convert
from kosmos2_jax.training import saved_params, workdir
from tests.convert.samples import random_params

TOKENIZER = Tokenizer.small(4)
SIZES = presets.preset("tiny") | {"vocab_size": TOKENIZER.vocab.size}
CASES = ("text only", "one picture", "two pictures", "padded batch")
QUERY = "text_model.model.layers.1.self_attn.q_proj.weight"


def write_theirs(folder, dtype="float32", params=None):
  folder.mkdir()
  if params is None:
    _, params = random_params(SIZES)
  huggingface.write_config(folder, SIZES, dtype)
  huggingface.write_generation(folder, 0)
  processor.write(folder, TOKENIZER, SIZES["vision"]["image_size"])
  weights.write(folder, params, SIZES["vocab_size"], dtype=dtype)
  return folder


def write_ours(folder, dtype="float32", params=None):
  if params is None:
    _, params = random_params(SIZES)
  workdir.describe_run(folder, None, SIZES, dtype, TOKENIZER.model_bytes)
  saved_params.save(folder, params)
  return folder


def alter(folder, name, index, change):
  """Changes one weight of a Hugging Face folder."""
  file = folder / weights.WEIGHTS_FILE
  arrays = load_file(file)
  arrays[name][index] = change(arrays[name][index])
  save_file(arrays, file, metadata={"format": "pt"})


def verified(*args):
  checks = {check.name: check for check in verify.verify(*args)}
  return checks, {name for name, c in checks.items() if c.passed is False}


@pytest.fixture
def alone(monkeypatch):
  """Neither torch nor transformers is installed."""
  monkeypatch.setitem(sys.modules, "torch", None)
  monkeypatch.setitem(sys.modules, "transformers", None)


@pytest.fixture
def transformers():
  pytest.importorskip("torch", reason="needs torch")
  return pytest.importorskip("transformers", reason="needs transformers")


@pytest.mark.slow
@pytest.mark.parametrize("turn", [1, -1])
def test_logits_in_float32(tmp_path, transformers, turn):
  pair = [write_theirs(tmp_path / "theirs"), write_ours(tmp_path / "ours")]
  checks, failed = verified(*pair[::turn])
  assert list(checks) == [
    "description",
    "parameters",
    *(f"logits, {name}" for name in CASES),
  ]
  assert not failed
  assert "57 of 57 arrays equal, bit for bit" in checks["parameters"].found
  # A weight that is wrong in what transformers reads shows in the logits.
  alter(pair[0], QUERY, (3, 4), lambda value: value + 1)
  checks, failed = verified(*pair[::turn])
  assert {f"logits, {name}" for name in CASES} < failed


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("make_source", [write_theirs, write_ours])
def test_half_precision(tmp_path, transformers, make_source, dtype):
  source = make_source(tmp_path / "source")
  target = write_theirs(tmp_path / "target", dtype)
  checks, failed = verified(source, target)
  assert not failed
  assert f"57 of 57 arrays equal, once rounded to {dtype}" in str(
    checks["parameters"]
  )
  for name in CASES:
    strict, used = checks[f"logits, {name}"], checks[f"in {dtype}, {name}"]
    assert strict.found.endswith("limit 2.0e-05")
    limit = verify.half_limit(SIZES, dtype)
    assert used.found.endswith(f"limit {limit:.1e}")
    # The rounding is seen: this comparison is not the other one again.
    ratio = float(used.found.split("ratio ")[1].split(",")[0])
    assert 1e-5 < ratio < limit
  # The next number up, of one weight.
  alter(target, QUERY, (3, 4), lambda v: np.nextafter(v, v.dtype.type(100)))
  checks, failed = verified(source, target)
  name = "decoder/layers/attention/query/kernel"
  assert {"parameters", name} <= failed
  assert "1 of 512 entries differ, first at [1, 4, 0, 3]" in checks[name].found


@pytest.mark.slow
def test_a_target_that_computes_in_half_precision(tmp_path, transformers):
  source = write_theirs(tmp_path / "source")
  target = write_ours(tmp_path / "target", "bfloat16")
  checks, failed = verified(source, target)
  assert not failed
  assert "bit for bit" in checks["parameters"].found
  found = checks["in bfloat16, one picture"].found
  assert float(found.split("ratio ")[1].split(",")[0]) > 1e-4


def test_without_torch_parameters_are_compared(tmp_path, alone):
  source = write_theirs(tmp_path / "source")
  target = write_ours(tmp_path / "target")
  checks, failed = verified(source, target)
  assert not failed
  assert str(checks["logits"]) == (
    "note  logits                      not compared with transformers: first"
    " pip install torch transformers"
  )
  alter(source, QUERY, (3, 4), lambda value: value + 1e-3)
  checks, failed = verified(source, target)
  name = "decoder/layers/attention/query/kernel"
  assert failed == {"parameters", name}
  assert "56 of 57 arrays equal" in checks["parameters"].found
  assert checks[name].found == (
    "1 of 512 entries differ, first at [1, 4, 0, 3], by at most 1.0e-03"
  )


def test_two_workdirs(tmp_path):
  _, params = random_params(SIZES)
  # What is behind the vocabulary counts for nothing.
  params["decoder"]["embedding"][SIZES["vocab_size"] :] = 3
  source = write_ours(tmp_path / "source", params=params)
  target = write_ours(tmp_path / "target")
  checks, failed = verified(source, target)
  assert not failed
  assert "neither is a folder of its kind" in checks["logits"].found


@pytest.mark.slow
def test_the_originals_file(tmp_path, transformers):
  torch = pytest.importorskip("torch", reason="needs torch")
  tokenizer = Tokenizer.small(32)
  sizes = presets.preset("tiny") | {"num_bins": 32}
  sizes["vocab_size"] = tokenizer.vocab.size
  # Heads as they are read from such a file: 32, and vision's of 64 channels.
  for part, changes in {
    "vision": {"width": 64, "num_heads": 1},
    "resampler": {"num_heads": 32},
    "decoder": {"width": 32, "num_heads": 32},
  }.items():
    sizes[part] |= changes
  _, params = random_params(sizes)
  arrays = transfer.export(params, sizes["vocab_size"], "fairseq")
  state = {name: torch.tensor(array) for name, array in arrays}
  source, target = tmp_path / "kosmos-2.pt", tmp_path / "target"
  torch.save({"model": state}, source)
  (tmp_path / "sentencepiece.bpe.model").write_bytes(tokenizer.model_bytes)
  convert.convert(source, target, "huggingface", "float32", 50.0)
  checks, failed = verified(source, target)
  assert not failed
  assert sum(name.startswith("logits, ") for name in checks) == len(CASES)
  alter(target, "vision_model.model.pre_layrnorm.bias", 2, lambda v: v + 1)
  assert {"vision/pre_norm/bias", "logits, one picture"} < (
    verified(source, target)[1]
  )


def test_other_models_differ(tmp_path):
  source = write_ours(tmp_path / "source")
  sizes = presets.preset("tiny")
  tokenizer = Tokenizer.small(8)
  sizes |= {"vocab_size": tokenizer.vocab.size, "num_bins": 8}
  sizes["decoder"]["mlp_dim"] = 24
  _, params = random_params(sizes)
  target = tmp_path / "target"
  workdir.describe_run(target, None, sizes, "float32", tokenizer.model_bytes)
  saved_params.save(target, params)
  huggingface.write_generation(target, 3)
  checks, failed = verified(source, target)
  assert "decoder.mlp_dim is 32, not 24" in checks["description"].found
  assert "no_repeat_ngram_size is 0, not 3" in checks["description"].found
  assert "description" in failed
  assert "shape (2, 16, 32) became (2, 16, 24)" in str(
    checks["decoder/layers/mlp/up/kernel"]
  )
  assert "these are different models" in checks["logits"].found


def test_many_wrong_arrays_are_counted(tmp_path):
  source = write_ours(tmp_path / "source")
  _, params = random_params(SIZES, seed=1)
  target = write_ours(tmp_path / "target", params=params)
  checks, failed = verified(source, target)
  assert "0 of 57 arrays equal" in checks["parameters"].found
  assert len(failed) == 1 + 10 + 1
  assert "47 more arrays differ" in checks["…"].found


@pytest.mark.parametrize(
  ("one", "other", "kind", "words"),
  [
    (0.0, -0.0, "float32", "1 of 1 entries differ"),
    (math.nan, math.nan, "float32", ""),
    (1e6, math.inf, "float16", ""),
    (1 + 2.0**-12, 1.0, "float16", ""),
    (1 + 2.0**-12, 1.0, "float32", "by at most 2.4e-04"),
    (1 + 2.0**-9, 1.0, "bfloat16", ""),
    (1 + 2.0**-7, 1.0, "bfloat16", "by at most 7.8e-03"),
  ],
)
def test_one_number(one, other, kind, words):
  arrays = [np.array([value], np.float32) for value in (one, other)]
  found = verify._difference(*arrays, kind)
  assert (words in found) if words else found == ""


def test_half_limit():
  sizes = {"vision": {"depth": 2}, "decoder": {"depth": 3}}
  # 6 matrices in each of 5 layers and 7 more; 11 bits.
  limit = verify.half_limit(sizes, "float16")
  assert limit == pytest.approx(math.sqrt(2 * 37) / 2048)


def test_weights_of_several_types_are_refused(tmp_path):
  folder = write_theirs(tmp_path / "theirs")
  file = folder / weights.WEIGHTS_FILE
  arrays = load_file(file)
  arrays[QUERY] = arrays[QUERY].astype(np.float16)
  save_file(arrays, file)
  with pytest.raises(ValueError, match="of one type, .*; found F16, F32 in"):
    list(verify.verify(write_ours(tmp_path / "ours"), folder))


def test_summaries():
  passed = report.Check("a", True, "")
  assert report.summary([passed] * 3) == "all 3 checks passed"
  note, wrong = report.Check("b", None, ""), report.Check("c", False, "x")
  assert report.summary([passed, note]) == (
    "all 1 checks passed; 1 not made, see the notes"
  )
  assert report.summary([passed, wrong]) == "FAILED: 1 of 2 checks"
  assert str(wrong) == f"FAIL  {'c':26}  x"
