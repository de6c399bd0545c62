"""Safetensors files: several of them, half precision, and damage."""

import copy
import json

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from kosmos2_jax.convert import huggingface, weights
from tests.convert.samples import random_params, read_folder


def test_several_files_hold_the_same_as_one(folder, odd_sizes):
  _, params = random_params(odd_sizes)
  (folder / "cut").mkdir()
  huggingface.write_config(folder / "cut", odd_sizes)
  weights.write(folder / "cut", params, 333, max_shard_bytes=50_000)
  files = sorted(file.name for file in folder.glob("cut/*.safetensors"))
  assert len(files) > 3
  assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
  whole = read_folder(folder)[2]
  jax.tree.map(
    np.testing.assert_array_equal, whole, read_folder(folder / "cut")[2]
  )
  index = json.loads((folder / "cut/model.safetensors.index.json").read_text())
  size = sum(a.nbytes for a in load_file(folder / "model.safetensors").values())
  assert index["metadata"]["total_size"] == size
  (folder / "cut" / files[1]).unlink()
  with pytest.raises(FileNotFoundError, match=files[1]):
    weights.SafetensorsFolder(folder / "cut")


def test_an_index_that_disagrees_with_its_files_is_an_error(folder):
  names = load_file(folder / "model.safetensors")
  index = {"weight_map": dict.fromkeys([*names, "more"], "model.safetensors")}
  (folder / weights.INDEX_FILE).write_text(json.dumps(index))
  with pytest.raises(ValueError, match="disagree about 1 weights, first more"):
    weights.SafetensorsFolder(folder)


def test_an_index_cannot_point_out_of_its_folder(folder):
  outside = folder.parent / "outside.safetensors"
  save_file({"a": np.zeros(1)}, outside)
  index = {"weight_map": {"a": "../outside.safetensors"}}
  (folder / weights.INDEX_FILE).write_text(json.dumps(index))
  with pytest.raises(FileNotFoundError, match="is not there"):
    weights.SafetensorsFolder(folder)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_files(odd_sizes, tmp_path, dtype):
  _, params = random_params(odd_sizes)
  wanted = copy.deepcopy(params)
  huggingface.write_config(tmp_path, odd_sizes, dtype)
  weights.write(tmp_path, params, 333, dtype=dtype)
  kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16
  jax.tree.map(
    lambda one, other: np.testing.assert_array_equal(
      one, other.astype(kind).astype(np.float32)
    ),
    read_folder(tmp_path)[2],
    wanted,
  )
  with pytest.raises(ValueError, match="dtype is one of"):
    weights.write(tmp_path, params, 333, dtype="int8")


def test_a_truncated_file_is_an_error(folder):
  file = folder / "model.safetensors"
  file.write_bytes(file.read_bytes()[:-1])
  with pytest.raises(ValueError, match="no complete safetensors file"):
    weights.SafetensorsFolder(folder)


def test_no_weights_is_an_error(folder):
  (folder / "model.safetensors").unlink()
  with pytest.raises(FileNotFoundError, match="neither model.safetensors nor"):
    weights.SafetensorsFolder(folder)
