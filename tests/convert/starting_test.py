"""A run's start: from its config, from a checkpoint, and when it goes on."""

import jax
import numpy as np
import pytest

from kosmos2_jax.convert import starting
from kosmos2_jax.models import presets
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import saved_params, workdir
from tests.convert.samples import random_params


@pytest.fixture(scope="module")
def given(tmp_path_factory):
  """A workdir with other sizes than `presets`, and its parameters."""
  tokenizer = Tokenizer.small(3)
  sizes = presets.preset("tiny")
  sizes |= {"num_bins": 3, "vocab_size": tokenizer.vocab.size}
  sizes["decoder"]["width"] = 24
  params = random_params(sizes)[1]
  folder = tmp_path_factory.mktemp("given")
  workdir.describe_run(folder, None, sizes, "float32", tokenizer.model_bytes)
  saved_params.save(folder, params, 3)
  return folder, sizes, params


@pytest.fixture
def config_sizes():
  return presets.preset("tiny") | {"vocab_size": 0}


def test_random_numbers(config_sizes):
  start = starting.Start(config_sizes, "small")
  assert start.tokenizer.vocab.num_bins == 4
  assert start.sizes["vocab_size"] == start.tokenizer.vocab.size
  assert start.parameters(print) == {}
  assert config_sizes["vocab_size"] == 0


def test_a_vocabulary_may_have_spare_rows(config_sizes):
  start = starting.Start(config_sizes | {"vocab_size": 999}, "small")
  assert start.sizes["vocab_size"] == 999


def test_what_is_left_out_of_a_checkpoint_is_told(
  given, config_sizes, monkeypatch
):
  real = starting.loading.load
  monkeypatch.setattr(
    starting.loading,
    "load",
    lambda path: real(path)._replace(dropped=("a.bias",)),
  )
  said = []
  start = starting.Start(config_sizes, "small", init_from=str(given[0]))
  start.parameters(said.append)
  assert said[1:] == ["left out of it: a.bias"]


def test_a_checkpoint_brings_everything(given, config_sizes):
  folder, sizes, params = given
  start = starting.Start(config_sizes, "/no/such", init_from=str(folder))
  assert start.sizes == sizes
  assert start.tokenizer.vocab.num_bins == 3
  said = []
  known = start.parameters(said.append)
  jax.tree.map(np.testing.assert_array_equal, known, params)
  assert set(known) == {"vision", "resampler", "decoder"}
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(known))
  assert said[0].startswith(f"the model starts from {folder}, step 3: weights")


def test_a_run_that_began_needs_no_checkpoint_to_go_on(
  given, config_sizes, tmp_path
):
  _, sizes, _ = given
  tokenizer = Tokenizer.small(3).model_bytes
  workdir.describe_run(tmp_path, None, sizes, "float32", tokenizer)
  start = starting.Start(
    config_sizes, "small", init_from="/no/such", folder=tmp_path
  )
  assert start.sizes == sizes
  assert start.tokenizer.vocab.num_bins == 3
  # Only where it never saved anything.
  with pytest.raises(FileNotFoundError, match="there is no '/no/such'; give"):
    start.parameters(print)


def test_a_folder_described_with_another_model(given, config_sizes, tmp_path):
  folder, sizes, _ = given
  other = {**sizes, "decoder": {**sizes["decoder"], "depth": 1}}
  tokenizer = Tokenizer.small(3).model_bytes
  workdir.describe_run(tmp_path, None, other, "float32", tokenizer)
  start = starting.Start(
    config_sizes, "small", init_from=str(folder), folder=tmp_path
  )
  with pytest.raises(ValueError, match="found others: start in another"):
    start.parameters(print)


def test_one_start_only(config_sizes):
  with pytest.raises(ValueError, match="expected one of them, found 'a' and"):
    starting.Start(config_sizes, "small", init_from="a", vision_from="b")


def test_no_such_checkpoint(config_sizes):
  with pytest.raises(FileNotFoundError, match="there is no '/no/such'; give"):
    starting.Start(config_sizes, "small", init_from="/no/such")
