"""One table of names, read both ways; nothing is lost and nothing invented."""

import copy
import re

import jax
import numpy as np
import pytest

from kosmos2_jax.convert import mapping, transfer
from kosmos2_jax.models import presets
from tests.convert.samples import random_params


class Arrays:
  """A `transfer.Source` in memory."""

  def __init__(self, arrays):
    self.arrays = dict(arrays)

  def names(self):
    return self.arrays

  def read(self, name):
    return self.arrays[name]


@pytest.fixture(scope="module", params=["huggingface", "fairseq"])
def system(request):
  return request.param


@pytest.fixture
def exported(odd_sizes, system):
  abstract, params = random_params(odd_sizes)
  arrays = transfer.export(copy.deepcopy(params), 333, system)
  return abstract, params, Arrays(arrays)


def test_files_have_pytorchs_shapes(exported, system):
  arrays = exported[2].arrays
  if system == "huggingface":
    shapes = {
      "text_model.model.embed_tokens.weight": (333, 48),
      "text_model.model.layers.2.ffn.fc1.weight": (40, 48),
      "text_model.model.layers.0.self_attn.q_proj.weight": (48, 48),
      "text_model.model.layers.0.self_attn.q_proj.bias": (48,),
      "vision_model.model.embeddings.patch_embedding.weight": (24, 3, 7, 7),
      "vision_model.model.pre_layrnorm.weight": (24,),
      "image_to_text_projection.dense.weight": (48, 24),
    }
  else:
    shapes = {
      "gpt_model.decoder.layers.1.ffn.fc2.weight": (48, 40),
      "img_model.visual.conv1.weight": (24, 3, 7, 7),
      "img_model.visual.transformer.resblocks.0.mlp.c_fc.weight": (50, 24),
      "img_connector.latent_query": (5, 48),
    }
  for name, shape in shapes.items():
    assert arrays[name].shape == shape, name
    assert arrays[name].flags.c_contiguous, name
  # Decoder (layers and the rest), vision (the same), resampler.
  assert len(arrays) == (3 * 20 + 3) + (1 * 16 + 7) + 11


def test_a_linear_layer_computes_what_its_file_says(exported, system):
  _, params, source = exported
  prefix = {
    "huggingface": "text_model.model.layers.1.self_attn",
    "fairseq": "gpt_model.decoder.layers.1.self_attn",
  }[system]
  weight = source.arrays[f"{prefix}.v_proj.weight"]
  bias = source.arrays[f"{prefix}.v_proj.bias"]
  x = np.random.default_rng(1).normal(size=48).astype(np.float32)
  value = params["decoder"]["layers"]["attention"]["value"]
  ours = np.einsum("d,dnh->nh", x, value["kernel"][1]) + value["bias"][1]
  np.testing.assert_allclose(
    ours.reshape(-1), weight @ x + bias, rtol=1e-4, atol=1e-4
  )


def test_there_and_back_is_the_same(exported, system):
  abstract, params, source = exported
  found, dropped = transfer.load(source, abstract, 333, system)
  assert not dropped
  jax.tree.map(np.testing.assert_array_equal, found, params)


def test_half_precision_is_read_exactly(exported, system):
  abstract, params, source = exported
  halves = Arrays({k: v.astype(np.float16) for k, v in source.arrays.items()})
  found, _ = transfer.load(halves, abstract, 333, system)
  jax.tree.map(
    lambda one, other: np.testing.assert_array_equal(
      one, other.astype(np.float16).astype(np.float32)
    ),
    found,
    params,
  )


def test_export_empties_the_tree(odd_sizes):
  _, params = random_params(odd_sizes)
  for _ in transfer.export(params, 333, "huggingface"):
    pass
  assert not jax.tree.leaves(params)


def test_tied_and_idle_arrays_are_named(exported, system):
  abstract, _, source = exported
  tied, *_ = (n for n in mapping.TIED if mapping.TIED[n] in source.arrays)
  source.arrays[tied] = source.arrays[mapping.TIED[tied]]
  prefix = "gpt" if system == "fairseq" else "text"
  idle = next(name for name in mapping.DROPPED if name.startswith(prefix))
  source.arrays[idle] = np.zeros(1)
  _, dropped = transfer.load(source, abstract, 333, system)
  assert len(dropped) == 2
  assert any(line.startswith(tied) for line in dropped)
  assert any(line.startswith(idle) for line in dropped)
  source.arrays[tied] = source.arrays[tied] + 1
  with pytest.raises(ValueError, match=f"{re.escape(tied)} differs from"):
    transfer.load(source, abstract, 333, system)


def test_missing_extra_and_misshapen_arrays_are_listed(exported, system):
  abstract, _, source = exported
  names = sorted(source.arrays)
  gone, bent = names[0], names[-1]
  del source.arrays[gone]
  source.arrays["lora.up"] = np.zeros(3)
  source.arrays[bent] = source.arrays[bent][..., None]
  with pytest.raises(ValueError) as caught:
    transfer.load(source, abstract, 333, system)
  text = str(caught.value)
  assert f"1 missing: {gone}" in text
  assert "1 without a place here: lora.up" in text
  assert f"{bent} has shape" in text


def test_another_number_of_rows_is_an_error(exported, system):
  abstract, _, source = exported
  with pytest.raises(ValueError, match=r"has shape \(333, 48\), expected"):
    transfer.load(source, abstract, 334, system)


def test_models_of_another_architecture_are_refused(system):
  sizes = presets.preset("shapes")
  sizes["vision"]["stem"] = "conv"
  abstract, params = random_params(sizes)
  with pytest.raises(ValueError, match="vision/stem/join_0"):
    list(transfer.export(params, 1024, system))
  with pytest.raises(ValueError, match="vision/stem/"):
    transfer.load(Arrays({}), abstract, 1024, system)
