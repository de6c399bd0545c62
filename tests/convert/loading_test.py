"""Every kind of checkpoint opens, with stacked and with separate layers."""

import copy
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from kosmos2_jax.convert import huggingface, loading, processor, weights
from kosmos2_jax.models import stacking
from kosmos2_jax.text.tokenizer import MODEL_FILE, Tokenizer
from kosmos2_jax.training import saved_params, state, workdir
from tests.convert.samples import (
  fairseq_sizes,
  fairseq_state,
  random_params,
)


@pytest.fixture(scope="module")
def tokenizer():
  return Tokenizer.small(3)


@pytest.fixture(scope="module")
def sizes(odd_sizes, tokenizer):
  return odd_sizes | {"vocab_size": tokenizer.vocab.size}


def write_folder(folder, sizes, tokenizer, params):
  folder.mkdir()
  huggingface.write_config(folder, sizes)
  huggingface.write_generation(folder, 4)
  processor.write(folder, tokenizer, sizes["vision"]["image_size"])
  weights.write(folder, copy.deepcopy(params), sizes["vocab_size"])
  return folder


@pytest.fixture(scope="module")
def theirs(sizes, tokenizer, tmp_path_factory):
  """A Hugging Face folder, and what was written to it."""
  params = random_params(sizes)[1]
  folder = tmp_path_factory.mktemp("huggingface") / "folder"
  return write_folder(folder, sizes, tokenizer, params), params


@pytest.fixture(scope="module")
def ours(sizes, tokenizer, tmp_path_factory):
  params = random_params(sizes, seed=1)[1]
  folder = tmp_path_factory.mktemp("workdir")
  model_bytes = tokenizer.model_bytes
  workdir.describe_run(folder, None, sizes, "bfloat16", model_bytes)
  huggingface.write_generation(folder, 5)  # as conversion to a workdir does
  saved_params.save(folder, params, 3)
  return folder, params


@pytest.fixture(scope="module")
def original(tmp_path_factory):
  """A `kosmos-2.pt` beside its tokenizer."""
  torch = pytest.importorskip("torch", reason="needs torch")
  tokenizer = Tokenizer.small(32)
  params = random_params(fairseq_sizes(tokenizer.vocab.size))[1]
  file = tmp_path_factory.mktemp("fairseq") / "kosmos-2.pt"
  weights_of = fairseq_state(params, tokenizer.vocab.size)
  torch.save({"model": weights_of}, file)
  (file.parent / MODEL_FILE).write_bytes(tokenizer.model_bytes)
  return file, params


def assert_same(one, other):
  assert jax.tree.structure(one) == jax.tree.structure(other)
  jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("kind", ["theirs", "ours", "original"])
def test_separate_layers_are_those_of_the_stacked_model(kind, request):
  path, written = request.getfixturevalue(kind)
  stacked = loading.load(path)
  assert_same(stacked.params, written)
  apart = loading.load(path, stacked=False)
  assert_same(apart.params, stacking.separate(stacked.params))
  assert "layers_2" in apart.params["decoder"]
  # The model that comes with them is the one they fit.
  abstract = jax.eval_shape(
    lambda: state.init_params(apart.model, jax.random.key(0))
  )
  shapes = jax.tree.map(lambda leaf: leaf.shape, abstract)
  assert shapes == jax.tree.map(lambda leaf: leaf.shape, apart.params)
  # All else is the same.
  assert apart.model.decoder.dtype == stacked.model.decoder.dtype
  for field in ("sizes", "step", "no_repeat_ngram_size", "dropped"):
    assert getattr(apart, field) == getattr(stacked, field), field
  assert apart.tokenizer.model_bytes == stacked.tokenizer.model_bytes


@pytest.mark.parametrize("stacked", [True, False])
def test_the_compute_type_is_a_workdirs_own_or_the_one_asked_for(
  ours, theirs, stacked
):
  for path, asked, expected in (
    (ours, None, "bfloat16"),
    (ours, "float32", "float32"),
    (theirs, None, "float32"),
    (theirs, "bfloat16", "bfloat16"),
  ):
    model = loading.load(path[0], asked, stacked=stacked).model
    for part in (model.vision, model.resampler, model.decoder):
      assert part.dtype == expected


