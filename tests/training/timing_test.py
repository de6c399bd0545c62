"""Rates by a clock that the test turns."""

import jax.numpy as jnp
import pytest

from kosmos2_jax import chips
from kosmos2_jax.models import flops, presets
from kosmos2_jax.training import timing


class _Clock:
  def __init__(self):
    self.now = 100.0

  def __call__(self):
    return self.now


class _Device:
  """What is asked of a jax device."""

  def __init__(self, device_kind="cpu", stats=None):
    self.device_kind = device_kind
    self._stats = stats

  def memory_stats(self):
    return self._stats


def _train(watch, clock, *, steps, seconds, wait=0.0, counts=None):
  for _ in range(steps):
    with watch.during("input"):
      clock.now += wait
    clock.now += seconds - wait
    watch.step_done(counts or {"tokens": 30.0})


def test_rates_leave_out_compilation_evaluation_and_saving():
  clock = _Clock()
  watch = timing.Timing(30, 1e3, clock)
  watch.step_flops = 200.0
  _train(watch, clock, steps=1, seconds=50.0, wait=20.0)  # compiled
  _train(watch, clock, steps=4, seconds=0.5, wait=0.1)
  found = watch.read(5)
  assert found == pytest.approx(
    {
      "steps_per_sec": 2.0,
      "tokens_per_sec": 60.0,
      "mfu": 200.0 / (0.5 * 1e3),
      "input_wait": 0.2,
      "eta_seconds": 25 * 0.5,
    }
  )
  with watch.during("evaluation"):
    clock.now += 7.0
  with watch.during("checkpoint"):
    clock.now += 3.0
  _train(watch, clock, steps=5, seconds=0.5)
  found = watch.read(10)
  assert found["steps_per_sec"] == pytest.approx(2.0)
  assert found["evaluation_seconds"] == pytest.approx(7.0)
  assert found["checkpoint_seconds"] == pytest.approx(3.0)
  # Ten seconds away in ten steps: it will go on so.
  assert found["eta_seconds"] == pytest.approx(20 * (0.5 + 1.0))
  # All of it is about one line alone.
  _train(watch, clock, steps=5, seconds=1.0)
  found = watch.read(15)
  assert found["steps_per_sec"] == pytest.approx(1.0)
  assert found["input_wait"] == 0
  assert "evaluation_seconds" not in found


def test_one_step_has_no_rate():
  clock = _Clock()
  watch = timing.Timing(3, 1e3, clock)
  watch.step_flops = 200.0
  _train(watch, clock, steps=1, seconds=1.0)
  assert watch.read(1) == {}


def test_an_evaluation_that_fails_is_timed():
  clock = _Clock()
  watch = timing.Timing(3, None, clock)
  _train(watch, clock, steps=1, seconds=1.0)
  with pytest.raises(OSError), watch.during("evaluation"):
    clock.now += 2.0
    raise OSError
  assert watch.read(1) == {"evaluation_seconds": 2.0}


def test_the_peak_is_that_of_all_devices_or_unknown():
  v5e, v7x = chips.CHIPS["v5e"], chips.CHIPS["v7x"]
  lite = [_Device("TPU v5 lite")] * 4
  assert timing.peak_flops(lite) == 4 * v5e.bf16_flops
  # Two devices are one chip.
  assert timing.peak_flops([_Device("TPU7x")] * 2) == v7x.bf16_flops
  assert timing.peak_flops([*lite, _Device("cpu")]) is None


def test_memory_of_the_fullest_device_or_of_the_process():
  gib = 2**30
  devices = [
    _Device(stats={"bytes_in_use": n * gib, "peak_bytes_in_use": 2 * n * gib})
    for n in (1, 3, 2)
  ]
  assert timing.memory(devices) == {
    "device_memory_gib": 3.0,
    "device_memory_peak_gib": 6.0,
  }
  found = timing.memory([_Device()])
  assert set(found) == {"process_memory_gib"}
  assert 0.01 < found["process_memory_gib"] < 100


def test_flops_of_a_batch_are_those_of_its_shape():
  sizes = presets.preset("tiny") | {"vocab_size": 640}
  inputs = {"tokens": jnp.zeros((6, 20)), "images": jnp.zeros((6, 2, 9, 9, 3))}
  wanted = flops.train_flops(sizes, num_rows=6, seq_len=20, num_images=12)
  assert timing.batch_flops(sizes, inputs) == wanted > 0
  frozen = timing.batch_flops(sizes, inputs, trained=("decoder",))
  assert frozen < wanted
