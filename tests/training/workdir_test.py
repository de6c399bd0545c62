"""A workdir describes its run, and refuses another one."""

import json

import pytest

from kosmos2_jax.models import presets
from kosmos2_jax.training import workdir

SIZES = presets.preset("tiny")
CONFIG = {"seed": 0, "data": {"kinds": [{"name": "a", "per_step": 2}]}}


def _describe(folder, config=CONFIG, sizes=SIZES, dtype="float32", model=b"m"):
  return workdir.describe_run(folder, json.dumps(config), sizes, dtype, model)


def test_files(tmp_path):
  folder = tmp_path / "new" / "run"
  assert _describe(folder) == []
  assert json.loads((folder / "config.json").read_text()) == CONFIG
  description = json.loads((folder / "model.json").read_text())
  assert description == {"sizes": SIZES, "dtype": "float32"}
  assert presets.build(description["sizes"], dtype=description["dtype"])
  assert (folder / "sentencepiece.bpe.model").read_bytes() == b"m"
  assert len(list(folder.iterdir())) == 3  # no unfinished file


def test_changes_are_named_and_kept(tmp_path):
  _describe(tmp_path)
  assert _describe(tmp_path) == []
  changed = {"seed": 1, "data": {"kinds": [{"name": "a", "per_step": 4}]}}
  lines = ["data.kinds.0.per_step: 2 -> 4", "seed: 0 -> 1"]
  assert _describe(tmp_path, config=changed) == lines
  assert _describe(tmp_path, config=changed) == []
  assert _describe(tmp_path, config={**changed, "new": []}) == [
    "new: not set -> []"
  ]


def test_another_model_is_refused(tmp_path):
  _describe(tmp_path)
  sizes = presets.preset("tiny")
  sizes["decoder"]["width"] = 32
  with pytest.raises(
    ValueError,
    match=r"another model \(sizes.decoder.width: 16 -> 32\): restore the old",
  ):
    _describe(tmp_path, sizes=sizes)
  with pytest.raises(ValueError, match=r"\(dtype: float32 -> bfloat16\)"):
    _describe(tmp_path, dtype="bfloat16")
  with pytest.raises(ValueError, match="is not the tokenizer of this config"):
    _describe(tmp_path, model=b"another")
  # A refusal changes nothing.
  assert _describe(tmp_path) == []