def test_decoding_defaults_come_with_the_checkpoint(theirs, ours, original):
  found = [loading.load(path) for path, _ in (theirs, ours, original)]
  assert [each.no_repeat_ngram_size for each in found] == [4, 5, 3]
  assert [each.step for each in found] == [None, 3, None]


def test_there_and_back_is_bitwise_the_same(ours, sizes, tokenizer, tmp_path):
  source = loading.load(ours[0])
  params = jax.tree.map(np.asarray, source.params)
  folder = write_folder(tmp_path / "there", source.sizes, tokenizer, params)
  back = loading.load(folder)
  assert back.sizes == source.sizes == sizes
  assert back.tokenizer.model_bytes == tokenizer.model_bytes
  assert_same(back.params, ours[1])


def test_a_folder_without_a_tokenizer_says_so(folder):
  with pytest.raises(FileNotFoundError, match="has no tokenizer: neither"):
    loading.load(folder)


def test_a_file_without_a_tokenizer_beside_it_says_so(original, tmp_path):
  (tmp_path / "kosmos-2.pt").symlink_to(original[0])
  with pytest.raises(FileNotFoundError, match=MODEL_FILE):
    loading.load(tmp_path / "kosmos-2.pt")


@pytest.mark.parametrize("stacked", [True, False])
def test_missing_and_extra_arrays_are_listed(
  theirs, sizes, tokenizer, tmp_path, stacked
):
  folder = write_folder(tmp_path / "there", sizes, tokenizer, theirs[1])
  file = folder / weights.WEIGHTS_FILE
  arrays = load_file(file)
  layer = "text_model.model.layers.{}.ffn.fc1.weight"
  wide = "text_model.model.layers.0.ffn.fc2.weight"
  arrays[layer.format(3)] = arrays.pop(layer.format(1))
  arrays["lora.up"] = np.zeros(3, np.float32)
  arrays[wide] = arrays[wide][:, :-1].copy()
  save_file(arrays, file)
  with pytest.raises(ValueError) as caught:
    loading.load(folder, stacked=stacked)
  text = str(caught.value)
  assert f"1 missing: {layer.format(1)};" in text
  assert f"2 without a place here: lora.up, {layer.format(3)};" in text
  assert f"{wide} has shape (48, 39), expected (48, 40)" in text


def test_a_deeper_checkpoint_is_not_cut_off(theirs, sizes, tokenizer, tmp_path):
  folder = write_folder(tmp_path / "there", sizes, tokenizer, theirs[1])
  config = json.loads((folder / huggingface.CONFIG_FILE).read_text())
  config["text_config"]["layers"] = 2
  (folder / huggingface.CONFIG_FILE).write_text(json.dumps(config))
  for stacked in (True, False):
    with pytest.raises(ValueError, match=r"20 without a place here: .*rs\.2\."):
      loading.load(folder, stacked=stacked)


def test_what_is_no_checkpoint_says_what_would_be(tmp_path):
  with pytest.raises(FileNotFoundError, match="a Hugging Face folder of"):
    loading.load(tmp_path / "nothing")
  with pytest.raises(FileNotFoundError, match="it has no 'model.json'"):
    loading.load(tmp_path)


def test_to_device_moves_the_tree_itself(sizes):
  params = random_params(sizes)[1]
  kept = copy.deepcopy(params)
  moved = loading.to_device(params)
  assert moved is params
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
  assert_same(params, kept)


def test_the_folder_of_a_file_is_the_one_it_is_in(tmp_path):
  file = tmp_path / "kosmos-2.pt"
  file.write_bytes(b"")
  assert loading.folder_of(file) == tmp_path
  assert loading.folder_of(str(tmp_path)) == tmp_path
