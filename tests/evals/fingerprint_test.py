"""The hash of parameters is that of the checkpoint, not of its form."""

import jax
import numpy as np
import pytest

from kosmos2_jax.evals.fingerprint import params_hash
from kosmos2_jax.models import presets, stacking
from kosmos2_jax.text.tokenizer import Tokenizer
from kosmos2_jax.training import state as state_lib


@pytest.fixture(scope="module")
def params():
  sizes = presets.preset("tiny")
  sizes |= {"vocab_size": Tokenizer.small(num_bins=4).vocab.size}
  abstract = jax.eval_shape(
    lambda: state_lib.init_params(presets.build(sizes), jax.random.key(0))
  )
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), abstract
  )


def copy(params):
  return jax.tree.map(np.copy, params)


def test_separate_and_stacked_layers_have_the_same_hash(params):
  separate = stacking.separate(copy(params))
  assert "layers_0" in separate["decoder"]
  assert params_hash(separate) == params_hash(params)
  assert params_hash(jax.device_put(params)) == params_hash(params)


def test_every_number_counts(params):
  known = {params_hash(params)}
  for i, leaf in enumerate(jax.tree.leaves(params)):
    changed = copy(params)
    other = jax.tree.leaves(changed)[i]
    assert other.shape == leaf.shape
    other.reshape(-1)[-1] += 1
    known.add(params_hash(changed))
  assert len(known) == len(jax.tree.leaves(params)) + 1
  # So does the place of a number: layers in another order are another model.
  turned = copy(params)
  turned["decoder"]["layers"] = jax.tree.map(
    lambda array: array[::-1], turned["decoder"]["layers"]
  )
  assert params_hash(turned) not in known


def test_it_is_a_short_text(params):
  assert len(params_hash(params)) == 32
  assert int(params_hash(params), 16)
