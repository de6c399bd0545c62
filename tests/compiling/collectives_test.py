"""Bytes between devices, by kind and mesh axis."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from kosmos2_jax.compiling import collectives, hlo
from tests.compiling import samples


def layout(*shape, across=""):
  """A mesh (data, fsdp, tensor) of devices in order."""
  places = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=-1)
  return collectives.Layout(("data", "fsdp", "tensor"), places, across)


def totals(text, where, **options):
  found = collectives.collectives_of(hlo.parse(text, **options), where)
  return collectives.bytes_by_kind(found)


def test_loops_count_by_their_rounds():
  assert totals(samples.LOOP, layout(2, 4, 1), open_rounds=5) == {
    "all-gather": {"fsdp": 3 * 2 * 3 * 64 * 32 * 3 / 4},
    "all-reduce": {
      "data": 2 * 4 * (64 + 32) / 2,
      "data+fsdp": 5 * 2 * 4 * 7 / 8,
    },
  }


def test_asynchronous_ones_count_once():
  assert totals(samples.ASYNC, layout(1, 2, 2, across="data")) == {
    "all-gather": {
      "tensor": 2 * 8 * 8 / 2,
      "fsdp+tensor": 2 * 8 * 16 * 3 / 4,
    },
    "collective-permute": {"fsdp": 2 * 8 * 4},
    "all-reduce": {"dcn:data": 4 * 16 * 8},
    "reduce-scatter": {"fsdp+tensor": 4 * 64 * 8 * 3 / 4},
  }


@pytest.mark.parametrize(
  ("text", "groups"),
  [
    ("{{0,2},{1,3}}", [[0, 2], [1, 3]]),
    ("{}", [[0, 1, 2, 3, 4, 5, 6, 7]]),
    ("[2,4]<=[8]", [[0, 1, 2, 3], [4, 5, 6, 7]]),
    ("[4,2]<=[2,4]T(1,0)", [[0, 4], [1, 5], [2, 6], [3, 7]]),
    ("[2,4]<=[2,2,2]T(1,0,2)", [[0, 1, 4, 5], [2, 3, 6, 7]]),
    ("mesh['a'=2,'b'=4] {'a'}", [[0, 4], [1, 5], [2, 6], [3, 7]]),
    ("mesh[a=2,b=4] {b}", [[0, 1, 2, 3], [4, 5, 6, 7]]),
    ("mesh['a'=2,'b'=2,'c'=2] {'a','c'}", [[0, 1, 4, 5], [2, 3, 6, 7]]),
    # The last two of b's four, and the first two.
    ("mesh['a'=2,'b'=4] {'b':(2)2}", [[0, 1], [2, 3], [4, 5], [6, 7]]),
    ("mesh['a'=2,'b'=4] {'b':(1)2}", [[0, 2], [1, 3], [4, 6], [5, 7]]),
    (
      "mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}",
      [[0, 4], [1, 5], [2, 6], [3, 7]],
    ),
    (
      "mesh['a'=2,'b'=2], device_ids=(3,1,0,2) {'a'}",
      [[3, 0], [1, 2]],
    ),
  ],
)
def test_groups(text, groups):
  attributes = f", channel_id=3, replica_groups={text}, to_apply=%add"
  assert collectives.parse_groups(attributes, 8) == groups


def test_unknown_groups():
  with pytest.raises(ValueError, match="known form, found 'new<4>"):
    collectives.parse_groups("replica_groups=new<4>, x", 4)


class Device:
  """As much of a device as a mesh needs."""

  def __init__(self, number, slice_index):
    self.id, self.slice_index, self.platform = number, slice_index, "tpu"
    self.process_index = 0


def test_numbers_count_the_devices_of_one_slice():
  devices = np.array([Device(n, n // 4) for n in range(8)], object)
  mesh = Mesh(devices.reshape(2, 2, 2), ("data", "fsdp", "tensor"))
  found = collectives.layout_of(mesh)
  assert found.across == "data"
  assert found.places.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]


def test_one_slice_is_all_devices():
  devices = np.array(jax.devices()).reshape(2, 4, 1)
  found = collectives.layout_of(Mesh(devices, ("data", "fsdp", "tensor")))
  assert (found.across, found.axes) == ("", ("data", "fsdp", "tensor"))
  assert found.places[5].tolist() == [1, 1, 0]
