"""What a training run carries from one step to the next."""

from collections.abc import Mapping
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import PyTree

from kosmos2_jax import sharding


@flax.struct.dataclass
class TrainState:
  """All that changes while training; checkpoints hold this and nothing else.

  The data stream is a function of (seed, step), so its place is `step`. The
  leaves are arrays, or ShapeDtypeStructs, or shardings of them.

  Attributes:
    step: int32 scalar, updates made.
    params: the tree under `vision`, `resampler` and `decoder` (a model of
      text alone has the last one only), float32.
    opt_state: of the optax transformation.
  """

  step: Any
  params: PyTree
  opt_state: PyTree


def init_params(model: nn.Module, key: jax.Array) -> PyTree:
  """Fresh parameters; every part is made, whatever the data will use.

  Args:
    model: a Kosmos2.
    key: the random key of initialisation.
  """
  if model.vision is None:
    return model.init(key, jnp.zeros((1, 1), jnp.int32))["params"]
  size = model.vision.image_size
  num_latents = model.resampler.num_latents
  # The least input that touches every parameter: one picture, no other text.
  tokens = jnp.zeros((1, num_latents), jnp.int32)
  images = jnp.zeros((1, 1, size, size, 3), jnp.float32)
  image_mask = jnp.ones((1, num_latents), bool)
  return model.init(key, tokens, images, image_mask)["params"]


def _init(model, tx, seed):
  params = init_params(model, jax.random.key(seed))
  return TrainState(jnp.zeros([], jnp.int32), params, tx.init(params))


def abstract_state(
  model: nn.Module, tx: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
  """Shape, dtype and place of every array of the state; computes nothing.

  Returns:
    A state of ShapeDtypeStructs that carry their shardings.

  Raises:
    ValueError: for a parameter that matches no partition rule.
  """
  abstract = jax.eval_shape(lambda: _init(model, tx, 0))
  params = sharding.param_shardings(mesh, abstract.params)
  places = TrainState(
    step=sharding.replicated(mesh),
    params=params,
    opt_state=sharding.opt_state_shardings(
      mesh, tx, abstract.opt_state, params
    ),
  )
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    abstract,
    places,
  )


def shardings_of(abstract: TrainState) -> TrainState:
  """The places in an abstract state."""
  return jax.tree.map(lambda leaf: leaf.sharding, abstract)


def init_state(
  model: nn.Module,
  tx: optax.GradientTransformation,
  abstract: TrainState,
  seed: int,
  known: Mapping[str, PyTree] | None = None,
) -> TrainState:
  """The state before the first step, each array made where it will live.

  The same seed gives the same numbers on any mesh.

  Args:
    model: a Kosmos2.
    tx: see `optim.make_optimizer`.
    abstract: see `abstract_state`.
    seed: of the parameters.
    known: numpy arrays in place of whole parts, for example of `vision`; the
      optimizer starts from zeros, whatever they are.
  """
  known = known or {}

  def init():
    state = _init(model, tx, seed)
    # Numbers that are not wanted are not made: XLA drops them.
    return state.replace(params=_without(state.params, known))

  places = shardings_of(abstract)
  places = places.replace(params=_without(places.params, known))
  state = jax.jit(init, out_shardings=places)()
  placed = {
    part: jax.tree.map(_place, abstract.params[part], arrays)
    for part, arrays in known.items()
  }
  params = {part: (state.params | placed)[part] for part in abstract.params}
  return state.replace(params=params)


def _without(params: Mapping[str, Any], parts: Mapping[str, Any]) -> PyTree:
  return {part: value for part, value in params.items() if part not in parts}


def _place(leaf: jax.ShapeDtypeStruct, array: np.ndarray) -> jax.Array:
  """The array with the leaf's dtype, and where the leaf is."""
  array = array.astype(leaf.dtype)
  # Each process fills its own devices, with their parts alone.
  return jax.make_array_from_callback(
    leaf.shape, leaf.sharding, lambda index: array[index]
  )
