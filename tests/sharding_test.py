"""Every parameter has its place; nothing is placed by accident."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from kosmos2_jax import optim, sharding
from kosmos2_jax.models import presets
from kosmos2_jax.optim import lora
from kosmos2_jax.training import state as state_lib

MESHES = ((8, 1, 1), (2, 4, 1), (2, 2, 2))
ONE_MESH_WHILE_YOU_WORK = [
  *(pytest.param(mesh, marks=pytest.mark.slow) for mesh in MESHES[:-1]),
  MESHES[-1],
]

_ATTENTION = {
  "query/kernel": ("fsdp", "tensor", None),
  "query/bias": ("tensor", None),
  "key/kernel": ("fsdp", "tensor", None),
  "key/bias": ("tensor", None),
  "value/kernel": ("fsdp", "tensor", None),
  "value/bias": ("tensor", None),
  "out/kernel": ("tensor", "fsdp"),
  "out/bias": (None,),
}
_LAYER = {
  **{f"attention/{name}": spec for name, spec in _ATTENTION.items()},
  "attn_norm/scale": (None,),
  "attn_norm/bias": (None,),
  "mlp_norm/scale": (None,),
  "mlp_norm/bias": (None,),
  "mlp/up/kernel": ("fsdp", "tensor"),
  "mlp/up/bias": ("tensor",),
  "mlp/down/kernel": ("tensor", "fsdp"),
  "mlp/down/bias": (None,),
}
_INNER_NORMS = {
  f"{block}/inner_norm/{name}": ("tensor",)
  for block in ("attention", "mlp")
  for name in ("scale", "bias")
}
# Where each parameter of the model must be; layers have a depth axis in front.
PLACES = {
  "decoder/embedding": ("tensor", "fsdp"),
  "decoder/final_norm/scale": (None,),
  "decoder/final_norm/bias": (None,),
  **{
    f"decoder/layers/{name}": (None, *spec)
    for name, spec in {**_LAYER, **_INNER_NORMS}.items()
  },
  "vision/stem/kernel": (None, None, None, "fsdp"),
  "vision/class_token": (None,),
  "vision/positions": (None, "fsdp"),
  "vision/pre_norm/scale": (None,),
  "vision/pre_norm/bias": (None,),
  "vision/post_norm/scale": (None,),
  "vision/post_norm/bias": (None,),
  **{f"vision/layers/{name}": (None, *spec) for name, spec in _LAYER.items()},
  "resampler/project/kernel": (None, "fsdp"),
  "resampler/project/bias": (None,),
  "resampler/latents": (None, "fsdp"),
  **{f"resampler/attention/{name}": spec for name, spec in _ATTENTION.items()},
}


def _paths(tree):
  return {
    sharding.param_path(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


@pytest.fixture(scope="module")
def tiny():
  model = presets.build(presets.preset("tiny"))
  return model, optim.make_transformation(lambda _: 1e-3, decay_mask="matrices")


@pytest.mark.parametrize("shape", ONE_MESH_WHILE_YOU_WORK)
def test_every_parameter_and_moment_is_where_it_should_be(tiny, shape):
  model, tx = tiny
  mesh = sharding.make_mesh(shape)
  abstract = state_lib.abstract_state(model, tx, mesh)
  state = state_lib.init_state(model, tx, abstract, seed=0)
  adam = state.opt_state[1]
  for tree in (state.params, adam.mu, adam.nu):
    # The arrays' own shardings, not the request for them.
    placed = {path: leaf.sharding for path, leaf in _paths(tree).items()}
    assert set(placed) == set(PLACES)
    for path, found in placed.items():
      leaf = _paths(tree)[path]
      wanted = jax.NamedSharding(mesh, P(*PLACES[path]))
      assert found.is_equivalent_to(wanted, leaf.ndim), path
  for scalar in (state.step, adam.count):
    assert scalar.sharding.is_fully_replicated
  kernel = state.params["decoder"]["layers"]["mlp"]["up"]["kernel"]
  local = kernel.addressable_shards[0].data.shape
  assert local == (2, 16 // shape[1], 32 // shape[2])


@pytest.mark.parametrize("shape", ONE_MESH_WHILE_YOU_WORK)
def test_moments_of_muon_are_where_their_parameters_are(tiny, shape):
  model, _ = tiny
  tx = optim.make_transformation(lambda _: 1e-3, algorithm="muon")
  mesh = sharding.make_mesh(shape)
  state = state_lib.init_state(
    model, tx, state_lib.abstract_state(model, tx, mesh), seed=0
  )
  seen = set()
  for path, leaf in _paths(state.opt_state).items():
    name = next((name for name in PLACES if path.endswith("/" + name)), None)
    if name is None:
      assert leaf.sharding.is_fully_replicated, path
      continue
    seen.add(name)
    wanted = jax.NamedSharding(mesh, P(*PLACES[name]))
    assert leaf.sharding.is_equivalent_to(wanted, leaf.ndim), path
  assert seen == set(PLACES)


def test_initial_numbers_do_not_depend_on_the_mesh(tiny):
  model, tx = tiny
  states = []
  for shape, devices in (((1, 1, 1), jax.devices()[:1]), ((2, 2, 2), None)):
    mesh = sharding.make_mesh(shape, devices)
    abstract = state_lib.abstract_state(model, tx, mesh)
    states.append(state_lib.init_state(model, tx, abstract, seed=0).params)
  jax.tree.map(np.testing.assert_array_equal, *states)


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_every_preset_has_rules_for_all_its_parameters(name):
  model = presets.build(presets.preset(name))
  mesh = sharding.make_mesh((1, 4, 2))
  params = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  assert sharding.param_shardings(mesh, params)


def test_the_released_model_is_cut_into_equal_parts():
  model = presets.build(presets.preset("kosmos2"))
  mesh = sharding.make_mesh((1, 4, 2))
  params = jax.eval_shape(
    lambda: state_lib.init_params(model, jax.random.key(0))
  )
  places = sharding.param_shardings(mesh, params)
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  local = sum(
    np.prod(place.shard_shape(leaf.shape))
    for leaf, place in zip(
      jax.tree.leaves(params), jax.tree.leaves(places), strict=True
    )
  )
  # Biases and norms are not cut; they are a thousandth of the model.
  assert total / 8 <= local < total / 8 * 1.01


def test_no_rule_is_idle():
  """Without it, something has no place, or another one."""
  used = set()
  mesh = sharding.make_mesh((2, 2, 2))
  adapters = lora.Lora(2, 16.0, ("/kernel$", "embedding$"))
  conv = presets.preset("shapes")
  conv["vision"]["stem"] = "conv"
  for sizes in (*map(presets.preset, presets.PRESETS), conv):
    model = presets.build(sizes)
    params = jax.eval_shape(
      lambda model=model: state_lib.init_params(model, jax.random.key(0))
    )
    params = {**params, lora.PART: adapters.shapes(params)}
    places = sharding.param_shardings(mesh, params, sharding.PARTITION_RULES)
    for rule in sharding.PARTITION_RULES:
      others = [r for r in sharding.PARTITION_RULES if r != rule]
      try:
        if sharding.param_shardings(mesh, params, others) != places:
          used.add(rule)
      except ValueError:
        used.add(rule)
  assert used == set(sharding.PARTITION_RULES)


def test_a_parameter_without_a_rule_is_an_error():
  mesh = sharding.make_mesh((8, 1, 1))
  params = {"decoder": {"gate": {"kernel": jnp.zeros((4, 4))}}}
  with pytest.raises(
    ValueError, match=r"decoder/gate/kernel of shape \(4, 4\) matches no"
  ):
    sharding.param_shardings(mesh, params)


def test_a_rule_longer_than_the_parameter_is_an_error():
  mesh = sharding.make_mesh((8, 1, 1))
  with pytest.raises(ValueError, match=r"decoder/embedding has shape \(8,\)"):
    sharding.param_shardings(mesh, {"decoder": {"embedding": jnp.zeros(8)}})


def test_axes_that_do_not_divide_stay_whole():
  mesh = sharding.make_mesh((2, 2, 2))
  params = {"decoder": {"embedding": jnp.zeros((7, 6))}}
  places = sharding.param_shardings(mesh, params)
  assert places["decoder"]["embedding"].spec == P(None, "fsdp")


def test_meshes():
  assert dict(sharding.make_mesh({"fsdp": -1}).shape) == {
    "data": 1,
    "fsdp": 8,
    "tensor": 1,
  }
  assert sharding.make_mesh((2, -1, 2)).devices.shape == (2, 2, 2)
  one = sharding.make_mesh((1, 1, 1), jax.devices()[:1])
  assert one.devices.size == 1
  with pytest.raises(ValueError, match=r"3 x 1 x 1 .* does not fit 8 device"):
    sharding.make_mesh((3, 1, 1))
  with pytest.raises(ValueError, match="-1 x 3 x 1 .* does not fit 8 device"):
    sharding.make_mesh((-1, 3, 1))
  with pytest.raises(ValueError, match="at most one is -1; found -1 x -1"):
    sharding.make_mesh((-1, -1, 1))
  with pytest.raises(ValueError, match="at most one is -1; found 8 x 0 x 1"):
    sharding.make_mesh((8, 0, 1))
  with pytest.raises(ValueError, match=r"has axes .*; found \['model'\]"):
    sharding.make_mesh({"model": 2})


def test_batches_are_cut_along_data_and_fsdp():
  mesh = sharding.make_mesh((2, 2, 2))
  rows = np.arange(8 * 3, dtype=np.int32).reshape(8, 3)
  placed = sharding.put_batch(mesh, {"tokens": rows})["tokens"]
  np.testing.assert_array_equal(placed, rows)
  assert placed.addressable_shards[0].data.shape == (2, 3)
  sharding.check_batch_size(mesh, 8, 2)
  with pytest.raises(ValueError, match="6 rows, which 4 device.*multiple of 4"):
    sharding.check_batch_size(mesh, 6)
  with pytest.raises(ValueError, match="3 microbatch.*multiple of 12"):
    sharding.check_batch_size(mesh, 8, 3)


def _device(number, slice_index):
  """Stands for a device of a slice; a mesh only holds it."""
  device = mock.Mock(spec=jax.Device)
  device.id, device.process_index = number, 0
  device.platform = device.device_kind = "fake"
  device.slice_index = slice_index
  return device


def test_data_alone_crosses_slices():
  # Slices in another order than numbers, as a cluster may list them.
  devices = [_device(i, 1 - i % 2) for i in range(8)]
  mesh = sharding.make_mesh({"data": -1, "fsdp": 2}, devices)
  assert mesh.devices.shape == (4, 2, 1)
  slices = [[d.slice_index for d in row.flat] for row in mesh.devices]
  assert slices == [[0, 0], [0, 0], [1, 1], [1, 1]]
  assert {d.id for d in mesh.devices.flat} == set(range(8))
  with pytest.raises(ValueError, match="data is a multiple of 2; found 1"):
    sharding.make_mesh({"fsdp": 8}, devices)
  with pytest.raises(ValueError, match=r"2 slice\(s\).*; found 4"):
    sharding.make_mesh({"data": 4, "fsdp": 2, "num_slices": 4}, devices)


def test_devices_that_do_not_say_their_slice_are_cut_in_order():
  mesh = sharding.make_mesh({"data": 2, "fsdp": 4, "num_slices": 2})
  half = [[d.id for d in row.flat] for row in mesh.devices]
  assert half == [[0, 1, 2, 3], [4, 5, 6, 7]]
  with pytest.raises(ValueError, match="8 devices are not 3 slices"):
    sharding.make_mesh({"data": 8, "num_slices": 3})


@pytest.mark.parametrize(
  ("processes", "shares"),
  [
    # A device each; two of each; two along `tensor` of one process.
    ([[0], [1], [2], [3]], [(0, 4), (1, 4), (2, 4), (3, 4)]),
    ([[0], [0], [1], [1]], [(0, 2), (1, 2)]),
    ([[0, 0], [1, 1]], [(0, 2), (1, 2)]),
    # `tensor` goes over two processes, which read the same rows.
    ([[0, 1], [2, 3]], [(0, 2), (0, 2), (1, 2), (1, 2)]),
    ([[0, 1]], [(0, 1), (0, 1)]),
    # Neighbours on the torus need not be neighbours in the mesh.
    ([[0], [1], [0], [1]], [(0, 2), (1, 2)]),
  ],
)
def test_each_process_reads_the_rows_of_its_devices(processes, shares):
  found = [sharding.share_of(i, processes) for i in range(len(shares))]
  assert found == shares


@pytest.mark.parametrize("processes", [[[0, 1], [1, 2]], [[0], [0], [1]]])
def test_parts_that_overlap_are_refused(processes):
  with pytest.raises(ValueError, match="parts of the batch that overlap"):
    sharding.share_of(0, processes)


def test_one_process_reads_everything():
  assert sharding.batch_share(sharding.make_mesh((2, 2, 2))) == (0, 1)
