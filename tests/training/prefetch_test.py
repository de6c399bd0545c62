"""Batches come in order, ahead of time, with their errors."""

import threading
import time

import jax
import numpy as np
import pytest

from kosmos2_jax import sharding
from kosmos2_jax.training import prefetch
from tests.training import tiny_run


@pytest.fixture(scope="module")
def mesh():
  return sharding.make_mesh((4, 2, 1))


def _numbered(limit):
  for step in range(limit):
    yield tiny_run.make_batch(step)


def test_order_values_and_places(mesh):
  with prefetch.Prefetcher(_numbered(5), mesh, 2) as batches:
    for step, batch in enumerate(batches):
      wanted = tiny_run.make_batch(step)
      np.testing.assert_array_equal(
        batch.example_index, wanted["example_index"]
      )
      assert "example_index" not in batch.inputs
      for key, value in batch.inputs.items():
        np.testing.assert_array_equal(value, wanted[key])
        assert value.sharding.is_equivalent_to(
          sharding.batch_sharding(mesh), value.ndim
        )
  assert step == 4


def test_stays_ahead_but_not_further_than_asked(mesh):
  made = []

  def stream():
    for step in range(10):
      made.append(step)
      yield tiny_run.make_batch(step)

  with prefetch.Prefetcher(stream(), mesh, 2) as batches:
    next(batches)
    deadline = time.monotonic() + 20
    # Two wait in the queue, and one in the thread's hand.
    while len(made) < 4 and time.monotonic() < deadline:
      time.sleep(0.01)
    time.sleep(0.2)
    assert made == [0, 1, 2, 3]


def test_errors_come_where_their_batch_would_have(mesh):
  def stream():
    yield tiny_run.make_batch(0)
    raise ValueError("example 'x' is no image")

  with prefetch.Prefetcher(stream(), mesh, 2) as batches:
    next(batches)
    with pytest.raises(ValueError, match="example 'x' is no image"):
      next(batches)


def test_leaves_no_thread_behind(mesh):
  before = threading.active_count()
  with prefetch.Prefetcher(_numbered(100), mesh, 2) as batches:
    assert isinstance(next(batches).inputs["tokens"], jax.Array)
  assert threading.active_count() == before


def test_waiting_can_be_stopped_and_a_stream_that_hangs_is_left(
  mesh, monkeypatch
):
  monkeypatch.setattr(prefetch, "_JOIN_SECONDS", 0.2)
  hangs, looks = threading.Event(), []

  def stream():
    yield tiny_run.make_batch(0)
    hangs.wait()

  def check():
    looks.append(None)
    if len(looks) == 3:
      raise InterruptedError("asked to stop")

  with prefetch.Prefetcher(stream(), mesh, 2, check) as batches:
    next(batches)
    with pytest.raises(InterruptedError):
      next(batches)
  hangs.set()
