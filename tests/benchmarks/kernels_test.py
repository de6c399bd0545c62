"""A kernel is held against "xla", and one that is wrong is told."""

import jax
import jax.numpy as jnp
import pytest

from kosmos2_jax.benchmarks import kernels
from kosmos2_jax.models import attention

SHAPE = {"rows": 2, "length": 32, "heads": 2, "width": 8}


def fake(monkeypatch, change):
  """cuDNN's call computed by jax, and something done to what it gives."""
  original = jax.nn.dot_product_attention

  def call(*args, implementation, **kwargs):
    assert implementation == "cudnn"
    return change(original(*args, **kwargs, implementation="xla"))

  monkeypatch.setattr(jax.nn, "dot_product_attention", call)
  return kernels.measure_kernel("cudnn", repeats=2, num_passes=1, **SHAPE)


def test_a_kernel_that_computes_the_same(monkeypatch):
  report = fake(monkeypatch, lambda out: out)
  assert report.same
  assert set(report.differences) == {"output", "query", "key", "value"}
  assert all(0 <= x < 3e-2 for x in report.differences.values())
  assert len(report.seconds) == len(report.reference_seconds) == 2
  assert report.ratio > 0
  assert report.reference_temp_bytes > 0


@pytest.mark.parametrize("change", [lambda out: out * 1.2, jnp.log])
def test_a_kernel_that_computes_something_else(monkeypatch, change):
  assert not fake(monkeypatch, change).same  # other numbers, or none


def test_the_first_row_is_padding_and_others_have_segments():
  _, ids = kernels.make_inputs(3, 64, 1, 8)
  assert not ids[0].any()
  assert set(ids[1].tolist()) >= {1, 2}
  assert attention.IMPLEMENTATIONS[0] == "xla"  # what is compared with
